"""Archives: right ones come out as they went in; hostile and broken ones leave nothing and say why."""

import gzip
import io
import random
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import py7zr
import pytest

from crossface.data.archives import unpack
from crossface.data.unpacking import Limits
from crossface.errors import DataError

NOISE = random.Random(5).randbytes  # data that do not compress
FILES = {
    "labels.csv": b"a,b\n",
    "train/é 顔.jpg": NOISE(5000),
    "train/deep/er/x.jpg": NOISE(513),
    "empty": b"",
}
SMALL = Limits(max_bytes=200_000, max_ratio=20, ratio_from=50_000, max_members=30)


def zip_info(name, mode=stat.S_IFREG | 0o644):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def make_zip(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data, method)
    return path


def tar_info(name, data=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def make_tar(path, members, pack=lambda data: data, end=True):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            info, data = tar_info(*member) if isinstance(member[0], str) else member
            archive.addfile(info, io.BytesIO(data) if data else None)
        size = archive.offset
    path.write_bytes(pack(buffer.getvalue() if end else buffer.getvalue()[:size]))
    return path


def make_7z(path, members, **options):
    with py7zr.SevenZipFile(path, "w", **options) as archive:
        for name, data in members:
            archive.writestr(data, name)
    return path


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive, tmp_path, limits=SMALL):
    """Unpack beside a file that must stay, and give the message; nothing may have been left or changed."""
    before = tree(tmp_path)
    with pytest.raises(DataError) as caught:
        unpack(archive, tmp_path / "out" / "target", limits)
    assert tree(tmp_path) - {"out"} == before - {"out"}
    text = str(caught.value)
    assert text.startswith(f"{archive}: ")
    assert len(text.splitlines()) == 1
    return text


def tree(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# ---------------------------------------------------------------- right ones


@pytest.mark.parametrize("kind", ["zip", "ZIP", "tar", "tar.gz", "tgz", "7z", "7z.001"])
def test_content_comes_out_as_it_went_in(tmp_path, kind):
    path = tmp_path / f"set é.{kind}"
    members = list(FILES.items())
    if kind.lower() == "zip":
        make_zip(path, [("train/", b""), *members])
    elif kind == "tar":
        make_tar(
            path, [tar_info("./", type=tarfile.DIRTYPE), *[(f"./{name}", data) for name, data in members]]
        )
    elif kind.startswith("7z"):
        make_7z(path, members)
    else:
        make_tar(path, members, gzip.compress)
    if kind == "7z.001":
        data = path.read_bytes()
        for number in range(1, 13):  # more than nine, so that order by name and by number agree only in zeros
            path.with_suffix(f".{number:03}").write_bytes(data[(number - 1) * 500 : number * 500])
        path.with_suffix(".012").write_bytes(data[11 * 500 :])
        path.with_suffix(".txt").write_bytes(b"no volume")
    unpack(path, tmp_path / "target")
    assert content(tmp_path / "target") == FILES
    assert {stat.S_IMODE(file.stat().st_mode) & 0o7111 for file in (tmp_path / "target").rglob("*.jpg")} == {
        0
    }


def test_target_is_replaced_as_a_whole(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old").touch()
    unpack(make_zip(tmp_path / "a.zip", [("new", b"1")]), tmp_path / "target")
    assert content(tmp_path / "target") == {"new": b"1"}


def test_old_and_long_tar_forms_are_read(tmp_path):
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        name = "/".join(["long" * 10] * (3 if form == tarfile.USTAR_FORMAT else 9))
        with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
            archive.addfile(tar_info(name, b"12345")[0], io.BytesIO(b"12345"))
        unpack(tmp_path / "a.tar", tmp_path / "target")
        assert content(tmp_path / "target") == {name: b"12345"}


# ---------------------------------------------------------------- hostile names and kinds

LEAVING = ["../out.txt", "a/../../out.txt", "/tmp/crossface-out.txt", "..", "a/b/../../../x"]


@pytest.mark.parametrize("name", LEAVING)
def test_path_out_of_the_target_is_refused(tmp_path, name):
    good = ("good.jpg", b"1")
    assert repr(name) in refused(make_zip(tmp_path / "a.zip", [good, (name, b"bad")]), tmp_path)
    assert repr(name) in refused(make_tar(tmp_path / "a.tar", [good, (name, b"bad")]), tmp_path)
    folder = tar_info(name, type=tarfile.DIRTYPE)
    assert repr(name) in refused(make_tar(tmp_path / "b.tar", [good, folder]), tmp_path)
    if not name.startswith("/"):
        assert name in refused(hostile_7z(tmp_path / "a.7z", name), tmp_path)
    else:  # py7zr has taken the slash away
        unpack(hostile_7z(tmp_path / "a.7z", name), tmp_path / "target")
        assert content(tmp_path / "target") == {name[1:]: b"bad"}


def hostile_7z(path, name):
    """py7zr does not write such names, so one of the same length is replaced, and the checksums with it."""
    stand_in = "n" * len(name)
    plain = io.BytesIO()
    with py7zr.SevenZipFile(plain, "w") as archive:
        archive.set_encoded_header_mode(False)
        archive.writestr(b"bad", stand_in)
    data = plain.getvalue()
    old, new = stand_in.encode("utf-16-le"), name.encode("utf-16-le")
    assert data.count(old) == 1
    data = data.replace(old, new)
    offset, size = struct.unpack("<QQ", data[12:28])
    start = data[12:28] + struct.pack("<I", zlib.crc32(data[32 + offset : 32 + offset + size]))
    path.write_bytes(data[:8] + struct.pack("<I", zlib.crc32(start)) + start + data[32:])
    return path


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"],
)
@pytest.mark.parametrize("target", ["good.jpg", "../secret", "/etc/passwd"])
def test_links_and_devices_in_tar_are_refused(tmp_path, kind, target):
    (tmp_path / "secret").write_text("stays")
    odd = tar_info("odd", type=kind, linkname=target)
    archive = make_tar(tmp_path / "a.tar", [("good.jpg", b"1"), odd, ("odd/x", b"2")])
    assert "'odd' is a link or a device" in refused(archive, tmp_path)
    assert (tmp_path / "secret").read_text() == "stays"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_zip_are_refused(tmp_path, kind):
    members = [("good.jpg", b"1"), (zip_info("odd", kind | 0o777), b"/etc/passwd"), ("odd/x", b"2")]
    assert "'odd' is a link or a device" in refused(make_zip(tmp_path / "a.zip", members), tmp_path)


def test_link_in_7z_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "odd").symlink_to("/etc/passwd")
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as archive:
        archive.write(tmp_path / "in" / "odd", "odd")
    assert "'odd' is a link or a device" in refused(tmp_path / "a.7z", tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("a", b"1"), ("a", b"2")], "'a' is in the archive twice"),
        ([("a", b"1"), ("./a", b"2")], "a' is in the archive twice"),
        ([("a", b"1"), ("a/b", b"2")], "'a/b' needs a folder where the archive has a file"),
        ([("a", b"1"), ("a/b/c", b"2")], "'a/b/c' needs a folder where the archive has a file"),
        ([("a/b", b"1"), ("a", b"2")], "'a' is a folder too"),
    ],
)
def test_name_that_is_there_twice_is_refused(tmp_path, members, said):
    assert said in refused(make_zip(tmp_path / "a.zip", members), tmp_path)
    assert said in refused(make_tar(tmp_path / "a.tar", members), tmp_path)
    if said.startswith("'"):
        assert said in refused(make_7z(tmp_path / "a.7z", members), tmp_path)


def test_encrypted_archives_are_refused(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("secret.jpg", b"1")])
    data = bytearray(archive.read_bytes())
    data[6] |= 1  # the flag in the member's header and in the list of members
    data[data.index(b"PK\1\2") + 8] |= 1
    archive.write_bytes(data)
    assert "'secret.jpg' is encrypted" in refused(archive, tmp_path)
    make_7z(tmp_path / "a.7z", [("secret.jpg", b"1")], password="x")
    assert "it is encrypted" in refused(tmp_path / "a.7z", tmp_path)
    make_7z(tmp_path / "b.7z", [("secret.jpg", b"1")], password="x", header_encryption=True)
    assert "PasswordRequired" in refused(tmp_path / "b.7z", tmp_path)


# ---------------------------------------------------------------- bombs


def bombs(tmp_path, members):
    yield make_zip(tmp_path / "a.zip", members)
    yield make_tar(tmp_path / "a.tar.gz", members, gzip.compress)
    yield make_7z(tmp_path / "a.7z", members)


def test_bomb_by_ratio_is_refused(tmp_path):
    for archive in bombs(tmp_path, [("good.jpg", NOISE(1000)), ("zeros", bytes(150_000))]):
        assert "more than 20 times the archive" in refused(archive, tmp_path)


def test_bomb_by_size_is_refused(tmp_path):
    for archive in bombs(tmp_path, [(f"{number}.jpg", NOISE(21_000)) for number in range(10)]):
        assert "'9.jpg' makes the content larger than 200,000 bytes" in refused(archive, tmp_path)


def test_bomb_by_number_is_refused(tmp_path):
    for archive in bombs(tmp_path, [(f"{number}", b"") for number in range(31)]):
        assert "more than 30 members" in refused(archive, tmp_path)


def test_lying_zip_is_refused_and_writes_no_more_than_it_says(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("zeros", bytes(1_000_000))])
    for length in (100, 10_000_000_000 & 0xFFFFFFFF):
        data = bytearray(archive.read_bytes())
        at = data.index(b"PK\1\2") + 24
        data[at : at + 4] = length.to_bytes(4, "little")
        (tmp_path / "b.zip").write_bytes(data)
        assert refused(tmp_path / "b.zip", tmp_path)


def test_overlapping_zip_bomb_is_refused(tmp_path):
    """Fifield, "A better zip bomb": many names in the list of members share one compressed file."""
    archive = make_zip(tmp_path / "a.zip", [("0", bytes(4000) + NOISE(1000))])
    data = archive.read_bytes()
    start = data.index(b"PK\1\2")
    end = data.index(b"PK\5\6")
    entry = data[start:end]
    count = 25
    tail = bytearray(data[end:])
    tail[8:12] = count.to_bytes(2, "little") * 2
    tail[12:16] = (len(entry) * count).to_bytes(4, "little")
    entries = b"".join(entry[:46] + bytes([65 + number]) for number in range(count))
    archive.write_bytes(data[:start] + entries + tail)
    assert refused(archive, tmp_path)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_tar_header_that_would_fill_memory_is_refused(tmp_path, kind):
    info, _ = tar_info("long", type=kind)
    info.size = 60 << 20
    path = tmp_path / "a.tgz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(60):
            file.write(b"9" * (1 << 20))
    assert "header of more than" in refused(path, tmp_path)


def test_sparse_tar_bomb_is_refused(tmp_path):
    source = tmp_path / "sparse"
    with source.open("wb") as file:
        file.truncate(500_000_000)
    subprocess.run(["tar", "-S", "-cf", tmp_path / "a.tar", "-C", tmp_path, "sparse"], check=True)
    source.unlink()
    assert "'sparse' makes the content larger" in refused(tmp_path / "a.tar", tmp_path)


# ---------------------------------------------------------------- broken ones


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "7z"])
def test_archive_cut_anywhere_is_refused(tmp_path, kind):
    members = [(f"{number}.jpg", NOISE(700)) for number in range(4)]
    make = {
        "zip": make_zip,
        "7z": make_7z,
        "tar": make_tar,
        "tar.gz": lambda path, members: make_tar(path, members, gzip.compress),
    }[kind]
    data = make(tmp_path / f"whole.{kind}", members).read_bytes()
    cut = tmp_path / f"cut.{kind}"
    end = 4 * 512 + 4 * 1024 if kind == "tar" else len(data)  # a tar may lose the zeros after its end mark
    for length in [0, 1, 31, *range(64, end, 128), *range(512, end, 512), end - 1, end - 9]:
        cut.write_bytes(data[:length])
        assert refused(cut, tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "7z"])
def test_changed_byte_never_changes_a_file(tmp_path, kind):
    """Formats with checksums: whatever byte is changed, the content is the same or the archive is refused."""
    members = {f"{number}.jpg": NOISE(300) for number in range(3)}
    path = tmp_path / f"a.{kind}"
    {
        "zip": make_zip,
        "7z": make_7z,
        "tar.gz": lambda path, members: make_tar(path, members, gzip.compress),
    }[kind](path, members.items())
    data = path.read_bytes()
    spoilt = tmp_path / f"b.{kind}"
    outcomes = set()
    for at in range(0, len(data), 7):
        spoilt.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        try:
            unpack(spoilt, tmp_path / "target", SMALL)
        except DataError:
            outcomes.add("refused")
        else:
            outcomes.add("unpacked")
            found = content(tmp_path / "target")
            assert set(found.values()) <= set(members.values())
    assert "refused" in outcomes


def test_tar_without_end_mark_or_with_a_broken_header_is_refused(tmp_path):
    members = [("a", NOISE(512)), ("b", NOISE(512))]
    assert "end mark is not there" in refused(make_tar(tmp_path / "a.tar", members, end=False), tmp_path)
    data = bytearray(make_tar(tmp_path / "b.tar", members).read_bytes())
    data[1024 + 5] ^= 1  # the name in the second header: tarfile takes that for the end
    (tmp_path / "b.tar").write_bytes(data)
    assert "end mark is not there" in refused(tmp_path / "b.tar", tmp_path)


def test_missing_volume_is_named(tmp_path):
    data = make_7z(tmp_path / "a.7z", [("x.jpg", NOISE(4000))]).read_bytes()
    parts = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    for missing in range(2, len(parts) + 1):
        folder = tmp_path / str(missing)
        folder.mkdir()
        for number, part in enumerate(parts, start=1):
            if number != missing:
                (folder / f"set.7z.{number:03}").write_bytes(part)
        said = refused(folder / "set.7z.001", folder)
        assert f"set.7z.{missing:03} is missing" in said or missing == len(parts)


def test_what_is_no_archive_or_holds_nothing_is_refused(tmp_path):
    for kind in ("zip", "tar", "tar.gz", "tgz", "7z", "7z.001"):
        path = tmp_path / f"a.{kind}"
        assert "cannot be unpacked" in refused(path, tmp_path)
        path.write_text("<html>")
        assert "cannot be unpacked" in refused(path, tmp_path)
    (tmp_path / "a.rar").write_text("x")
    assert "not an archive that can be unpacked" in refused(tmp_path / "a.rar", tmp_path)
    for empty in (make_zip(tmp_path / "b.zip", [("in/", b"")]), make_tar(tmp_path / "b.tar", [])):
        assert "no file in it" in refused(empty, tmp_path)


# ---------------------------------------------------------------- memory, kill


def in_process(archive, target, before=""):
    run = "a.unpack(*map(pathlib.Path, sys.argv[1:]))"
    code = f"import sys, pathlib, crossface.data.archives as a\n{before}\n{run}"
    return [sys.executable, "-c", code, str(archive), str(target)]


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_memory_does_not_grow_with_a_member(tmp_path, kind):
    data = NOISE(1 << 20) * 100
    archive = tmp_path / f"a.{kind}"
    if kind == "zip":
        make_zip(archive, [("big", data)], zipfile.ZIP_STORED)
    else:
        make_tar(archive, [("big", data)], lambda packed: gzip.compress(packed, 0))
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_DATA, ({60 << 20}, {60 << 20}))"
    subprocess.run(in_process(archive, tmp_path / "target", limit), check=True)
    assert (tmp_path / "target" / "big").stat().st_size == len(data)


def test_killed_unpacking_leaves_nothing_that_is_taken_for_whole(tmp_path):
    archive = make_zip(
        tmp_path / "a.zip", [(f"{number}", b"") for number in range(30_000)], zipfile.ZIP_STORED
    )
    process = subprocess.Popen(in_process(archive, tmp_path / "out" / "target"))
    try:
        deadline = time.monotonic() + 60
        while not [path for path in Path(tmp_path, "out").glob(".*.part") if any(path.iterdir())]:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert all(path.name.startswith(".") for path in (tmp_path / "out").iterdir())
