"""What every reader gives back, and the interface it has."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, Self

from crossface.config import Config
from crossface.data.emotions import Split
from crossface.data.rejects import Reason, Reject
from crossface.data.tree import Tree
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
        name: unique in the dataset. Where the face carries its picture, also a relative path for it.
        photo: uri of an existing photo; where the face carries its picture, of the row it came from.
        emotion: index in ``EMOTIONS``.
        raw_label: the label as published.
        group: photo or person, which no two splits may share.
        split: as published, or None where the publisher gives none.
        box: as published, or None.
        attributes: of ``ATTRIBUTES``, or None.
        votes: shares of the annotators' votes for the 7 ``EMOTIONS``, which add up to 1, or None.
        image: the encoded picture, where it is no file of its own.
    """

    name: str
    photo: str
    emotion: int
    raw_label: str
    group: str
    split: Split | None = None
    box: Box | None = None
    attributes: Mapping[str, str | None] | None = None
    votes: tuple[float, ...] | None = None
    image: bytes | None = None


class NoOptions(Config):
    """Options of a format that has none."""


class ReaderOptions(Config):
    """What a user can choose about a format: nothing, where a format has no fields of its own."""

    @property
    def files(self) -> tuple[str, ...]:
        """Files that the options name, relative to the source."""
        return ()


class Reader(Protocol):
    """Reads one layout.

    A new dataset is one module with a class of this shape, one line in ``registry.READERS`` and one test.
    It knows a :class:`~crossface.data.tree.Tree` and never a path, so it reads directories and object
    stores alike.

    Attributes:
        layout: in one line, what is looked for; for people who wonder why their folder is not recognised.
        options_type: what a user can choose, validated before anything is read.
            A format whose options have no defaults is never recognised by looking.
    """

    layout: ClassVar[str]
    options_type: ClassVar[type[ReaderOptions]]

    def __init__(self, tree: Tree, options: Any) -> None:
        """Look for the files of the layout; ``options`` is an ``options_type``.

        Raises:
            DataError: one is missing.
        """
        ...

    @classmethod
    def fits(cls, tree: Tree) -> bool:
        """Whether a dataset is in this layout, by a look at a few names."""
        ...

    def read(self) -> Iterator[Face | Reject]:
        """Yield every face of the dataset, or the reason why it cannot be used, in the publisher's order.

        A fault of one face is a Reject and reading goes on.

        Raises:
            DataError: a file of the layout is missing or broken, or a label is outside the format's table.
        """
        ...


def reject(uri: object, reason: Reason, message: str) -> Reject:
    """Say why ingest does not use a face; text that is not UTF-8 is escaped, so that it can be stored."""
    text = (part.encode("utf-8", "backslashreplace").decode() for part in (str(uri), message))
    return Reject(next(text), STAGE, reason, next(text))


def outside_table(where: str, label: str, hint: str) -> DataError:
    """Make the error for a label that the format does not know."""
    return DataError(f"{where}: label {label!r} is outside the format's table; {hint}")
