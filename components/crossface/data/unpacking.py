"""What an archive of any format may write, and where: inside the target, once, and so much of it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from crossface.data.tree import relative_path
from crossface.errors import DataError

VOLUME = re.compile(r"(?P<stem>.+\.7z\.)(?P<number>\d{3,})", re.IGNORECASE)
"""Name of one volume of a split archive."""


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
