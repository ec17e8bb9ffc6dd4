"""Parquet files with an image column, as Hugging Face ``datasets`` writes them.

data/train-00000-of-00001.parquet       or in the source itself, or in a folder a split; a column with
                                        {bytes, path}, and labels as numbers with names in the metadata
                                        (ClassLabel), or as text
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from crossface.data.emotions import Split
from crossface.data.rejects import Reason, Reject
from crossface.data.tree import Tree, relative_path
from crossface.errors import DataError
from crossface.ingest.readers.face import Face, ReaderOptions, outside_table, reject
from crossface.ingest.readers.files import SourcePath
from crossface.ingest.readers.names import (
    SPLIT_OF,
    SYNONYMS,
    LabelMap,
    LabelTable,
    plain,
    published_splits,
    split_called,
)

ENDING = ".parquet"
LABEL_COLUMNS = ("label", "labels", "emotion", "expression")
PHOTO_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
BATCH_ROWS = 16
READ_BYTES = 1 << 20  # a row group of pictures can be as large as the file, so it is read in pieces


class ParquetOptions(ReaderOptions):
    """Which files and columns; what is not given is found by its type or name.

    Attributes:
        folder: where the files are, relative to the source; not given: the source, or its folder ``data``.
        image_column: pictures, as {bytes, path} or as bytes.
        label_column: numbers with class names in the metadata, numbers, or text.
        split_column: the published split, where the names of the files or their folders do not say it.
        group_column: what must not be in two splits, such as the person; not given: the picture.
        label_map: class name, text or number -> emotion, or null for a label that is not used; not given:
            the usual names of the emotions.
    """

    folder: SourcePath = ""
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    label_map: LabelMap | None = None


class ParquetImages:
    """Reads Parquet files with pictures in them. Copies of a picture are one group, split by split."""

    layout: ClassVar[str] = "*.parquet in the source, in data/ or in a folder a split of these"
    options_type: ClassVar[type[ReaderOptions]] = ParquetOptions

    def __init__(self, tree: Tree, options: ParquetOptions) -> None:
        self._tree = tree
        self._options = options
        self._labels = LabelTable(SYNONYMS if options.label_map is None else options.label_map)
        files = _find_files(tree, options.folder)
        if not files:
            raise DataError(f"{tree.uri(options.folder)}: no {self.layout.partition(' in ')[0]} files here")
        try:
            self._split_of: dict[str, Split | None] = dict.fromkeys(map(relative_path, files))
        except ValueError as error:
            raise DataError(f"{tree.uri(options.folder)}: {error}") from None
        if options.split_column is None:
            self._split_of |= _splits_by_name(tree, files)

    @classmethod
    def fits(cls, tree: Tree) -> bool:
        """Whether there are Parquet files where they usually are."""
        return bool(_find_files(tree, ""))

    def read(self) -> Iterator[Face | Reject]:
        """Yield a face or a reject for every row of every file; a file is never held as a whole."""
        for name in self._split_of:
            uri = self._tree.uri(name)
            try:
                with self._tree.open(name) as handle:
                    file = pq.ParquetFile(handle, buffer_size=READ_BYTES, pre_buffer=False)
                    yield from self._read_file(name, file)
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{uri}: not a sound Parquet file: {str(error).splitlines()[0]}") from None

    def _read_file(self, name: str, file: pq.ParquetFile) -> Iterator[Face | Reject]:
        columns = _Columns.find(file.schema_arrow, self._options, self._tree.uri(name))
        index = 0
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns.names):
            for row in batch.to_pylist():
                yield self._face(name, index, row, columns)
                index += 1

    def _face(self, file: str, index: int, row: dict[str, Any], columns: "_Columns") -> Face | Reject:
        where = f"{self._tree.uri(file)}#{index}"
        label = columns.label_text(row)
        if not label:
            return reject(where, Reason.BAD_ROW, "no label")
        if label not in self._labels:
            raise outside_table(where, label, f"known are {self._labels}; option label_map names others")
        emotion = self._labels[label]
        if emotion is None:
            return reject(where, Reason.LABEL_NOT_USED, f"{label} is not used")
        image, path = columns.image_bytes(row)
        if image is None:
            return reject(where, Reason.MISSING_FILE, f"no bytes, only a path: {path!r}")
        if not image:
            return reject(where, Reason.EMPTY_FILE, "the picture has no bytes")
        split = self._split_of[file]
        if columns.split is not None:
            split = split_called(where, row[columns.split])
        group = hashlib.blake2b(image, digest_size=8).hexdigest()
        group = f"{split}/{group}" if split else group  # a copy in another published split is a leak
        if columns.group is not None:
            group = str(row[columns.group]).strip() if row[columns.group] is not None else ""
            if not group:
                return reject(where, Reason.BAD_ROW, f"no {columns.group}")
        ending = PurePosixPath(path).suffix.lower()
        return Face(
            name=f"{file.removesuffix(ENDING)}/{index:07d}{ending if ending in PHOTO_ENDINGS else ''}",
            photo=where,
            emotion=emotion,
            raw_label=label,
            group=group,
            split=split,
            image=image,
        )


@dataclass(frozen=True)
class _Columns:
    """Names of the columns in one file."""

    image: str
    label: str
    split: str | None
    group: str | None
    classes: tuple[str, ...] | None  # names of the numbers in the label column

    @classmethod
    def find(cls, schema: pa.Schema, options: ParquetOptions, where: str) -> "_Columns":
        """Find what the options do not name.

        Raises:
            DataError: a column is not there, or is not the only one of its kind.
        """
        features = _features(schema)
        images = [name for name, kind in features.items() if kind.get("_type") == "Image"]
        images = images or [field.name for field in schema if _holds_pictures(field.type)]
        labels = [name for name, kind in features.items() if kind.get("_type") == "ClassLabel"]
        labels = labels or [name for name in schema.names if plain(name) in LABEL_COLUMNS]
        image = _only(schema, options.image_column, images, "image_column", where)
        label = _only(schema, options.label_column, labels, "label_column", where)
        for option in (options.split_column, options.group_column):
            if option is not None:
                _only(schema, option, [], "", where)
        if not _holds_pictures(schema.field(image).type):
            raise DataError(f"{where}: column {image!r} is {schema.field(image).type}, no {{bytes, path}}")
        classes = features.get(label, {}).get("names")
        if classes is None and pa.types.is_integer(schema.field(label).type) and options.label_map is None:
            raise DataError(
                f"{where}: column {label!r} has numbers and the metadata has no names for them; "
                "give option label_map"
            )
        return cls(image, label, options.split_column, options.group_column, classes and tuple(classes))

    @property
    def names(self) -> list[str]:
        """All of them, each once."""
        wanted = (self.image, self.label, self.split, self.group)
        return list(dict.fromkeys(name for name in wanted if name is not None))

    def label_text(self, row: dict[str, Any]) -> str:
        """The label as text; empty when there is none, which ClassLabel writes as -1."""
        value = row[self.label]
        if value is None:
            return ""
        if self.classes is None or isinstance(value, str):
            return str(value).strip()
        if value == -1:
            return ""
        return self.classes[value] if 0 <= value < len(self.classes) else str(value)

    def image_bytes(self, row: dict[str, Any]) -> tuple[bytes | None, str]:
        """The encoded picture and its path, which may be empty."""
        value = row[self.image]
        if isinstance(value, bytes) or value is None:
            return value, ""
        return value["bytes"], value.get("path") or ""


def _features(schema: pa.Schema) -> dict[str, dict]:
    """Feature types by column, from the metadata of Hugging Face; empty without them."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: kind for name, kind in features.items() if isinstance(kind, dict)}
    except (KeyError, TypeError, AttributeError, ValueError):
        return {}


def _holds_pictures(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_pictures(kind.field("bytes").type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _only(schema: pa.Schema, chosen: str | None, found: list[str], option: str, where: str) -> str:
    """The chosen column, or the only one that was found."""
    if chosen is None and len(found) == 1:
        chosen = found[0]
    if chosen is None:
        what = f"several columns could be meant: {', '.join(found)}" if found else "no such column is found"
        raise DataError(f"{where}: option {option} is needed: {what}; there are {', '.join(schema.names)}")
    if chosen not in schema.names:
        raise DataError(f"{where}: column {chosen!r} is not there; there are {', '.join(schema.names)}")
    return chosen


def _find_files(tree: Tree, folder: str) -> list[str]:
    """Parquet files in the folder, or in ``data`` where none is named, and in folders of splits there."""
    for place in [folder] if folder else ["", "data"]:
        parts = ["", *(name for name in tree.folders(place) if plain(name) in SPLIT_OF)]
        paths = [PurePosixPath(place, part) for part in parts]
        files = [
            str(path / name)
            for path in paths
            for name in sorted(tree.sizes("" if path == PurePosixPath() else str(path)))
            if name.endswith(ENDING) and name[0] != "."
        ]
        if files:
            return files
    return []


def _splits_by_name(tree: Tree, files: Iterable[str]) -> dict[str, Split | None]:
    """Splits that the names of files or their folders tell, as in ``train-00000-of-00002.parquet``."""
    word_of = {}
    for name in files:
        path = PurePosixPath(name)
        words = [path.parent.name, *re.split(r"[^a-zA-Z]+", path.name.removesuffix(ENDING))]
        word_of[name] = next((plain(word) for word in words if plain(word) in SPLIT_OF), None)
    told = {word for word in word_of.values() if word is not None}
    silent = [name for name, word in word_of.items() if word is None]
    if told and silent:
        raise DataError(
            f"{tree.uri(silent[0])}: the name tells no split, while others do; name the files alike, "
            "or give option split_column"
        )
    split_of = published_splits(told)
    return {name: None if word is None else split_of[word] for name, word in word_of.items()}
