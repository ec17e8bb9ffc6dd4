"""Checkpoints: one safetensors file, with the rest as JSON in its metadata, in a folder or in S3.

A checkpoint is whole or absent: it replaces the one before in one go, and carries a checksum of its own, for
safetensors has none.
"""

import json
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from crossface.data import s3
from crossface.data.storage import atomic_file, remove_parts
from crossface.errors import ConfigError, CrossfaceError, DataError
from crossface.progress import say

CHECKPOINT_FILE = "checkpoint.safetensors"


class CheckpointWriteError(CrossfaceError):
    """A checkpoint cannot be written or removed; the one before it is as it was."""


class CheckpointMismatchError(CrossfaceError):
    """A checkpoint is of another training. The message has one line a difference."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that a training needs to go on."""

    tensors: dict[str, Tensor]
    """On the CPU, of any dtype and shape; strides are not kept, and what shares memory no longer does."""
    state: dict[str, Any]
    """Step, epoch, history and the like, for JSON; floats come back bit for bit, and nan as a nan."""
    identity: dict[str, Any]
    """What it was made of, for JSON: ``config``, ``data`` and ``versions``. See :func:`check_identity`."""


class CheckpointStore(Protocol):
    """Holds one checkpoint."""

    location: str
    """Path or URI of its file."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint.

        Raises:
            CheckpointWriteError: it cannot be written; the one before is as it was.
        """

    def load(self) -> Checkpoint | None:
        """The checkpoint, or None where there is none; its tensors may be mapped from the file.

        Raises:
            DataError: it is damaged, or the place cannot be read.
        """


def open_store(uri: str) -> CheckpointStore:
    """The store in a folder, which need not be there yet, or under ``s3://bucket/prefix``.

    Raises:
        ConfigError: a URI of another scheme.
        DataError: an ``s3://`` URI that is not valid.
    """
    if uri.startswith(s3.SCHEME):
        return _S3Store(uri)
    if "://" in uri:
        raise ConfigError(f"checkpoint.uri: {uri} is neither a folder nor {s3.SCHEME}bucket/prefix")
    return _FolderStore(Path(uri))


class _FolderStore:
    def __init__(self, folder: Path) -> None:
        self._file = folder / CHECKPOINT_FILE
        self.location = str(self._file)

    def save(self, checkpoint: Checkpoint) -> None:
        with _write_errors(self.location):
            remove_parts(self._file)
            with atomic_file(self._file) as part:
                _write(checkpoint, part)

    def load(self) -> Checkpoint | None:
        with _read_errors(self.location):
            try:
                return _read(self._file, self.location)
            except FileNotFoundError:
                return None


class _S3Store:
    def __init__(self, url: str) -> None:
        self.location = f"{url.rstrip('/')}/{CHECKPOINT_FILE}"
        self._key = s3.split_uri(self.location)[1]

    def save(self, checkpoint: Checkpoint) -> None:
        with _write_errors(self.location), _scratch_file() as scratch:
            _write(checkpoint, scratch)
            s3.upload(scratch, self.location)

    def load(self) -> Checkpoint | None:
        # listed first: to a request for one object a bucket that is not there answers like an empty one
        if all(found.key != self._key for found in s3.list_objects(self.location)):
            return None
        with _read_errors(self.location), _scratch_file() as scratch:
            s3.download(self.location, scratch)
            return _read(scratch, self.location)


@contextmanager
def _scratch_file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="crossface-") as folder:
        yield Path(folder) / CHECKPOINT_FILE


@contextmanager
def _write_errors(location: str) -> Iterator[None]:
    try:
        yield
    except DataError as error:  # of the object store: names the location
        raise CheckpointWriteError(f"checkpoint not saved: {error}") from None
    except SafetensorError as error:
        raise CheckpointWriteError(f"checkpoint not saved: {location}: {error}") from None
    except OSError as error:
        raise CheckpointWriteError(f"checkpoint not saved: {location}: {error.strerror or error}") from None


@contextmanager
def _read_errors(location: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{location}: cannot be read: {error.strerror or error}") from None


def _write(checkpoint: Checkpoint, path: Path) -> None:
    """Write the file; raises OSError or SafetensorError."""
    text = json.dumps({"state": checkpoint.state, "identity": checkpoint.identity})
    tensors = _packed(checkpoint.tensors)
    save_file(tensors, path, {"checkpoint": text, "crc32": _checksum(text, tensors)})


def _packed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy those tensors that safetensors refuses: with strides, or in memory that another one uses."""
    packed: dict[str, Tensor] = {}
    used: set[int] = set()
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        packed[name] = tensor.clone() if memory in used else tensor
        packed[name] = packed[name].detach().contiguous()
        used.add(memory)
    return packed


def _read(path: Path, location: str) -> Checkpoint:
    """Read the file, called ``location`` in errors; raises OSError and DataError."""
    path.open("rb").close()  # safetensors calls a file absent that it may not read
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        text = metadata.get("checkpoint", "")
        if metadata.get("crc32") != _checksum(text, tensors):
            raise ValueError("its checksum does not fit")
        match json.loads(text):
            case {"state": dict(state), "identity": dict(identity)}:
                return Checkpoint(tensors, state, identity)
        raise ValueError("it has no state or no identity")
    except (SafetensorError, ValueError, TypeError, RuntimeError) as error:
        # what someone made up may fail in safetensors, torch or here; torch adds a stack of its own
        said = str(error).partition("\n")[0]
        raise DataError(
            f"{location}: damaged, or no checkpoint: {said}; remove it, or name another checkpoint.uri"
        ) from None


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 of the JSON and of each tensor's name, dtype, shape and bytes: 8 hexadecimal digits."""
    crc = zlib.crc32(text.encode())
    for name, tensor in sorted(tensors.items()):
        crc = zlib.crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def check_identity(checkpoint: Checkpoint, identity: Mapping[str, Any], location: str) -> None:
    """Refuse to go on from a checkpoint of another training; other ``versions`` are only told.

    Args:
        checkpoint: what was loaded.
        identity: what this training is made of.
        location: of the checkpoint.

    Raises:
        CheckpointMismatchError: ``config`` or ``data`` differ; it has a line a difference.
    """
    refused = []
    for line in differences(checkpoint.identity, identity):
        if line.startswith("versions."):
            say(f"warning: {location}: {line}")
        else:
            refused.append(f"  {line}")
    if refused:
        head = f"{location} is of another training; remove it, or name another checkpoint.uri:"
        raise CheckpointMismatchError("\n".join([head, *refused]))


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One line for each value that is another, with its dotted key, in order of keys.

    Values are compared as JSON: a tuple is a list, and 1 is neither 1.0 nor true.
    """
    before, after = _leaves(saved), _leaves(now)
    return [
        f"{'.'.join(key)} is {before.get(key, 'not')} in the checkpoint and {after.get(key, 'not there')} now"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """The JSON of whatever is no mapping, by its path; an empty mapping is a leaf too."""
    if not isinstance(value, Mapping) or not value:
        return {path: json.dumps(value)}
    return {
        key: text for name, one in value.items() for key, text in _leaves(one, (*path, str(name))).items()
    }
