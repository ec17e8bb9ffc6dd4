"""AffectNet as published in 2017, the manually annotated part.

Mollahosseini, Hasani, Mahoor, "AffectNet: A Database for Facial Expression, Valence, and Arousal Computing
in the Wild", IEEE Transactions on Affective Computing 2019.

    Manually_Annotated_Images/<n>/<hash>.<ext>              photos, of mixed extensions
    Manually_Annotated_file_lists/training.csv              with a header
    Manually_Annotated_file_lists/validation.csv            without one in the original; serves as test set
"""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from crossface.data.emotions import EMOTION_INDEX, Split
from crossface.data.rejects import Reason, Reject
from crossface.errors import DataError
from crossface.ingest.readers.face import Box, Face, outside_table, reject
from crossface.ingest.readers.photos import PhotoFolder, relative_path, require

EMOTION_OF = {
    "0": EMOTION_INDEX["neutral"],
    "1": EMOTION_INDEX["happiness"],
    "2": EMOTION_INDEX["sadness"],
    "3": EMOTION_INDEX["surprise"],
    "4": EMOTION_INDEX["fear"],
    "5": EMOTION_INDEX["disgust"],
    "6": EMOTION_INDEX["anger"],
}
NOT_USED = {"7": "contempt", "8": "none", "9": "uncertain", "10": "no face"}

COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)


class AffectNet:
    """Reads AffectNet 2017. No person is published, so the group is the photo; one face a photo."""

    def __init__(self, source: Path) -> None:
        lists = source / "Manually_Annotated_file_lists"
        self._lists: dict[Split, Path] = {
            "train": require(lists / "training.csv", "the training list of AffectNet 2017"),
            "test": require(lists / "validation.csv", "the validation list of AffectNet 2017, the test set"),
        }
        self._photos = PhotoFolder(
            require(source / "Manually_Annotated_Images", "the photos of AffectNet 2017")
        )

    def read(self) -> Iterator[Face | Reject]:
        """Yield a face or a reject for every row of both lists."""
        for split, file in self._lists.items():
            with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
                yield from self._read_list(split, file, lines)

    def _read_list(self, split: Split, file: Path, lines: Iterable[str]) -> Iterator[Face | Reject]:
        rows = csv.reader(lines)
        try:
            for number, row in enumerate(rows):
                if number == 0 and row and row[0].strip() == COLUMNS[0]:
                    _check_header(file, row)
                elif row:
                    yield self._face(split, f"{file}:{rows.line_num}", row)
        except csv.Error as error:
            raise DataError(f"{file}:{rows.line_num}: {error}") from None

    def _face(self, split: Split, where: str, row: list[str]) -> Face | Reject:
        if len(row) != len(COLUMNS):
            return reject(where, Reason.BAD_ROW, f"{len(row)} columns instead of {len(COLUMNS)}")
        label = row[COLUMNS.index("expression")].strip()
        if label in NOT_USED:  # before the rest: a photo without a face has no box
            return reject(where, Reason.LABEL_NOT_USED, f"{row[0]!r} is labelled {label}, {NOT_USED[label]}")
        if label not in EMOTION_OF:
            raise outside_table(where, label, "the table is 0 to 10")
        try:
            name = relative_path(row[0].strip())
            box = Box(*map(float, row[1:5]))
        except ValueError as error:
            return reject(where, Reason.BAD_ROW, str(error))
        if fault := self._photos.fault(name):
            return fault
        if box.fault:
            return reject(self._photos.path(name), Reason.BAD_BOX, box.fault)
        return Face(
            name=name,
            photo=self._photos.path(name),
            emotion=EMOTION_OF[label],
            raw_label=label,
            group=name,
            split=split,
            box=box,
        )


def _check_header(file: Path, header: list[str]) -> None:
    if tuple(cell.strip() for cell in header) != COLUMNS:
        raise DataError(f"{file}:1: columns are {', '.join(header)}; AffectNet 2017 has {', '.join(COLUMNS)}")
