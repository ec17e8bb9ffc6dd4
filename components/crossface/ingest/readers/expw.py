"""ExpW, Expression in-the-Wild.

Zhang, Luo, Loy, Tang, "From Facial Expression Recognition to Interpersonal Relation Prediction", IJCV 2018.

    data/image/origin/<image_name>  photos, with several faces each
    data/label/label.lst            8 columns separated by spaces, no header: image_name, face_id_in_image,
                                    face_box_top, face_box_left, face_box_right, face_box_bottom (in this
                                    order), confidence (of the face detector, not 0 to 1), label
"""

from collections.abc import Iterator
from typing import ClassVar

from crossface.data.emotions import EMOTION_INDEX
from crossface.data.rejects import Reason, Reject
from crossface.data.tree import Tree, has_file, relative_path
from crossface.ingest.readers.face import Box, Face, ReaderOptions, outside_table, reject
from crossface.ingest.readers.files import open_text, require_file, require_folder
from crossface.ingest.readers.photos import PhotoFolder

EMOTION_OF = {
    "0": EMOTION_INDEX["anger"],
    "1": EMOTION_INDEX["disgust"],
    "2": EMOTION_INDEX["fear"],
    "3": EMOTION_INDEX["happiness"],
    "4": EMOTION_INDEX["sadness"],
    "5": EMOTION_INDEX["surprise"],
    "6": EMOTION_INDEX["neutral"],
}

COLUMNS = 8
LABELS = "data/label/label.lst"
PHOTOS = "data/image/origin"


class ExpW:
    """Reads ExpW. It publishes no split; the group is the photo, whose faces stay together."""

    layout: ClassVar[str] = f"{LABELS} and the photos in {PHOTOS}"
    options_type: ClassVar[type[ReaderOptions]] = ReaderOptions

    def __init__(self, tree: Tree, options: ReaderOptions) -> None:
        self._tree = tree
        self._file = tree.uri(require_file(tree, LABELS, "the labels of ExpW"))
        self._photos = PhotoFolder(
            tree, require_folder(tree, PHOTOS, "the photos of ExpW, unpacked from origin.7z.001 and so on")
        )

    @classmethod
    def fits(cls, tree: Tree) -> bool:
        """Whether the label file is there."""
        return has_file(tree, LABELS)

    def read(self) -> Iterator[Face | Reject]:
        """Yield a face or a reject for every line of the label file."""
        with open_text(self._tree, LABELS) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield self._face(f"{self._file}:{number}", line.strip())

    def _face(self, where: str, line: str) -> Face | Reject:
        cells = line.rsplit(maxsplit=COLUMNS - 1)  # from the right: an image name may hold spaces
        if len(cells) != COLUMNS:
            return reject(where, Reason.BAD_ROW, f"{len(cells)} columns instead of {COLUMNS}")
        name, face_id, top, left, right, bottom, _confidence, label = cells
        if label not in EMOTION_OF:
            raise outside_table(where, label, "the table is 0 to 6")
        try:
            name = relative_path(name)
            box = Box.from_corners(*map(float, (left, top, right, bottom)))
        except ValueError as error:
            return reject(where, Reason.BAD_ROW, str(error))
        if fault := self._photos.fault(name):
            return fault
        if box.fault:
            return reject(self._photos.uri(name), Reason.BAD_BOX, f"face {face_id}: {box.fault}")
        return Face(
            name=f"{name}#{face_id}",
            photo=self._photos.uri(name),
            emotion=EMOTION_OF[label],
            raw_label=label,
            group=name,
            box=box,
        )
