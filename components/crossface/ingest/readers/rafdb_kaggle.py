"""RAF-DB, basic set, as it goes round on Kaggle: the aligned photos, sorted by label.

DATASET/train/5/train_00001_aligned.jpg
DATASET/test/1/test_0002_aligned.jpg
train_labels.csv, test_labels.csv           header "image,label"
"""

from collections.abc import Iterator
from typing import ClassVar

from crossface.data.rejects import Reason, Reject
from crossface.data.tree import Tree, has_file, has_folder
from crossface.errors import DataError
from crossface.ingest.readers.face import Face, ReaderOptions, reject
from crossface.ingest.readers.files import read_table, require_file, require_folder
from crossface.ingest.readers.photos import PhotoFolder
from crossface.ingest.readers.rafdb import SPLIT_OF, RafDbOptions, emotion_of

COLUMNS = ["image", "label"]


class RafDbKaggle:
    """Reads the Kaggle form of RAF-DB basic. The photos are faces; faces are named as in RAF-DB itself."""

    layout: ClassVar[str] = "DATASET/{train,test}/{1..7}, train_labels.csv and test_labels.csv"
    options_type: ClassVar[type[ReaderOptions]] = RafDbOptions

    def __init__(self, tree: Tree, options: RafDbOptions) -> None:
        self._tree = tree
        for part in SPLIT_OF:
            require_file(tree, f"{part}_labels.csv", "labels of RAF-DB in its Kaggle form")
            require_folder(tree, f"DATASET/{part}", "photos of RAF-DB in its Kaggle form")
        if options.photos == "original":
            raise DataError(f"{tree.uri('')}: the Kaggle form of RAF-DB has no original photos")

    @classmethod
    def fits(cls, tree: Tree) -> bool:
        """Whether labels and photos of the training set are there."""
        return has_file(tree, "train_labels.csv") and has_folder(tree, "DATASET/train")

    def read(self) -> Iterator[Face | Reject]:
        """Yield a face or a reject for every row of both label files."""
        for part in SPLIT_OF:
            photos = PhotoFolder(self._tree, f"DATASET/{part}")
            for where, row in read_table(self._tree, f"{part}_labels.csv", COLUMNS, strict=False):
                yield _face(part, photos, where, [cell.strip() for cell in row])


def _face(part: str, photos: PhotoFolder, where: str, row: list[str]) -> Face | Reject:
    if len(row) != len(COLUMNS):
        return reject(where, Reason.BAD_ROW, f"{len(row)} columns instead of {len(COLUMNS)}")
    image, label = row
    emotion = emotion_of(where, label)
    if not image.startswith(f"{part}_") or "/" in image or not image.isprintable():
        return reject(where, Reason.BAD_ROW, f"{image!r} is not the name of a photo, {part}_*")
    photo = f"{label}/{image}"
    if fault := photos.fault(photo):
        return fault
    name = image.rpartition(".")[0].removesuffix("_aligned")
    return Face(
        name=name,
        photo=photos.uri(photo),
        emotion=emotion,
        raw_label=label,
        group=name,
        split=SPLIT_OF[part],
    )
