"""AffectNet as published in 2017, the manually annotated part.

Manually_Annotated_Images/<n>/<hash>.<ext>              photos, of mixed extensions
Manually_Annotated_file_lists/training.csv              with a header
Manually_Annotated_file_lists/validation.csv            without one in the original; serves as test set
"""

import csv
from collections.abc import Iterable, Iterator
from typing import ClassVar

from crossface.data.emotions import Split
from crossface.data.rejects import Reason, Reject
from crossface.data.tree import Tree, has_folder, relative_path
from crossface.errors import DataError
from crossface.ingest.readers.affectnet import EMOTION_OF, NOT_USED
from crossface.ingest.readers.face import Box, Face, ReaderOptions, outside_table, reject
from crossface.ingest.readers.files import open_text, require_file, require_folder
from crossface.ingest.readers.photos import PhotoFolder

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


LISTS = "Manually_Annotated_file_lists"
PHOTOS = "Manually_Annotated_Images"


class AffectNet2017:
    """Reads AffectNet 2017. No person is published, so the group is the photo; one face a photo."""

    layout: ClassVar[str] = f"{LISTS}/training.csv and validation.csv, and the photos in {PHOTOS}"
    options_type: ClassVar[type[ReaderOptions]] = ReaderOptions

    def __init__(self, tree: Tree, options: ReaderOptions) -> None:
        self._tree = tree
        self._lists: dict[Split, str] = {
            "train": require_file(tree, f"{LISTS}/training.csv", "the training list of AffectNet 2017"),
            "test": require_file(
                tree, f"{LISTS}/validation.csv", "the validation list of AffectNet 2017, the test set"
            ),
        }
        self._photos = PhotoFolder(tree, require_folder(tree, PHOTOS, "the photos of AffectNet 2017"))

    @classmethod
    def fits(cls, tree: Tree) -> bool:
        """Whether the folder of the lists is there."""
        return has_folder(tree, LISTS)

    def read(self) -> Iterator[Face | Reject]:
        """Yield a face or a reject for every row of both lists."""
        for split, name in self._lists.items():
            with open_text(self._tree, name) as lines:
                yield from self._read_list(split, self._tree.uri(name), lines)

    def _read_list(self, split: Split, file: str, lines: Iterable[str]) -> Iterator[Face | Reject]:
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
            return reject(self._photos.uri(name), Reason.BAD_BOX, box.fault)
        return Face(
            name=name,
            photo=self._photos.uri(name),
            emotion=EMOTION_OF[label],
            raw_label=label,
            group=name,
            split=split,
            box=box,
        )


def _check_header(file: str, header: list[str]) -> None:
    if tuple(cell.strip() for cell in header) != COLUMNS:
        raise DataError(f"{file}:1: columns are {', '.join(header)}; AffectNet 2017 has {', '.join(COLUMNS)}")
