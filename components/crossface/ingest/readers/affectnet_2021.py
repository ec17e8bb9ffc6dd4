"""AffectNet as published in 2021: cropped faces, and a small NumPy file for each annotation.

train_set/images/<id>.jpg
train_set/annotations/<id>_exp.npy      the label, 0 to 7, a number or a text; beside it _val, _aro, _lnd
val_set/                                the same; serves as test set
"""

import io
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from crossface.data.emotions import Split
from crossface.data.rejects import Reason, Reject
from crossface.data.tree import Tree, has_folder, relative_path
from crossface.ingest.readers.affectnet import EMOTION_OF, NOT_USED
from crossface.ingest.readers.face import Face, ReaderOptions, outside_table, reject
from crossface.ingest.readers.files import read_ahead, require_folder
from crossface.ingest.readers.photos import PhotoFolder

SPLIT_OF: dict[str, Split] = {"train_set": "train", "val_set": "test"}
LABEL_ENDING = "_exp.npy"


class AffectNet2021:
    """Reads AffectNet 2021. The photos are faces, so there is no box; the group is the photo."""

    layout: ClassVar[str] = "train_set and val_set, each with images/<id>.jpg and annotations/<id>_exp.npy"
    options_type: ClassVar[type[ReaderOptions]] = ReaderOptions

    def __init__(self, tree: Tree, options: ReaderOptions) -> None:
        self._tree = tree
        for part in SPLIT_OF:
            require_folder(tree, f"{part}/images", "photos of AffectNet 2021")
            require_folder(tree, f"{part}/annotations", "labels of AffectNet 2021")

    @classmethod
    def fits(cls, tree: Tree) -> bool:
        """Whether the folder of the training labels is there."""
        return has_folder(tree, "train_set/annotations")

    def read(self) -> Iterator[Face | Reject]:
        """Yield a face or a reject for every photo and every label, in the order of their numbers."""
        for part in SPLIT_OF:
            yield from self._read_part(part)

    def _read_part(self, part: str) -> Iterator[Face | Reject]:
        photos = PhotoFolder(self._tree, f"{part}/images")
        labels = self._tree.sizes(f"{part}/annotations")
        photo_of = {name.rpartition(".")[0]: name for name in self._tree.sizes(f"{part}/images")}
        labelled = {name.removesuffix(LABEL_ENDING) for name in labels if name.endswith(LABEL_ENDING)}

        def face(number: str) -> Face | Reject:
            photo = photo_of.get(number, f"{number}.jpg")
            if fault := photos.fault(photo):
                return fault
            if number not in labelled:
                return reject(photos.uri(photo), Reason.MISSING_FILE, f"no {number}{LABEL_ENDING}")
            return self._face(part, photos.uri(photo), number)

        numbers = sorted(photo_of.keys() | labelled, key=lambda number: (len(number), number))
        yield from read_ahead(face, numbers)

    def _face(self, part: str, photo: str, number: str) -> Face | Reject:
        name = f"{part}/annotations/{number}{LABEL_ENDING}"
        where = self._tree.uri(name)
        try:
            with self._tree.open(relative_path(name)) as file:
                label = _scalar(file.read())
        except ValueError as error:
            return reject(where, Reason.BAD_ROW, str(error))
        if label in NOT_USED:
            return reject(photo, Reason.LABEL_NOT_USED, f"labelled {label}, {NOT_USED[label]}")
        if label not in EMOTION_OF:
            raise outside_table(where, label, "the table is 0 to 10")
        return Face(
            name=f"{part}/{number}",
            photo=photo,
            emotion=EMOTION_OF[label],
            raw_label=label,
            group=f"{part}/{number}",
            split=SPLIT_OF[part],
        )


def _scalar(data: bytes) -> str:
    """Read the one value of an .npy file as text.

    Raises:
        ValueError: it is no .npy file, holds several values, or a pickled object, which could run code.
    """
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
        value = array.item()
    except (ValueError, EOFError, MemoryError, SyntaxError) as error:
        raise ValueError(f"not a .npy file with one value: {error}") from None
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text.strip().removesuffix(".0")
