"""Finished shards, kept where they outlive the process: in a folder or in S3.

A shard is two files; its scores are kept last, so that a shard whose scores are there is whole.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from crossface.data import s3
from crossface.data.rejects import REJECTS_FILE, Reject, read_rejects, write_rejects
from crossface.data.storage import atomic_file, remove_parts
from crossface.errors import ConfigError, DataError
from crossface.score.table import SCORE_SCHEMA

IDENTITY_FILE = "identity.json"
SCORES_FILE = "scores.parquet"


class FileStore(Protocol):
    """Keeps files by relative path."""

    location: str

    def names(self) -> set[str]:
        """Of what is kept."""

    def fetch(self, name: str, target: Path) -> None:
        """Copy a kept file here."""

    def keep(self, source: Path, name: str) -> None:
        """Keep a copy of a file; it is there whole, or not at all."""


class ShardStore:
    """The finished shards of one piece of work.

    Other work, of another model, on other photos or with other settings, has a folder of its own beside it:
    nothing is ever mixed, and nothing is lost.

    Args:
        uri: folder, which need not be there yet, or ``s3://bucket/prefix``.
        identity: all that a shard follows from, for JSON.
        scratch: an existing folder.

    Raises:
        ConfigError: a URI of another scheme.
        DataError: the place cannot be read or written.
    """

    def __init__(self, uri: str, identity: Mapping[str, Any], scratch: Path) -> None:
        text = json.dumps(identity, indent=2, sort_keys=True) + "\n"
        self._files = _open(uri, hashlib.sha256(text.encode()).hexdigest()[:16])
        self.location = self._files.location
        self._scratch = scratch
        self._names = self._files.names()
        if IDENTITY_FILE not in self._names:  # for people
            (scratch / IDENTITY_FILE).write_text(text)
            self._files.keep(scratch / IDENTITY_FILE, IDENTITY_FILE)
            (scratch / IDENTITY_FILE).unlink()

    def has(self, shard: int) -> bool:
        """Whether a shard was finished before."""
        return _place(shard, SCORES_FILE) in self._names

    def fetch(self, shard: int, target: Path) -> list[Reject]:
        """Copy a shard's scores to a file, and give its rejects.

        Raises:
            DataError: a file is damaged, or gone meanwhile.
        """
        self._files.fetch(_place(shard, SCORES_FILE), target)
        self._files.fetch(_place(shard, REJECTS_FILE), self._scratch / REJECTS_FILE)
        try:
            if not pq.read_schema(target).equals(SCORE_SCHEMA):
                raise pa.ArrowInvalid("other columns")
            return read_rejects(self._scratch)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.location}/{shard:05d}: damaged, remove it: {error}") from None
        finally:
            (self._scratch / REJECTS_FILE).unlink(missing_ok=True)

    def keep(self, shard: int, scores: Path, rejects: list[Reject]) -> None:
        """Keep a finished shard.

        Raises:
            DataError: it cannot be written.
        """
        write_rejects(rejects, self._scratch)
        self._files.keep(self._scratch / REJECTS_FILE, _place(shard, REJECTS_FILE))
        (self._scratch / REJECTS_FILE).unlink()
        self._files.keep(scores, _place(shard, SCORES_FILE))


def _place(shard: int, file: str) -> str:
    return f"{shard:05d}/{file}"


def _open(uri: str, name: str) -> FileStore:
    location = f"{uri.rstrip('/')}/{name}"
    if uri.startswith(s3.SCHEME):
        return _S3Files(location)
    if "://" in uri:
        raise ConfigError(f"score.checkpoint: {uri} is neither a folder nor {s3.SCHEME}bucket/prefix")
    return _FolderFiles(location)


class _FolderFiles:
    def __init__(self, location: str) -> None:
        self.location = location
        self._folder = Path(location)

    def names(self) -> set[str]:
        """Finished files only: what is being written has a hidden name."""
        files = (path.relative_to(self._folder) for path in self._folder.rglob("*") if path.is_file())
        return {file.as_posix() for file in files if not any(part[0] == "." for part in file.parts)}

    def fetch(self, name: str, target: Path) -> None:
        try:
            shutil.copyfile(self._folder / name, target)
        except OSError as error:
            raise DataError(f"{self.location}/{name}: cannot be read: {error.strerror}") from None

    def keep(self, source: Path, name: str) -> None:
        try:
            remove_parts(self._folder / name)
            with atomic_file(self._folder / name) as part:
                shutil.copyfile(source, part)
        except OSError as error:
            raise DataError(f"{self.location}/{name}: cannot be written: {error.strerror}") from None


class _S3Files:
    def __init__(self, location: str) -> None:
        self.location = location
        self._prefix = f"{s3.split_uri(location)[1]}/"

    def names(self) -> set[str]:
        return {found.key.removeprefix(self._prefix) for found in s3.list_objects(f"{self.location}/")}

    def fetch(self, name: str, target: Path) -> None:
        s3.download(f"{self.location}/{name}", target)

    def keep(self, source: Path, name: str) -> None:
        s3.upload(source, f"{self.location}/{name}")
