"""Outputs are whole or absent."""

import pytest

from crossface.data.storage import atomic_file, atomic_folder


def test_folder_replaces_an_older_one(tmp_path):
    target = tmp_path / "out" / "crops"
    for text in ("old", "new"):
        with atomic_folder(target) as folder:
            (folder / text).write_text(text)
            assert not (target / text).exists()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in target.parent.iterdir()] == ["crops"]


@pytest.mark.parametrize("atomic", [atomic_folder, atomic_file])
def test_an_error_leaves_the_older_output_and_nothing_else(tmp_path, atomic):
    target = tmp_path / "out"
    target.write_text("old")

    def fail_halfway():
        with atomic(target) as part:
            (part / "half" if part.is_dir() else part).write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_file_appears_when_it_is_complete(tmp_path):
    target = tmp_path / "deep" / "report.html"
    with atomic_file(target) as part:
        part.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]
