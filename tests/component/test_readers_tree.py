"""The tree that readers look at: a directory, listed once, and never a file outside it."""

import os

import pytest

from crossface.data.tree import LocalTree, has_file, has_folder
from crossface.errors import DataError


@pytest.fixture
def tree(tmp_path):
    for name in ("a.txt", "faces/1.jpg", "faces/deep/2.jpg", "empty/x"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(name)
    (tmp_path / "secret.txt").write_text("secret")
    return LocalTree(tmp_path / "root")


def test_names_sizes_folders_and_uris(tree, tmp_path):
    assert tree.sizes("") == {"a.txt": 5}
    assert list(tree.folders("")) == ["empty", "faces"]
    assert tree.sizes("faces") == {"1.jpg": 11}
    assert tree.sizes("nowhere") == tree.sizes("a.txt") == tree.sizes("x" * 300) == {}
    assert tree.uri("faces/1.jpg") == str(tmp_path / "root" / "faces" / "1.jpg")
    assert tree.uri("") == str(tmp_path / "root")
    assert has_file(tree, "faces/deep/2.jpg")
    assert not has_file(tree, "faces/deep")
    assert has_folder(tree, "faces/deep")
    assert not has_folder(tree, "faces/1.jpg")
    with tree.open("faces/1.jpg") as file:
        assert file.read() == b"faces/1.jpg"


def test_each_folder_is_listed_once(tree, monkeypatch):
    listed = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scan(path))
    for _ in range(3):
        tree.sizes("faces"), tree.folders("faces"), tree.sizes("nowhere")
    assert [path.rpartition("/")[2] for path in listed] == ["faces", "nowhere"]


def test_nothing_outside_is_opened_or_listed(tree):
    for name in ("../secret.txt", "/etc/hostname", "faces/../../secret.txt", "a\0b", "caf\udce9"):
        with pytest.raises(ValueError, match=r"not a path inside the dataset|not UTF-8"):
            tree.open(name)
    for folder in ("..", "/etc", "faces/../.."):
        with pytest.raises(ValueError, match="not a path inside the dataset"):
            tree.sizes(folder)


def test_files_that_cannot_be_opened_are_named(tree, tmp_path):
    for name in ("b.txt", "a.txt/b.txt"):
        with pytest.raises(DataError, match=f"^{tmp_path}/root/{name} is not there$"):
            tree.open(name)
    with pytest.raises(DataError, match=f"^{tmp_path}/root/faces cannot be read: Is a directory$"):
        tree.open("faces")


def test_folder_that_cannot_be_listed_is_an_error_not_an_empty_one(tree, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"faces cannot be listed: Permission denied$"):
        tree.sizes("faces")


def test_links_are_followed_but_not_in_circles(tree, tmp_path):
    root = tmp_path / "root"
    (root / "faces" / "up").symlink_to(root)
    (root / "faces" / "deep" / "self").symlink_to(root / "faces" / "deep")
    (root / "other").symlink_to(root / "faces" / "deep")
    (root / "dangling.jpg").symlink_to(root / "gone.jpg")
    assert list(tree.folders("faces")) == ["deep"]
    assert list(tree.folders("faces/deep")) == []
    assert list(tree.folders("")) == ["empty", "faces", "other"]
    assert tree.sizes("other") == {"2.jpg": 16}
    assert "dangling.jpg" not in tree.sizes("")
