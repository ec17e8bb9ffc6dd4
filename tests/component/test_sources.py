"""Sources in S3, against a real server over HTTP whose answers are spoilt, and archives in either place."""

import io
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import boto3
import py7zr
import pytest
from s3_server import ACCESS_KEY, BUCKET, SECRET_KEY, start_proxy, start_s3_server  # noqa: F401  # fixtures

from crossface.data import s3
from crossface.data.photo_store import PhotoSource
from crossface.data.s3 import S3Tree, list_objects, read_object
from crossface.data.source import open_source
from crossface.data.tree import LocalTree
from crossface.errors import DataError

PHOTO = bytes(range(256)) * 900  # longer than what a socket sends at once
ODD_NAMES = [
    "plain.jpg",
    "two words.jpg",
    "visage-é-顔-😀.jpg",
    "a#b.jpg",
    "100%25.jpg",
    "a+b&c=d?e.jpg",
    "quotes'\"<>.jpg",
]


def keys_asked(proxy, key):
    return [request for request in proxy.requests if key in request]


# ---------------------------------------------------------------- the tree


def test_tree_shows_what_lies_under_the_prefix_and_nothing_else(s3_server, proxy):
    for name in ODD_NAMES:
        s3_server.put(f"odd set/{name}", name.encode())
        s3_server.put(f"odd set/sub#1/deep %20/{name}", b"deep")
    s3_server.put("odd set/", b"")  # what consoles leave for a folder
    s3_server.put("odd settings/other.jpg", b"no part of it")
    tree = S3Tree(f"s3://{BUCKET}/odd set/")
    assert dict(tree.sizes("")) == {name: len(name.encode()) for name in ODD_NAMES}
    assert list(tree.folders("")) == ["sub#1"]
    assert list(tree.folders("sub#1")) == ["deep %20"]
    assert dict(tree.sizes("sub#1/deep %20")) == dict.fromkeys(ODD_NAMES, 4)
    assert tree.sizes("sub#1") == tree.sizes("nowhere") == {}
    assert list(tree.folders("nowhere")) == []
    for name in ODD_NAMES:
        assert tree.uri(name) == f"s3://{BUCKET}/odd set/{name}"
        assert read_object(tree.uri(name)) == name.encode()
        assert tree.open(name).read() == name.encode()
    assert tree.uri("") == f"s3://{BUCKET}/odd set"


def test_listing_is_paged_and_requested_once(s3_server, proxy):
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda number: s3_server.put(f"many/{number % 3}/{number:04}", b"x"), range(1050)))
    tree = S3Tree(f"s3://{BUCKET}/many")
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: tree.sizes(str(number % 3)), range(30)))
    assert {len(sizes) for sizes in found} == {350}
    assert list(tree.folders("")) == ["0", "1", "2"]
    assert len(proxy.requests) == 2  # a page holds 1,000


def test_listing_survives_faults_on_every_page(s3_server, proxy):
    for number in range(5):
        s3_server.put(f"shaky/{number}", b"x" * number)
    proxy.spoil("list-type=2", "500", "reset", "cut")
    assert dict(S3Tree(f"s3://{BUCKET}/shaky").sizes("")) == {str(number): number for number in range(5)}
    assert len(proxy.requests) == 4


def test_tree_has_the_same_content_as_a_local_one(s3_server, proxy, tmp_path):
    for name in ("labels.csv", "train/1/a.jpg", "train/2/b.jpg", "test/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
        s3_server.put(f"twin/{name}", name.encode())
    local, remote = LocalTree(tmp_path), S3Tree(f"s3://{BUCKET}/twin")
    for folder in ("", "train", "train/1", "train/2", "test", "none", "labels.csv"):
        assert dict(local.sizes(folder)) == dict(remote.sizes(folder))
        assert list(local.folders(folder)) == list(remote.folders(folder))
    assert local.open("train/1/a.jpg").read() == remote.open("train/1/a.jpg").read()
    for tree in (local, remote):
        with pytest.raises(DataError, match=re.escape(f"{tree.uri('train/none')} is not there")):
            tree.open("train/none")


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    "faults",
    [
        ["500"],
        ["503", "500"],
        ["reset"],
        ["stall"],
        ["cut"],
        ["cut_reset"],
        ["cut_stall"],
        ["cut_nolength"],
        ["cut", "500", "cut_reset", "reset", "cut"],
    ],
    ids="-".join,
)
def test_right_bytes_come_after_faults(s3_server, proxy, faults):
    uri = s3_server.put("photo.jpg", PHOTO)
    proxy.spoil("photo.jpg", *faults)
    assert read_object(uri) == PHOTO
    assert len(keys_asked(proxy, "photo.jpg")) == len(faults) + 1


@pytest.mark.parametrize("fault", ["cut", "cut_nolength", "cut_reset", "500", "403", "reset", "html"])
def test_lasting_fault_is_one_line_with_the_uri_and_no_secret(s3_server, proxy, fault, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint.replace("//", "//someone:endpoint-password@"))
    uri = s3_server.put("lost/photo.jpg", PHOTO)
    proxy.always = fault
    reads = [lambda: list(list_objects(f"s3://{BUCKET}/lost/"))]
    if fault != "html":  # any bytes may be an object
        reads.append(lambda: read_object(uri))
    for read in reads:
        with pytest.raises(DataError) as caught:
            read()
        text = str(caught.value)
        assert text.startswith(f"s3://{BUCKET}/lost/")
        assert proxy.endpoint in text
        assert len(text.splitlines()) == 1
        assert not re.search(f"{SECRET_KEY}|{ACCESS_KEY}|endpoint-password|someone|Signature=", text)
    assert len(proxy.requests) < 25  # it gives up


def test_body_that_does_not_fit_its_checksum_is_asked_for_again(s3_server, proxy):
    s3_server.client.put_object(Bucket=BUCKET, Key="sum.jpg", Body=PHOTO, ChecksumAlgorithm="CRC32")
    proxy.spoil("sum.jpg", "flip")
    assert read_object(f"s3://{BUCKET}/sum.jpg") == PHOTO
    assert len(keys_asked(proxy, "sum.jpg")) == 2


@pytest.mark.parametrize("faults", [["500"], ["cut"], ["cut_reset", "reset"], ["cut_stall"]], ids="-".join)
def test_large_file_is_opened_whole_or_not_at_all(s3_server, proxy, faults):
    large = os.urandom(1 << 20) * 20  # three parts
    s3_server.put("large/labels.csv", large)
    tree = S3Tree(f"s3://{BUCKET}/large")
    assert tree.sizes("") == {"labels.csv": len(large)}
    proxy.spoil("large/labels.csv", *faults)
    file = tree.open("labels.csv")
    assert file.read() == large
    file.seek(5)
    assert file.read(3) == large[5:8]
    proxy.always = "cut"
    with pytest.raises(DataError, match=f"s3://{BUCKET}/large/labels.csv"):
        tree.open("labels.csv")


def test_file_that_changed_since_it_was_listed_is_refused(s3_server, proxy):
    s3_server.put("changing/labels.csv", b"a,b\n1,2\n")
    tree = S3Tree(f"s3://{BUCKET}/changing")
    assert tree.sizes("")
    s3_server.put("changing/labels.csv", b"a,b\n")
    with pytest.raises(DataError, match="4 bytes came, 8 are listed"):
        tree.open("labels.csv")


def test_absent_object_is_no_file_and_absent_bucket_is_an_error(proxy):
    with pytest.raises(FileNotFoundError, match=r"none\.jpg"):
        read_object(f"s3://{BUCKET}/none.jpg")
    assert len(proxy.requests) == 1
    for bucket, fault in (("no-such-bucket", "NoSuchBucket"), ("not a bucket", "ParamValidationError")):
        with pytest.raises(DataError, match=f"s3://{bucket}/none.jpg: {fault}"):
            read_object(f"s3://{bucket}/none.jpg")
        with pytest.raises(DataError, match=f"s3://{bucket}/x/: {fault}"), open_source(f"s3://{bucket}/x"):
            pass


# ---------------------------------------------------------------- credentials and endpoint


def test_credentials_come_from_the_standard_chain(s3_server, proxy, monkeypatch, tmp_path):
    uri = s3_server.put("chain.txt", b"chain")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(DataError, match=r"chain.txt: SignatureDoesNotMatch \(check AWS_SECRET_ACCESS_KEY\)"):
        read_object(uri)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    s3._make_client.cache_clear()
    with pytest.raises(DataError, match=r"chain.txt: NoCredentialsError \(set AWS_ACCESS_KEY_ID"):
        read_object(uri)
    (tmp_path / "credentials").write_text(
        f"[lab]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    s3._make_client.cache_clear()
    assert read_object(uri) == b"chain"


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("http://127.0.0.1:9", r"EndpointConnectionError .*asked http://127.0.0.1:9"),
        ("store:pass-word@nowhere", r"ValueError \(AWS_ENDPOINT_URL is not a URL\)"),
    ],
)
def test_wrong_endpoint_is_said_in_one_line(proxy, monkeypatch, endpoint, said):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(DataError, match=f"s3://{BUCKET}/x: {said}") as caught:
        read_object(f"s3://{BUCKET}/x")
    assert "pass-word" not in str(caught.value)


def test_uri_with_credentials_is_refused_and_not_repeated():
    with pytest.raises(DataError) as caught, open_source("s3://AKID:hush-hush@bucket/x"):
        pass
    assert "hush" not in str(caught.value)


def test_boto3_and_py7zr_stay_unimported_until_they_are_needed():
    code = (
        "import sys, crossface.data.source, crossface.data.photo_store\n"
        "print([name for name in ('boto3', 'botocore', 'py7zr') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------- photos


def test_photos_are_read_side_by_side_in_order_with_a_bound(s3_server, proxy, tmp_path):
    uris = [s3_server.put(f"photos/{number}.jpg", f"photo {number}".encode()) for number in range(40)]
    (tmp_path / "local.jpg").write_bytes(b"local")
    asked = [uris[3], str(tmp_path / "local.jpg"), *uris, f"s3://{BUCKET}/photos/none.jpg", "/none.jpg"]
    proxy.delay_s = 0.05
    made = []
    with PhotoSource(tmp_path) as source, pytest.MonkeyPatch.context() as patch:
        patch.setattr("boto3.session.Session.client", count_calls(made))
        photos = source.read_many(asked)
    assert len(made) == 1
    assert photos[:-2] == [b"photo 3", b"local", *(f"photo {number}".encode() for number in range(40))]
    assert [type(error) for error in photos[-2:]] == [FileNotFoundError, FileNotFoundError]
    assert 1 < proxy.busiest <= 8
    assert len(proxy.requests) == 41  # each object once


def count_calls(calls):
    real = boto3.session.Session.client

    def client(*args, **options):
        calls.append(args)
        return real(*args, **options)

    return client


def test_object_that_is_no_photo_by_its_length_is_not_read(s3_server, proxy, monkeypatch, tmp_path):
    monkeypatch.setattr("crossface.data.photo_store.MAX_PHOTO_BYTES", len(PHOTO) - 1)
    uri = s3_server.put("long.jpg", PHOTO)
    (error,) = PhotoSource(tmp_path).read_many([uri])
    assert isinstance(error, OSError)
    assert "bytes are more than" in str(error)


# ---------------------------------------------------------------- open_source


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def seven_zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(data, name)
    return buffer.getvalue()


CONTENT = {"set/train/a é.jpg": PHOTO, "set/labels.csv": b"a,1\n"}


def check_content(source, expected_lasting):
    assert source.lasting is expected_lasting
    tree = source.tree if expected_lasting else source.only_folder
    assert dict(tree.sizes("")) == {"labels.csv": 4}
    assert dict(tree.sizes("train")) == {"a é.jpg": len(PHOTO)}
    assert tree.open("train/a é.jpg").read() == PHOTO


@pytest.mark.parametrize("remote", [False, True], ids=["local", "s3"])
@pytest.mark.parametrize("kind", ["zip", "tgz", "7z.001"])
def test_archive_is_opened_in_either_place_and_leaves_nothing(
    s3_server, proxy, tmp_path, monkeypatch, kind, remote
):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    data = {"zip": zipped, "tgz": tarred, "7z.001": seven_zipped}[kind](CONTENT)
    files = {f"my #1 set.{kind}": data}
    if kind == "7z.001":
        files = {f"my #1 set.7z.{part + 1:03}": data[part * 999 : (part + 1) * 999] for part in range(3)}
        files["my #1 set.7z.003"] = data[1998:]
        files["my #1 set.7z.md5"] = b"no volume"
    for name, part in files.items():
        (tmp_path / name).write_bytes(part)
        s3_server.put(f"archives/{name}", part)
    proxy.spoil("my #1", "500", "cut", "reset")
    place = f"s3://{BUCKET}/archives" if remote else str(tmp_path)
    with open_source(f"{place}/my #1 set.{kind}") as source:
        check_content(source, expected_lasting=False)
        assert [path.name for path in next(scratch.iterdir()).iterdir()] == ["content"]
    assert not list(scratch.iterdir())


def test_broken_archive_in_s3_is_called_by_its_uri(s3_server, proxy):
    uri = s3_server.put("archives/broken.zip", zipped(CONTENT)[:-30])
    with pytest.raises(DataError, match=f"^{re.escape(uri)}: cannot be unpacked"), open_source(uri):
        pass
    with pytest.raises(DataError, match=r"none\.zip is not there"), open_source(f"s3://{BUCKET}/none.zip"):
        pass


def test_directories_last_and_what_is_no_source_is_said(s3_server, proxy, tmp_path):
    for name, data in CONTENT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
        s3_server.put(f"whole/{name}", data)
    for place in (str(tmp_path / "set"), f"s3://{BUCKET}/whole/set", f"s3://{BUCKET}/whole/set/"):
        with open_source(place) as source:
            check_content(source, expected_lasting=True)
    for place, said in (
        (str(tmp_path / "none"), "is not there"),
        (str(tmp_path / "none.zip"), "is not there"),
        (str(tmp_path / "set" / "labels.csv"), "neither a directory nor an archive"),
        (f"s3://{BUCKET}/whole/se", "no object under this prefix"),
        ("s3://", "not of the form s3://bucket/key"),
    ):
        with pytest.raises(DataError, match=said) as caught, open_source(place):
            pass
        assert place in str(caught.value)


def test_only_folder_of_an_archive_is_named(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"train/x": b"1", "test/x": b"1", "__MACOSX/x": b"1"}))
    (tmp_path / "b.zip").write_bytes(zipped({"only/in/x": b"1", "__MACOSX/x": b"1", ".DS_Store": b"1"}))
    with open_source(str(tmp_path / "a.zip")) as source:
        assert list(source.tree.folders("")) == ["__MACOSX", "test", "train"]
        assert source.only_folder is None
    with open_source(str(tmp_path / "b.zip")) as source:
        assert list(source.tree.folders("")) == ["__MACOSX", "only"]
        assert list(source.only_folder.folders("")) == ["in"]
