"""What every reader gives back, and the interface it has."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from crossface.data.emotions import Split
from crossface.data.rejects import Reason, Reject
from crossface.errors import DataError

STAGE = "ingest"


class Box(NamedTuple):
    """A face in the pixels of its photo."""

    left: float
    top: float
    width: float
    height: float

    @classmethod
    def from_corners(cls, left: float, top: float, right: float, bottom: float) -> Self:
        """Make a box of its corners."""
        return cls(left, top, right - left, bottom - top)

    @property
    def fault(self) -> str:
        """What is wrong with the box in itself; empty when nothing is."""
        if not all(map(math.isfinite, self)):
            return f"box {tuple(self)} is not finite"
        if self.width <= 0 or self.height <= 0:
            return f"box of {self.width:g} x {self.height:g} px has no area"
        return ""


@dataclass(frozen=True, slots=True)
class Face:
    """One labelled face, before ingest gives it its dataset and its split.

    Attributes:
        name: unique in the dataset.
        photo: absolute path of an existing photo.
        emotion: index in ``EMOTIONS``.
        raw_label: the label as published.
        group: photo or person, which no two splits may share.
        split: as published, or None where the publisher gives none.
        box: as published, or None.
        attributes: of ``ATTRIBUTES``, or None.
    """

    name: str
    photo: str
    emotion: int
    raw_label: str
    group: str
    split: Split | None = None
    box: Box | None = None
    attributes: Mapping[str, str | None] | None = None


class Reader(Protocol):
    """Reads one layout.

    A new dataset is one module with a class of this shape, one line in ``registry.READERS`` and one test.
    """

    def read(self) -> Iterator[Face | Reject]:
        """Yield every face of the dataset, or the reason why it cannot be used, in the publisher's order.

        A fault of one face is a Reject and reading goes on.

        Raises:
            DataError: a file of the layout is missing, or a label is outside the format's table.
        """
        ...


def reject(uri: object, reason: Reason, message: str) -> Reject:
    """Say why ingest does not use a face; text that is not UTF-8 is escaped, so that it can be stored."""
    text = (part.encode("utf-8", "backslashreplace").decode() for part in (str(uri), message))
    return Reject(next(text), STAGE, reason, next(text))


def outside_table(where: str, label: str, hint: str) -> DataError:
    """Make the error for a label that the format does not know."""
    return DataError(f"{where}: label {label!r} is outside the format's table; {hint}")
