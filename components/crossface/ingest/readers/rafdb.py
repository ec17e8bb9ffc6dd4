"""RAF-DB, basic set.

Li, Deng, Du, "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in
the Wild", CVPR 2017.

    EmoLabel/list_patition_label.txt                    (spelt so) "<name> <label>", no header
    Image/original/train_00001.jpg                      the photos as they were found, with
    Annotation/boundingbox/train_00001_boundingbox.txt  "x_min y_min x_max y_max "
    Image/aligned/train_00001_aligned.jpg               or the faces out of them, 100 x 100 px
    Annotation/manual/train_00001_manu_attri.txt        5 landmarks, then gender, race and age, a line each
"""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import ClassVar, Literal

from crossface.data.emotions import EMOTION_INDEX, Split
from crossface.data.rejects import Reason, Reject
from crossface.data.tree import Tree, has_file, has_folder
from crossface.ingest.readers.face import Box, Face, ReaderOptions, outside_table, reject
from crossface.ingest.readers.files import open_text, read_ahead, require_file, require_folder
from crossface.ingest.readers.photos import PhotoFolder

EMOTION_OF = {
    "1": EMOTION_INDEX["surprise"],
    "2": EMOTION_INDEX["fear"],
    "3": EMOTION_INDEX["disgust"],
    "4": EMOTION_INDEX["happiness"],
    "5": EMOTION_INDEX["sadness"],
    "6": EMOTION_INDEX["anger"],
    "7": EMOTION_INDEX["neutral"],
}
COMPOUND_LABELS = frozenset({"8", "9", "10", "11"})

SPLIT_OF: dict[str, Split] = {"train": "train", "test": "test"}

GENDERS = {"0": "male", "1": "female", "2": "unsure"}
RACES = {"0": "caucasian", "1": "african-american", "2": "asian"}
AGES = {"0": "0-3", "1": "4-19", "2": "20-39", "3": "40-69", "4": "70+"}

LABELS = "EmoLabel/list_patition_label.txt"
BOXES = "Annotation/boundingbox"
ATTRIBUTES = "Annotation/manual"


class RafDbOptions(ReaderOptions):
    """Which photos of RAF-DB.

    Attributes:
        photos: ``original`` with their boxes, or ``aligned``, which are faces already. Not given: the
            original ones where they are there, else the aligned ones.
    """

    photos: Literal["original", "aligned"] | None = None


class RafDb:
    """Reads RAF-DB basic. No person is published, so the group is the photo; one face a photo."""

    layout: ClassVar[str] = f"{LABELS}, and Image/original with {BOXES} or Image/aligned"
    options_type: ClassVar[type[ReaderOptions]] = RafDbOptions

    def __init__(self, tree: Tree, options: RafDbOptions) -> None:
        self._tree = tree
        self._labels = tree.uri(require_file(tree, LABELS, "the labels of RAF-DB basic"))
        only_aligned = has_folder(tree, "Image/aligned") and not has_folder(tree, "Image/original")
        self._aligned = (options.photos or ("aligned" if only_aligned else "original")) == "aligned"
        if self._aligned:
            folder = require_folder(tree, "Image/aligned", "the aligned photos of RAF-DB")
        else:
            require_folder(tree, BOXES, "the face boxes of RAF-DB's original photos")
            folder = require_folder(tree, "Image/original", "the original photos of RAF-DB")
        self._photos = PhotoFolder(tree, folder)

    @classmethod
    def fits(cls, tree: Tree) -> bool:
        """Whether the folder of the labels is there."""
        return has_folder(tree, "EmoLabel")

    def read(self) -> Iterator[Face | Reject]:
        """Yield a face or a reject for every line of the label file."""
        with open_text(self._tree, LABELS) as lines:
            yield from read_ahead(
                self._face, ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
            )

    def _face(self, numbered: tuple[int, str]) -> Face | Reject:
        number, line = numbered
        where, cells = f"{self._labels}:{number}", line.split()
        if len(cells) != 2:
            return reject(where, Reason.BAD_ROW, f"{len(cells)} columns instead of a name and a label")
        name, label = cells
        emotion = emotion_of(where, label)
        split = SPLIT_OF.get(name.partition("_")[0])
        if split is None or "/" in name or not name.isprintable():
            return reject(where, Reason.BAD_ROW, f"{name!r} is not the name of a photo, train_* or test_*")
        path = PurePosixPath(name)
        photo = f"{path.stem}_aligned{path.suffix}" if self._aligned else name
        if fault := self._photos.fault(photo):
            return fault
        uri = self._photos.uri(photo)
        try:
            box = None if self._aligned else self._box(path.stem)
            attributes = self._attributes(path.stem)
        except _NoBoxError as error:
            return reject(error, Reason.MISSING_FILE, f"{name} has no box")
        except ValueError as error:
            return reject(uri, Reason.BAD_ROW, str(error))
        if box and box.fault:
            return reject(uri, Reason.BAD_BOX, box.fault)
        return Face(
            name=path.stem,
            photo=uri,
            emotion=emotion,
            raw_label=label,
            group=path.stem,
            split=split,
            box=box,
            attributes=attributes,
        )

    def _box(self, stem: str) -> Box:
        file = f"{BOXES}/{stem}_boundingbox.txt"
        if not has_file(self._tree, file):
            raise _NoBoxError(self._tree.uri(file))
        text = self._text(file)
        try:
            left, top, right, bottom = map(float, text.split())
        except ValueError:
            raise ValueError(
                f"{self._tree.uri(file)}: {text[:80]!r} is not x_min y_min x_max y_max"
            ) from None
        return Box.from_corners(left, top, right, bottom)

    def _attributes(self, stem: str) -> dict[str, str | None] | None:
        """Read what was annotated by hand; None when it was not downloaded, as no step needs it to train."""
        file = f"{ATTRIBUTES}/{stem}_manu_attri.txt"
        if not has_file(self._tree, file):
            return None
        try:
            gender, race, age = (line.strip() for line in self._text(file).split("\n")[5:8])
            return {"gender": GENDERS[gender], "race": RACES[race], "age": AGES[age]}
        except (ValueError, KeyError):
            raise ValueError(
                f"{self._tree.uri(file)}: lines 6 to 8 are not codes of gender, race and age"
            ) from None

    def _text(self, name: str) -> str:
        with self._tree.open(name) as file:
            return file.read().decode(errors="replace")


class _NoBoxError(Exception):
    """The file that should hold a box is not there; the message is its uri."""


def emotion_of(where: str, label: str) -> int:
    """Find the index in ``EMOTIONS`` of a label of the basic set.

    Raises:
        DataError: it is none; the message names ``where``.
    """
    if label in EMOTION_OF:
        return EMOTION_OF[label]
    hint = "the table is 1 to 7"
    if label in COMPOUND_LABELS:
        hint = "labels 8 to 11 are RAF-DB's compound set; this reader takes the basic set, 1 to 7"
    raise outside_table(where, label, hint)
