"""Finds the files that annotations name, and never one outside the dataset."""

import os
from pathlib import Path, PurePosixPath

from crossface.data.rejects import Reason, Reject
from crossface.errors import DataError
from crossface.ingest.readers.face import reject


def relative_path(text: str) -> str:
    """Check and normalise a path out of an annotation file.

    Raises:
        ValueError: the path is empty, absolute, climbs out with ``..``, or cannot be a file name.
    """
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or "\0" in text or not path.parts:
        raise ValueError(f"{text!r} is not a path inside the dataset")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} is not UTF-8") from None
    return str(path)


def require(path: Path, meaning: str) -> Path:
    """Return ``path`` when it exists.

    Raises:
        DataError: it does not; the message says what was looked for.
    """
    if not path.exists():
        raise DataError(f"{path} is not there ({meaning})")
    return path


class PhotoFolder:
    """Tells which photos exist, from one listing of each folder, made when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sizes: dict[str, dict[str, int]] = {}

    def path(self, name: str) -> str:
        """Absolute path of the photo at the relative path ``name``."""
        return f"{self._root}/{name}"

    def fault(self, name: str) -> Reject | None:
        """Why the photo at the relative path ``name`` cannot be used, or None."""
        folder, _, file = name.rpartition("/")
        if folder not in self._sizes:
            self._sizes[folder] = _file_sizes(self._root / folder)
        size = self._sizes[folder].get(file)
        if size is None:
            return reject(self.path(name), Reason.MISSING_FILE, "the photo is not there")
        if size == 0:
            return reject(self.path(name), Reason.EMPTY_FILE, "the photo has no bytes")
        return None


def _file_sizes(folder: Path) -> dict[str, int]:
    sizes = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file():  # a dangling link is none
                    sizes[entry.name] = entry.stat().st_size
    except OSError:  # no such folder: none of its photos is there
        return {}
    return sizes
