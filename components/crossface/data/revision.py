"""A fingerprint of a dataset's files, for caches that see only its path."""

import glob
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from crossface.data import s3
from crossface.data.archives import is_archive
from crossface.data.unpacking import VOLUME
from crossface.errors import DataError


def listing_digest(source: str) -> str:
    """Hash the names, sizes and times of change of all files of a source, without reading them.

    Args:
        source: a directory, ``s3://bucket/prefix`` (whose entity tags stand in for the times), or an archive
            in either place. About a second for 100,000 local files.

    Raises:
        DataError: there is nothing.
    """
    digest, files = hashlib.sha256(), 0
    lines = _objects(source) if source.startswith(s3.SCHEME) else _files(Path(source))
    for line in lines:
        digest.update(line.encode(errors="surrogateescape"))
        files += 1
    if not files:
        raise DataError(f"{source}: no such file or folder, or an empty one")
    return digest.hexdigest()[:16]


def _objects(source: str) -> Iterator[str]:
    # only what is below the prefix, not what lies beside it under a longer name
    prefix = _volumes(source) if is_archive(source) else f"{source.rstrip('/')}/"
    for found in s3.list_objects(prefix):
        yield f"{found.key}\0{found.size}\0{found.tag}\n"


def _files(source: Path) -> Iterator[str]:
    if not source.is_dir():
        for path in sorted(source.parent.glob(f"{glob.escape(_volumes(source.name))}*")):
            yield _line(str(path))
        return
    seen: set[str] = set()
    for root, folders, files in os.walk(source, followlinks=True):  # as the readers follow them
        folders[:] = sorted(name for name in folders if _is_new(os.path.join(root, name), seen))  # noqa: PTH118
        for name in sorted(files):
            yield _line(os.path.join(root, name))  # noqa: PTH118  pathlib is several times slower here


def _volumes(archive: str) -> str:
    """What the names of all volumes of a split archive begin with."""
    volume = VOLUME.fullmatch(archive)
    return volume["stem"] if volume else archive


def _line(path: str) -> str:
    status = os.stat(path) if os.path.exists(path) else os.lstat(path)  # noqa: PTH110, PTH116
    return f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n"


def _is_new(folder: str, seen: set[str]) -> bool:
    """Whether a folder was not met yet: links may lead in circles."""
    real = os.path.realpath(folder)
    if real in seen:
        return False
    seen.add(real)
    return True
