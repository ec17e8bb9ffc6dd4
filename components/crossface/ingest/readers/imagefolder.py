"""Any dataset whose photos are sorted into a folder for each emotion.

happy/anything.jpg              or, with the published split,
train/happy/anything.jpg        train, val (or dev, validation) and test
"""

from collections.abc import Iterator
from typing import ClassVar

from crossface.data.emotions import Split
from crossface.data.rejects import Reason, Reject
from crossface.data.tree import Tree, relative_path
from crossface.errors import DataError
from crossface.ingest.readers.face import Face, ReaderOptions, reject
from crossface.ingest.readers.groups import FileGroups, GroupPattern
from crossface.ingest.readers.names import (
    SPLIT_OF,
    SYNONYMS,
    LabelMap,
    LabelTable,
    plain,
    published_splits,
)
from crossface.ingest.readers.photos import PhotoFolder

NO_PHOTOS = frozenset({"thumbs.db", "desktop.ini"})
NO_FOLDERS = frozenset({"__macosx"})


class ImageFolderOptions(ReaderOptions):
    """How folders and files are named.

    Attributes:
        label_map: folder name -> emotion, or null for a folder that is not used, without regard to case;
            not given: the usual names of the emotions.
        group_pattern: regular expression with one parenthesis, searched in the file name, that finds the
            group, such as the person; not given, or not matched: the group is the photo.
    """

    label_map: LabelMap | None = None
    group_pattern: GroupPattern | None = None


class ImageFolder:
    """Reads folders of photos. A class folder may have folders of its own; hidden files are left out."""

    layout: ClassVar[str] = (
        "a folder for each emotion (happy, sad, ...), or such folders in train, val and test"
    )
    options_type: ClassVar[type[ReaderOptions]] = ImageFolderOptions

    def __init__(self, tree: Tree, options: ImageFolderOptions) -> None:
        self._tree = tree
        self._labels = LabelTable(SYNONYMS if options.label_map is None else options.label_map)
        self._groups = FileGroups(options.group_pattern)
        self._photos = PhotoFolder(tree, "")
        tops = _folders(tree, "")
        self._splits: dict[str, Split | None] = {"": None}
        if tops and all(plain(name) in SPLIT_OF for name in tops):
            self._splits = {**published_splits(tops)}
        elif not tops:
            raise DataError(f"{tree.uri('')}: no folders here; {self.layout} should be")

    @classmethod
    def fits(cls, tree: Tree) -> bool:
        """Whether a folder is called like an emotion, in the source or in the folder of a split."""
        tops = _folders(tree, "")
        below = [name for top in tops if plain(top) in SPLIT_OF for name in _folders(tree, top)]
        return any(SYNONYMS.get(plain(name)) for name in [*tops, *below])

    def read(self) -> Iterator[Face | Reject]:
        """Yield a face or a reject for every file in a class folder, in alphabetical order."""
        for top, split in self._splits.items():
            for name in _folders(self._tree, top):
                folder = f"{top}/{name}" if top else name
                if name not in self._labels:
                    raise DataError(
                        f"{self._tree.uri(folder)}: folder {name!r} is no emotion; known are {self._labels}; "
                        "option label_map names others, with null for a folder that is not used"
                    )
                for path in _files(self._tree, folder):
                    yield self._face(path, name, split)
        self._groups.check(self._tree.uri(""))

    def _face(self, path: str, label: str, split: Split | None) -> Face | Reject:
        emotion = self._labels[label]
        uri = self._tree.uri(path)
        if emotion is None:
            return reject(uri, Reason.LABEL_NOT_USED, f"{label} is not used")
        try:
            name = relative_path(path)
        except ValueError as error:
            return reject(uri, Reason.BAD_ROW, str(error))
        if fault := self._photos.fault(name):
            return fault
        return Face(
            name=name, photo=uri, emotion=emotion, raw_label=label, group=self._groups[name], split=split
        )


def _folders(tree: Tree, folder: str) -> list[str]:
    return [name for name in tree.folders(folder) if name[0] != "." and plain(name) not in NO_FOLDERS]


def _files(tree: Tree, folder: str) -> Iterator[str]:
    for name in sorted(tree.sizes(folder)):
        if name[0] != "." and plain(name) not in NO_PHOTOS:
            yield f"{folder}/{name}"
    for name in _folders(tree, folder):
        yield from _files(tree, f"{folder}/{name}")
