"""Unpacks archives that may be hostile: nothing leaves the target, no link is made, sizes are bounded.

The formats differ in how members are found and read; what may be written where, and how much of it, is
decided in ``unpacking.py`` for all of them.
"""

import gzip
import io
import math
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import IO

from crossface.data.storage import atomic_folder
from crossface.data.unpacking import Limits, MemberFile, Unpacking
from crossface.errors import DataError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".7z.001")

_CHUNK = 1 << 20
_LONGEST_TAR_HEADER = 4 << 20  # real ones have some hundred bytes; tarfile reads a header of any length whole
_LONGEST_TAR_END = 64 << 20  # zeros after the end that tar rounds up with


_LIMITS = Limits()


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


def _unpack(archive: Path, unpacking: Unpacking) -> None:
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
