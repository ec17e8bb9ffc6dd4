"""Outputs that are either whole or absent: written under a temporary name, then renamed."""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder to write into; it becomes ``target`` only when the block ends well.

    An existing ``target`` is replaced. After an error nothing is left behind; after a kill only a
    hidden ``.<name>.*.part`` folder beside the target is.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        yield part
        part.chmod(0o755)  # mkdtemp makes it private, and the next step may run as another user
        if target.is_dir():
            shutil.rmtree(target)
        part.replace(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Give a path to write to; it becomes ``target``, also on the disk, only when the block ends well.

    An existing ``target`` is replaced in one go. After an error nothing is left behind; after a kill only
    what :func:`remove_parts` removes.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # a folder: some libraries write under a temporary name of their own beside the one they are given
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        file = part / target.name
        yield file
        file.chmod(0o644)
        _flush(file)  # before the rename, or a power cut may leave the new name with nothing behind it
        file.replace(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    with suppress(OSError):  # not every file system can; the worst is that the older file comes back
        _flush(target.parent)


def remove_parts(target: Path) -> None:
    """Remove what killed writers of ``target`` left beside it. A writer that still lives will fail."""
    for part in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        shutil.rmtree(part, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
