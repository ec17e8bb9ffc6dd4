"""7z archives, whole or split in volumes, through py7zr."""

import io
from bisect import bisect_right
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path

from py7zr import SevenZipFile
from py7zr.io import Py7zIO, WriterFactory

from crossface.data.unpacking import VOLUME, MemberFile, Unpacking
from crossface.errors import DataError


def unpack_7z(archive: Path, unpacking: Unpacking) -> None:
    """Write all members; the first of several volumes stands for all of them.

    Raises:
        DataError: a volume is missing, or a member is refused.
    """
    paths = _volumes(archive)
    unpacking.packed_bytes = sum(path.stat().st_size for path in paths)
    # an open file instead of a path: py7zr would otherwise read several parts at once, each in memory
    with Volumes(paths) as volumes, SevenZipFile(io.BufferedReader(volumes)) as members:
        _check(members, unpacking)
        with _Files(unpacking) as files:
            members.extractall(unpacking.folder, factory=files)


def _volumes(archive: Path) -> list[Path]:
    match = VOLUME.fullmatch(archive.name)
    if not match:
        return [archive]
    numbered = {}
    for path in archive.parent.iterdir():
        other = VOLUME.fullmatch(path.name)
        if other and other["stem"] == match["stem"]:
            numbered[int(other["number"])] = path
    for number in range(1, max(numbered) + 1):
        if number not in numbered:
            raise DataError(f"volume {match['stem']}{number:03d} is missing")
    return [numbered[number] for number in sorted(numbered)]


def _check(members: SevenZipFile, unpacking: Unpacking) -> None:
    """Refuse an archive by its list of members; py7zr writes none of them longer than listed."""
    if members.needs_password():
        raise DataError("it is encrypted")
    seen = set()
    announced = 0
    for info in members.list():
        unpacking.begin(info.filename)
        announced += info.uncompressed
        unpacking.check_size(announced)
        if info.is_directory:
            unpacking.make_folder()
        elif not info.is_file:
            raise unpacking.refuse("is a link or a device")
        elif info.filename in seen:  # py7zr would give the second one another name
            raise unpacking.refuse("is in the archive twice")
        seen.add(info.filename)


class _Files(WriterFactory):
    """Gives py7zr the file for each member, one at a time."""

    def __init__(self, unpacking: Unpacking) -> None:
        self._unpacking = unpacking
        self._open = ExitStack()

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def create(self, filename: str) -> Py7zIO:
        self._open.close()
        self._unpacking.member = str(Path(filename).relative_to(self._unpacking.folder))
        return _Member(self._open.enter_context(self._unpacking.new_file()))


class _Member(Py7zIO):
    """A file of the target as py7zr wants it: it only writes, from start to end."""

    def __init__(self, file: MemberFile) -> None:
        self._file = file

    def write(self, s: bytes | bytearray) -> int:
        return self._file.write(s)

    def read(self, size: int | None = None) -> bytes:
        raise io.UnsupportedOperation

    def seek(self, offset: int, whence: int = 0) -> int:
        raise io.UnsupportedOperation

    def seekable(self) -> bool:
        return False

    def flush(self) -> None:
        pass

    def size(self) -> int:
        raise io.UnsupportedOperation


class Volumes(io.RawIOBase):
    """Several files, one after another, as one."""

    def __init__(self, paths: list[Path]) -> None:
        self._position = 0
        self._open = ExitStack()
        self._files = [self._open.enter_context(path.open("rb", buffering=0)) for path in paths]
        self._starts = [0, *accumulate(path.stat().st_size for path in paths)]

    def close(self) -> None:
        """Close all of them."""
        self._open.close()
        super().close()

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the whole."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._starts[-1]}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        """The place in the whole."""
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read on, at most to the end of a volume."""
        number = bisect_right(self._starts, self._position) - 1
        if number >= len(self._files):
            return 0
        self._files[number].seek(self._position - self._starts[number])
        size = self._files[number].readinto(buffer)
        self._position += size
        return size
