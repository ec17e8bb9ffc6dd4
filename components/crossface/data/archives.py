"""Unpacks archives that may be hostile: nothing leaves the target, no link is made, sizes are bounded.

The formats differ in how members are found and read; what may be written where, and how much of it, is
decided in one place for all of them.
"""

import gzip
import io
import math
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO

from crossface.data.storage import atomic_folder
from crossface.data.tree import relative_path
from crossface.errors import DataError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".7z.001")

_CHUNK = 1 << 20
_LONGEST_TAR_HEADER = 4 << 20  # real ones have some hundred bytes; tarfile reads a header of any length whole
_LONGEST_TAR_END = 64 << 20  # zeros after the end that tar rounds up with


@dataclass(frozen=True)
class Limits:
    """What an archive may grow to.

    Attributes:
        max_bytes: of all members together.
        max_ratio: bytes of all members by bytes of the archive; photos stay near 1, text near 10.
        ratio_from: bytes up to which the ratio is not looked at: a short text may be very regular.
        max_members: files and folders.
    """

    max_bytes: int = 1 << 40
    max_ratio: float = 100.0
    ratio_from: int = 64 << 20
    max_members: int = 5_000_000


_LIMITS = Limits()


VOLUME = re.compile(r"(?P<stem>.+\.7z\.)(?P<number>\d{3,})", re.IGNORECASE)
"""Name of one volume of a split archive."""


def is_archive(name: str) -> bool:
    """Whether a file is an archive, by its name; of a split one, the first volume is."""
    return name.lower().endswith(SUFFIXES)


def unpack(archive: Path, target: Path, limits: Limits = _LIMITS, uri: str = "") -> None:
    """Unpack a ``.zip``, ``.tar``, ``.tar.gz``, ``.tgz``, ``.7z`` or split ``.7z.001`` archive.

    Only files and folders are made, with the permissions of new files. ``target`` is there when all is
    unpacked and every checksum was right, and not before; memory does not grow with the size of members.

    Args:
        archive: the file; of a split archive the first volume, with the others beside it.
        target: folder to make; it is replaced when it is there.
        limits: on sizes and numbers.
        uri: what messages call the archive, where that is not its path.

    Raises:
        DataError: the archive is broken, incomplete, encrypted or of another kind, or a member would leave
            the target, is a link or a device, is there twice, or goes beyond a limit.
    """
    name = uri or str(archive)
    if not is_archive(archive.name):
        raise DataError(f"{name}: not an archive that can be unpacked ({', '.join(SUFFIXES)})")
    with atomic_folder(target) as part:
        unpacking = Unpacking(part, limits)
        try:
            _unpack(archive, unpacking)
        except DataError as error:
            raise DataError(f"{name}: {error}") from None
        except Exception as error:  # decoders raise what they like on broken data: zlib.error, EOFError, ...
            fault = " ".join(f"{type(error).__name__}: {error}".split())
            raise DataError(f"{name}: cannot be unpacked at {unpacking.member!r}: {fault}") from None
        if not unpacking.files:
            raise DataError(f"{name}: there is no file in it")


def _unpack(archive: Path, unpacking: "Unpacking") -> None:
    name = archive.name.lower()
    if name.endswith((".7z", ".001")):
        from crossface.data.seven_zip import unpack_7z

        unpack_7z(archive, unpacking)
        return
    unpacking.packed_bytes = archive.stat().st_size
    if name.endswith(".zip"):
        _unpack_zip(archive, unpacking)
    elif name.endswith(".tar"):
        with archive.open("rb") as stream:
            _unpack_tar(stream, unpacking)
    else:
        with gzip.open(archive) as stream:
            _unpack_tar(stream, unpacking)


@dataclass
class Unpacking:
    """Where the members of one archive go.

    Attributes:
        folder: the target.
        limits: on all members together.
        packed_bytes: length of the archive.
        member: the member at hand, for messages.
        files: how many were written.
    """

    folder: Path
    limits: Limits
    packed_bytes: int = 0
    member: str = ""
    files: int = 0
    _members: int = field(default=0, init=False)
    _bytes: int = field(default=0, init=False)

    def begin(self, member: str) -> None:
        """Say which member comes next."""
        self.member = member
        self._members += 1
        if self._members > self.limits.max_members:
            raise DataError(f"more than {self.limits.max_members:,} members")

    def refuse(self, why: str) -> DataError:
        """Make the error for the member at hand."""
        return DataError(f"{self.member!r} {why}")

    def make_folder(self) -> None:
        """Make the member at hand, a folder; it may be there."""
        if self.member not in (".", "./"):  # what tar calls its root
            self._make_folder(self._path())

    @contextmanager
    def new_file(self) -> Iterator["MemberFile"]:
        """Make the member at hand, a file, to be written to."""
        path = self._path()
        self._make_folder(path.parent)
        try:
            with path.open("xb") as file:  # never follows a link, never writes over anything
                yield MemberFile(file, self)
        except FileExistsError:
            raise self.refuse("is a folder too" if path.is_dir() else "is in the archive twice") from None
        self.files += 1

    def check_size(self, whole: int) -> None:
        """Check the bytes of all members together, as announced or as written."""
        if whole > self.limits.max_bytes:
            raise self.refuse(f"makes the content larger than {self.limits.max_bytes:,} bytes")
        most = max(self.limits.ratio_from, self.limits.max_ratio * self.packed_bytes)
        if whole > most:
            raise self.refuse(f"makes the content more than {self.limits.max_ratio:g} times the archive")

    def count(self, size: int) -> None:
        """Count bytes before they are written."""
        self._bytes += size
        self.check_size(self._bytes)

    def _path(self) -> Path:
        try:
            return self.folder / relative_path(self.member)
        except ValueError:
            raise self.refuse("is not a path inside the archive, or not UTF-8") from None

    def _make_folder(self, path: Path) -> None:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise self.refuse("needs a folder where the archive has a file") from None


@dataclass(frozen=True)
class MemberFile:
    """A file of the target; its bytes are counted before they are written."""

    file: BinaryIO
    unpacking: Unpacking

    def write(self, data: bytes | bytearray) -> int:
        """Write, or refuse what goes beyond the limits."""
        self.unpacking.count(len(data))
        return self.file.write(data)


def _copy(source: IO[bytes], target: MemberFile) -> None:
    while data := source.read(_CHUNK):
        target.write(data)


def _unpack_zip(archive: Path, unpacking: Unpacking) -> None:
    with zipfile.ZipFile(archive) as members:
        _check_zip(members, unpacking)
        for info in members.infolist():
            unpacking.member = info.filename
            if info.is_dir():
                unpacking.make_folder()
                continue
            with members.open(info) as source, unpacking.new_file() as target:
                _copy(source, target)


def _check_zip(members: zipfile.ZipFile, unpacking: Unpacking) -> None:
    """Refuse an archive by its list of members, before anything is written."""
    announced = 0
    for info in members.infolist():
        unpacking.begin(info.filename)
        announced += info.file_size
        unpacking.check_size(announced)
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise unpacking.refuse("is a link or a device")
        if info.flag_bits & 1:
            raise unpacking.refuse("is encrypted")


class _TarStream:
    """What tarfile reads from. It bounds the length of headers and keeps the last block that was read."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self.left: float = _LONGEST_TAR_HEADER
        self.last = b""

    def read(self, size: int) -> bytes:
        self.left -= size
        if self.left < 0:
            raise tarfile.ReadError(f"a header of more than {_LONGEST_TAR_HEADER:,} bytes")
        self.last = self._stream.read(size)
        return self.last

    def seek(self, offset: int) -> int:
        return self._stream.seek(offset)

    def tell(self) -> int:
        return self._stream.tell()


def _unpack_tar(packed: io.BufferedIOBase, unpacking: Unpacking) -> None:
    stream = _TarStream(packed)
    with tarfile.open(fileobj=stream, mode="r:") as members:  # type: ignore[call-overload]
        while info := members.next():
            members.members.clear()  # or tarfile keeps every one of them
            unpacking.begin(info.name)
            stream.left = math.inf
            _unpack_tar_member(members, info, unpacking)
            stream.left = _LONGEST_TAR_HEADER
        # tarfile takes a broken header, or the end of the file, for the end of the archive
        if stream.last != bytes(tarfile.BLOCKSIZE):
            raise DataError("the archive breaks off: its end mark is not there")
    _read_to_end(packed)


def _unpack_tar_member(members: tarfile.TarFile, info: tarfile.TarInfo, unpacking: Unpacking) -> None:
    if info.isdir():
        unpacking.make_folder()
        return
    if not info.isreg():
        raise unpacking.refuse("is a link or a device")
    source = members.extractfile(info)
    assert source is not None
    with source, unpacking.new_file() as target:
        _copy(source, target)


def _read_to_end(packed: io.BufferedIOBase) -> None:
    """Only at its end does gzip compare the checksum."""
    for _ in range(_LONGEST_TAR_END // _CHUNK):
        if not packed.read(_CHUNK):
            return
    raise DataError(f"more than {_LONGEST_TAR_END:,} bytes follow the end mark")
