"""FER2013, whose pictures are numbers in a table.

Goodfellow et al., "Challenges in Representation Learning: A report on three machine learning contests",
ICONIP 2013.

    fer2013.csv     header "emotion,pixels,Usage"; 48 x 48 grey values in a row, separated by spaces
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from crossface.data.emotions import EMOTION_INDEX, Split
from crossface.data.rejects import Reason, Reject
from crossface.data.tree import Tree, has_file
from crossface.errors import DataError
from crossface.ingest.readers.face import Face, ReaderOptions, outside_table, reject
from crossface.ingest.readers.files import read_table, require_file

EMOTION_OF = {
    "0": EMOTION_INDEX["anger"],
    "1": EMOTION_INDEX["disgust"],
    "2": EMOTION_INDEX["fear"],
    "3": EMOTION_INDEX["happiness"],
    "4": EMOTION_INDEX["sadness"],
    "5": EMOTION_INDEX["surprise"],
    "6": EMOTION_INDEX["neutral"],
}
SPLIT_OF: dict[str, Split] = {"Training": "train", "PublicTest": "dev", "PrivateTest": "test"}

FILE = "fer2013.csv"
COLUMNS = ["emotion", "pixels", "Usage"]
SIDE = 48
GREY_OF = {str(value): value for value in range(256)}  # faster than int, and stricter


class Fer2013:
    """Reads FER2013. No person is published; the group is the picture, so that copies stay together."""

    layout: ClassVar[str] = f"{FILE} with the columns {', '.join(COLUMNS)}"
    options_type: ClassVar[type[ReaderOptions]] = ReaderOptions

    def __init__(self, tree: Tree, options: ReaderOptions) -> None:
        self._tree = tree
        require_file(tree, FILE, "the pictures of FER2013")

    @classmethod
    def fits(cls, tree: Tree) -> bool:
        """Whether the table is there."""
        return has_file(tree, FILE)

    def read(self) -> Iterator[Face | Reject]:
        """Yield a face or a reject for every row of the table."""
        for row in read_pictures(self._tree):
            yield row if isinstance(row, Reject) else row.face(EMOTION_OF[row.label], row.label)


@dataclass(frozen=True, slots=True)
class Picture:
    """A row of ``fer2013.csv``; ``index`` counts the rows from 0."""

    where: str
    index: int
    label: str
    pixels: str
    usage: str

    def face(self, emotion: int, raw_label: str, votes: tuple[float, ...] | None = None) -> Face | Reject:
        """Make a face of it, whatever label it is given, or say why the picture is none."""
        try:
            grey = bytes(map(GREY_OF.__getitem__, self.pixels.split()))
        except KeyError:
            return reject(self.where, Reason.BAD_ROW, "pixels are not numbers from 0 to 255")
        if len(grey) != SIDE * SIDE:
            return reject(self.where, Reason.BAD_ROW, f"{len(grey)} pixels instead of {SIDE * SIDE}")
        split = SPLIT_OF[self.usage]
        copies = hashlib.blake2b(grey, digest_size=8).hexdigest()
        return Face(
            name=f"row{self.index:05d}.png",
            photo=self.where,
            emotion=emotion,
            raw_label=raw_label,
            group=f"{split}/{copies}",  # a copy in another published split is a leak, but no other group
            split=split,
            votes=votes,
            image=_png(grey),
        )


def read_pictures(tree: Tree) -> Iterator[Picture | Reject]:
    """Yield one item for every row of ``fer2013.csv``, in its order; the file is never held as a whole.

    Raises:
        DataError: the columns are others, or a label or a usage is outside its table.
    """
    for index, (where, row) in enumerate(read_table(tree, FILE, COLUMNS)):
        yield _picture(where, index, row)


def _picture(where: str, index: int, row: list[str]) -> Picture | Reject:
    if len(row) != len(COLUMNS):
        return reject(where, Reason.BAD_ROW, f"{len(row)} columns instead of {len(COLUMNS)}")
    label, pixels, usage = row[0].strip(), row[1], row[2].strip()
    if label not in EMOTION_OF:
        raise outside_table(where, label, "the table is 0 to 6")
    if usage not in SPLIT_OF:
        raise DataError(f"{where}: usage {usage!r} is none of {', '.join(SPLIT_OF)}")
    return Picture(where, index, label, pixels, usage)


def _png(grey: bytes) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.frombytes("L", (SIDE, SIDE), grey).save(file, "PNG")
    return file.getvalue()
