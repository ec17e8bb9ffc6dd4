"""Opens the source of a dataset: a local directory, a prefix in S3, or an archive in either place."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crossface.data import s3
from crossface.data.archives import SUFFIXES, is_archive, unpack
from crossface.data.tree import LocalTree, Tree
from crossface.data.unpacking import VOLUME
from crossface.errors import DataError


@dataclass(frozen=True)
class Source:
    """A dataset as it lies.

    Attributes:
        tree: its files.
        lasting: whether they are still there, under the URIs of the tree, once the source is closed.
        only_folder: of an archive that holds nothing but one folder, that folder: it may be what was packed,
            or a part of the layout.
    """

    tree: Tree
    lasting: bool
    only_folder: Tree | None = None


@contextmanager
def open_source(source: str) -> Iterator[Source]:
    """Open a local directory, ``s3://bucket/prefix``, or an archive in either place.

    An archive is unpacked to a scratch folder (in ``TMPDIR``), which needs room for its content, and for the
    archive too when that lies in S3; the folder goes when the source is closed.

    Raises:
        DataError: there is nothing of that kind there, or the archive is refused.
    """
    if fault := source_fault(source):
        raise DataError(f"source {source} is {fault}")
    if is_archive(source) and not Path(source).is_dir():
        with tempfile.TemporaryDirectory(prefix="crossface-", ignore_cleanup_errors=True) as scratch:
            content = _unpacked(source, Path(scratch))
            yield Source(LocalTree(content), False, _only_folder(content))
    elif source.startswith(s3.SCHEME):
        yield Source(_listed(source), lasting=True)
    else:
        yield Source(LocalTree(Path(source)), lasting=True)


def source_fault(source: str) -> str:
    """What is wrong with a source, as far as a look at this machine shows; empty when nothing is."""
    path = Path(source)
    if source.startswith(s3.SCHEME) or path.is_dir() or (path.is_file() and is_archive(source)):
        return ""
    return f"neither a directory nor an archive ({', '.join(SUFFIXES)})" if path.exists() else "not there"


def _listed(source: str) -> Tree:
    tree = s3.S3Tree(source)
    if not tree.sizes("") and not tree.folders(""):
        raise DataError(f"source {source}: there is no object under this prefix")
    return tree


def _unpacked(source: str, scratch: Path) -> Path:
    target = scratch / "content"
    if source.startswith(s3.SCHEME):
        download = scratch / "archive"
        download.mkdir()
        unpack(_download(source, download), target, uri=source)
        shutil.rmtree(download)
    else:
        unpack(Path(source), target)
    return target


def _download(source: str, folder: Path) -> Path:
    """Copy an archive, with all its volumes, out of S3; returns the first of them."""
    bucket, key = s3.split_uri(source)
    first = folder / PurePosixPath(key).name
    s3.download(source, first)
    if volume := VOLUME.fullmatch(key):
        for other, _, _ in s3.list_objects(f"{s3.SCHEME}{bucket}/{volume['stem']}"):
            found = VOLUME.fullmatch(other)
            if other != key and found and found["stem"] == volume["stem"]:
                s3.download(f"{s3.SCHEME}{bucket}/{other}", folder / PurePosixPath(other).name)
    return first


def _only_folder(content: Path) -> Tree | None:
    """The only folder, where there is nothing else; what macOS adds to archives is no content."""
    entries = [entry for entry in content.iterdir() if entry.name not in ("__MACOSX", ".DS_Store")]
    return LocalTree(entries[0]) if len(entries) == 1 and entries[0].is_dir() else None
