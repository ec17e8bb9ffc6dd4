"""RAF-DB, basic set.

Li, Deng, Du, "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in
the Wild", CVPR 2017.

    Image/original/train_00001.jpg                      the photos; the aligned 100 x 100 ones are not used
    EmoLabel/list_patition_label.txt                    (spelt so) "<name> <label>", no header
    Annotation/boundingbox/train_00001_boundingbox.txt  "x_min y_min x_max y_max "
    Annotation/manual/train_00001_manu_attri.txt        5 landmarks, then gender, race and age, a line each
"""

from collections.abc import Iterator
from pathlib import Path

from crossface.data.emotions import EMOTION_INDEX, Split
from crossface.data.rejects import Reason, Reject
from crossface.ingest.readers.face import Box, Face, outside_table, reject
from crossface.ingest.readers.photos import PhotoFolder, require

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


class RafDb:
    """Reads RAF-DB basic. No person is published, so the group is the photo; one face a photo."""

    def __init__(self, source: Path) -> None:
        self._labels = require(source / "EmoLabel" / "list_patition_label.txt", "the labels of RAF-DB basic")
        self._boxes = require(source / "Annotation" / "boundingbox", "the face boxes of RAF-DB")
        self._manual = source / "Annotation" / "manual"
        self._photos = PhotoFolder(
            require(
                source / "Image" / "original", "the original photos of RAF-DB; the aligned ones are not used"
            )
        )

    def read(self) -> Iterator[Face | Reject]:
        """Yield a face or a reject for every line of the label file."""
        with self._labels.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield self._face(f"{self._labels}:{number}", line.split())

    def _face(self, where: str, cells: list[str]) -> Face | Reject:
        if len(cells) != 2:
            return reject(where, Reason.BAD_ROW, f"{len(cells)} columns instead of a name and a label")
        name, label = cells
        if label not in EMOTION_OF:
            hint = "the table is 1 to 7"
            if label in COMPOUND_LABELS:
                hint = "labels 8 to 11 are RAF-DB's compound set; this reader takes the basic set, 1 to 7"
            raise outside_table(where, label, hint)
        split = SPLIT_OF.get(name.partition("_")[0])
        if split is None or "/" in name or not name.isprintable():
            return reject(where, Reason.BAD_ROW, f"{name!r} is not the name of a photo, train_* or test_*")
        if fault := self._photos.fault(name):
            return fault
        stem = Path(name).stem
        try:
            box = self._box(stem)
            attributes = self._attributes(stem)
        except FileNotFoundError as error:
            return reject(error.filename, Reason.MISSING_FILE, f"{name} has no box")
        except ValueError as error:
            return reject(self._photos.path(name), Reason.BAD_ROW, str(error))
        if box.fault:
            return reject(self._photos.path(name), Reason.BAD_BOX, box.fault)
        return Face(
            name=stem,
            photo=self._photos.path(name),
            emotion=EMOTION_OF[label],
            raw_label=label,
            group=stem,
            split=split,
            box=box,
            attributes=attributes,
        )

    def _box(self, stem: str) -> Box:
        file = self._boxes / f"{stem}_boundingbox.txt"
        text = file.read_text(errors="replace")
        try:
            left, top, right, bottom = map(float, text.split())
        except ValueError:
            raise ValueError(f"{file}: {text[:80]!r} is not x_min y_min x_max y_max") from None
        return Box.from_corners(left, top, right, bottom)

    def _attributes(self, stem: str) -> dict[str, str | None] | None:
        """Read what was annotated by hand; None when it was not downloaded, as no step needs it to train."""
        file = self._manual / f"{stem}_manu_attri.txt"
        try:
            lines = file.read_text(errors="replace").split("\n")
        except FileNotFoundError:
            return None
        try:
            gender, race, age = (line.strip() for line in lines[5:8])
            return {"gender": GENDERS[gender], "race": RACES[race], "age": AGES[age]}
        except (ValueError, KeyError):
            raise ValueError(f"{file}: lines 6 to 8 are not codes of gender, race and age") from None
