"""PhotoStore and PhotoSource: what goes in comes out, in the same bytes each time, and nothing else."""

import hashlib
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.data import photo_store
from crossface.data.photo_store import PhotoSource, PhotoStore
from crossface.errors import DataError

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=20)


@settings(max_examples=60)
@given(
    photos=st.dictionaries(
        st.lists(NAMES.filter(lambda part: part not in (".", "..")), min_size=1, max_size=3).map("/".join),
        st.binary(max_size=60),
        max_size=12,
    )
)
def test_any_photo_comes_back_under_any_name(tmp_path_factory, photos):
    folder = tmp_path_factory.mktemp("store")
    with PhotoStore(folder, zip_bytes=100) as store:
        uris = [store.add(name, data) for name, data in photos.items()]
    with PhotoSource(folder) as source:
        assert source.read_many(uris) == list(photos.values())
        assert [source.read(uri) for uri in reversed(uris)] == list(photos.values())[::-1]


def test_files_are_few_bounded_plain_zips_and_the_same_each_time(tmp_path, monkeypatch):
    digests = []
    for run, now in (("one", 1e9), ("two", 1.5e9)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        (tmp_path / run).mkdir()
        with PhotoStore(tmp_path / run, zip_bytes=1000) as store:
            for number, size in enumerate([400, 600, 1, 5000, 1000, 10]):
                uri = store.add(f"{number}.jpg", bytes([number]) * size)
        files = sorted((tmp_path / run).iterdir())
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert uri == "store://photos-00004.zip/5.jpg"
    assert digests[0] == digests[1]
    contents = []
    for file in files:
        with zipfile.ZipFile(file) as photos:
            assert photos.testzip() is None
            assert {info.compress_type for info in photos.infolist()} == {zipfile.ZIP_STORED}
            contents.append(photos.namelist())
    assert contents == [["0.jpg", "1.jpg"], ["2.jpg"], ["3.jpg"], ["4.jpg"], ["5.jpg"]]
    assert files[0].name == "photos-00000.zip"


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../up.jpg", "a/../../b", "nul\0.jpg", "\udce9.jpg"])
def test_name_that_is_no_path_inside_is_refused(tmp_path, name):
    with PhotoStore(tmp_path) as store, pytest.raises(ValueError, match="not"):
        store.add(name, b"x")


def test_name_given_twice_is_refused(tmp_path):
    with PhotoStore(tmp_path) as store:
        store.add("a/b.jpg", b"x")
        with pytest.raises(ValueError, match="stored already"):
            store.add("a//b.jpg", b"y")


def test_store_without_its_end_is_not_taken_for_whole(tmp_path):
    store = PhotoStore(tmp_path)  # not closed, as after a kill
    uri = store.add("a.jpg", b"x" * 10_000)
    with PhotoSource(tmp_path) as source, pytest.raises(DataError, match=r"photos-00000\.zip is damaged"):
        source.read(uri)


def test_changed_byte_in_a_store_is_an_error_not_a_photo(tmp_path):
    with PhotoStore(tmp_path) as store:
        uri = store.add("a.jpg", b"x" * 1000)
    file = tmp_path / "photos-00000.zip"
    file.write_bytes(file.read_bytes().replace(b"xxxx", b"xxyx", 1))
    with PhotoSource(tmp_path) as source, pytest.raises(DataError, match=r"damaged at 'a\.jpg'"):
        source.read(uri)


def test_only_files_of_the_store_and_absolute_paths_are_read(tmp_path):
    records = tmp_path / "records"
    records.mkdir()
    for folder in (tmp_path, records):
        with zipfile.ZipFile(folder / "other.zip", "w") as other:
            other.writestr("a.jpg", b"secret")
    (records / "a.jpg").write_bytes(b"beside")
    with PhotoStore(records) as store:
        uri = store.add("a.jpg", b"photo")
    with PhotoSource(records) as source:
        assert source.read(uri) == b"photo"
        for bad in (
            "store://../other.zip/a.jpg",
            "store://other.zip/a.jpg",
            "store://photos-00000.zip",
            "store://a.jpg",
            "a.jpg",
            "file:///etc/passwd",
            "http://127.0.0.1/a.jpg",
            "",
        ):
            with pytest.raises(DataError):
                source.read(bad)
        with pytest.raises(FileNotFoundError, match="no such photo"):
            source.read("store://photos-00000.zip/b.jpg")
        with pytest.raises(DataError, match=r"photos-00001\.zip is not there"):
            source.read("store://photos-00001.zip/a.jpg")


def test_local_photos_are_read_or_say_why_not(tmp_path, monkeypatch):
    odd = tmp_path / "visage é\n#100%.jpg"
    odd.write_bytes(b"odd")
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "long.jpg").write_bytes(bytes(11))
    monkeypatch.setattr(photo_store, "MAX_PHOTO_BYTES", 10)
    names = ["empty.jpg", "pipe.jpg", "link.jpg", "none.jpg", "long.jpg", "empty.jpg/x", ""]
    with PhotoSource(tmp_path) as source:
        first, *rest = source.read_many([str(odd), *(f"{tmp_path}/{name}" for name in names)])
    assert (first, rest[0]) == (b"odd", b"")
    assert all(isinstance(error, OSError) for error in rest[1:])
    assert [isinstance(error, FileNotFoundError) for error in rest[1:]] == [
        False,
        True,
        True,
        False,
        False,
        False,
    ]


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_few_stores_stay_open_however_many_there_are(tmp_path):
    with PhotoStore(tmp_path, zip_bytes=1) as store:
        uris = [store.add(f"{number}.jpg", b"%d" % number) for number in range(40)]
    descriptors = open_files()
    with PhotoSource(tmp_path) as source:
        for _ in range(2):
            assert source.read_many(uris) == [b"%d" % number for number in range(40)]
        assert open_files() - descriptors <= 4
    assert open_files() == descriptors
