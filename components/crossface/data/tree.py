"""The files of a dataset where it lies: one interface for a local directory and for an object store."""

import contextlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from crossface.errors import DataError


class Tree(Protocol):
    """The files of a dataset where it lies, read-only; each folder is listed once, whichever thread asks.

    Names are relative posix paths as :func:`relative_path` gives them; the root is ``""``.
    """

    def uri(self, name: str) -> str:
        """Where a file or folder lies, as records say it: an absolute path, or ``s3://bucket/key``."""
        ...

    def sizes(self, folder: str) -> Mapping[str, int]:
        """Bytes of each file directly in a folder, by file name; empty when there is no such folder.

        Raises:
            DataError: the folder is there and cannot be listed.
        """
        ...

    def folders(self, folder: str) -> Sequence[str]:
        """Names of the folders directly in a folder, sorted; empty when there is no such folder.

        Raises:
            DataError: the folder is there and cannot be listed.
        """
        ...

    def open(self, name: str) -> BinaryIO:
        """Open an annotation file for reading, at its start; the file can be searched (``seek``).

        Raises:
            DataError: it is not there or cannot be read; the message names its uri.
        """
        ...


@dataclass(frozen=True)
class _Listing:
    sizes: Mapping[str, int]
    folders: Sequence[str]


class LocalTree:
    """A local directory. Links are followed, but never round in a circle."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._listings: dict[str, _Listing] = {}
        self._lock = threading.Lock()

    def uri(self, name: str) -> str:
        """Absolute path."""
        return f"{self._root}/{name}" if name else str(self._root)

    def sizes(self, folder: str) -> Mapping[str, int]:
        """See :meth:`Tree.sizes`."""
        return self._list(folder).sizes

    def folders(self, folder: str) -> Sequence[str]:
        """See :meth:`Tree.folders`."""
        return self._list(folder).folders

    def open(self, name: str) -> BinaryIO:
        """See :meth:`Tree.open`."""
        try:
            return Path(self.uri(relative_path(name))).open("rb")
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(f"{self.uri(name)} is not there") from None
        except OSError as error:
            raise DataError(f"{self.uri(name)} cannot be read: {error.strerror}") from None

    def _list(self, folder: str) -> _Listing:
        with self._lock:
            if folder not in self._listings:
                self._listings[folder] = self._scan(_inside(folder) if folder else "")
            return self._listings[folder]

    def _scan(self, folder: str) -> _Listing:
        sizes: dict[str, int] = {}
        folders: list[str] = []
        try:
            with os.scandir(self.uri(folder)) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):  # a link to itself, or gone meanwhile: nothing there
                        if entry.is_file():  # a dangling link is none
                            sizes[entry.name] = entry.stat().st_size
                        elif entry.is_dir() and not (entry.is_symlink() and self._leads_back(folder, entry)):
                            folders.append(entry.name)
        except PermissionError as error:
            raise DataError(f"{self.uri(folder)} cannot be listed: {error.strerror}") from None
        except OSError:  # no such folder, or a name that no folder can have: nothing is there
            return _Listing({}, ())
        return _Listing(sizes, sorted(folders))

    def _leads_back(self, folder: str, link: os.DirEntry[str]) -> bool:
        """Whether a link leads to a folder that it is in."""
        names = [str(parent) for parent in PurePosixPath(folder, link.name).parents]
        return Path(link).resolve() in {(self._root / name).resolve() for name in names}


def relative_path(text: str) -> str:
    """Check and normalise a path out of an annotation file.

    Raises:
        ValueError: the path is empty, absolute, climbs out with ``..``, or cannot be a file name.
    """
    path = _inside(text)
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} is not UTF-8") from None
    return path


def _inside(text: str) -> str:
    """Normalise a path below the root, which need not be UTF-8: directories list such names."""
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or "\0" in text or not path.parts:
        raise ValueError(f"{text!r} is not a path inside the dataset")
    return str(path)


def has_file(tree: Tree, name: str) -> bool:
    """Whether a file is there."""
    folder, _, file = name.rpartition("/")
    return file in tree.sizes(folder)


def has_folder(tree: Tree, name: str) -> bool:
    """Whether a folder is there."""
    parent, _, folder = name.rpartition("/")
    return folder in tree.folders(parent) if name else True
