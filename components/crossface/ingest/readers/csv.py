"""Any dataset whose labels are a delimited text file with a header."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import Field, model_validator

from crossface.data.emotions import EMOTIONS
from crossface.data.rejects import Reason, Reject
from crossface.data.tree import Tree, relative_path
from crossface.errors import DataError
from crossface.ingest.readers.face import Box, Face, ReaderOptions, outside_table, reject
from crossface.ingest.readers.files import SourcePath, open_text, require_file, require_folder
from crossface.ingest.readers.groups import FileGroups, GroupPattern
from crossface.ingest.readers.names import LabelMap, LabelTable, split_called
from crossface.ingest.readers.photos import PhotoFolder


class CsvOptions(ReaderOptions):
    """Where a csv dataset keeps what.

    Attributes:
        file: the label file, relative to the source.
        delimiter: one character.
        path_column: header of the column with the photo's path.
        label_column: header of the column with the label.
        image_dir: folder that the paths are relative to, itself relative to the source.
        box_columns: headers of left, top, width and height in pixels; none: the whole photo is the face.
        split_column: header of the published split; none: ingest draws dev and test.
        group_column: header of what must not be in two splits, such as the person.
        group_pattern: regular expression with one parenthesis, searched in the file name, that finds the
            group; a name that it does not match is a group of its own. Without group_column and
            group_pattern the group is the photo.
        label_map: label -> emotion, or null for a label that is not used. Labels are compared without
            regard to case and surrounding blanks.
    """

    file: SourcePath = Field(min_length=1)
    path_column: str
    label_column: str
    delimiter: str = Field(",", min_length=1, max_length=1)
    image_dir: SourcePath = ""
    box_columns: tuple[str, str, str, str] | None = None
    split_column: str | None = None
    group_column: str | None = None
    group_pattern: GroupPattern | None = None
    label_map: LabelMap = Field(default={name: name for name in EMOTIONS})

    @property
    def files(self) -> tuple[str, ...]:
        """The label file."""
        return (self.file,)

    @model_validator(mode="after")
    def _finds_group_one_way(self) -> Self:
        if self.group_column is not None and self.group_pattern is not None:
            raise ValueError("group_column and group_pattern exclude each other")
        return self


@dataclass(frozen=True)
class _Columns:
    """Positions in a row."""

    path: int
    label: int
    box: tuple[int, ...] | None
    split: int | None
    group: int | None
    count: int


class CsvTable:
    """Reads a csv dataset."""

    layout: ClassVar[str] = (
        "a table of photos and labels that the options describe; never recognised by looking"
    )
    options_type: ClassVar[type[ReaderOptions]] = CsvOptions

    def __init__(self, tree: Tree, options: CsvOptions) -> None:
        self._tree = tree
        self._options = options
        self._file = tree.uri(require_file(tree, options.file, "the label file, option file"))
        self._photos = PhotoFolder(
            tree, require_folder(tree, options.image_dir, "the photos, option image_dir")
        )
        self._labels = LabelTable(options.label_map)
        self._groups = FileGroups(options.group_pattern)
        self._seen: set[str] = set()

    @classmethod
    def fits(cls, tree: Tree) -> bool:
        """No: what the columns mean cannot be seen."""
        return False

    def read(self) -> Iterator[Face | Reject]:
        """Yield a face or a reject for every row of the label file."""
        with open_text(self._tree, self._options.file) as lines:
            yield from self._read_rows(lines)
        self._groups.check(self._file)

    def _read_rows(self, lines: Iterable[str]) -> Iterator[Face | Reject]:
        rows = csv.reader(lines, delimiter=self._options.delimiter, strict=True)
        try:
            columns = self._find_columns([cell.strip() for cell in next(rows, [])])
            for row in rows:
                if row:
                    yield self._face(rows.line_num, row, columns)
        except csv.Error as error:  # such as a quote that is never closed: what follows cannot be trusted
            raise DataError(f"{self._file}:{rows.line_num}: {error}") from None

    def _find_columns(self, header: list[str]) -> _Columns:
        def position(name: str) -> int:
            if header.count(name) != 1:
                found = "is there more than once" if name in header else "is not there"
                raise DataError(f"{self._file}:1: column {name!r} {found}; the header is {', '.join(header)}")
            return header.index(name)

        options = self._options
        return _Columns(
            path=position(options.path_column),
            label=position(options.label_column),
            box=tuple(map(position, options.box_columns)) if options.box_columns else None,
            split=position(options.split_column) if options.split_column else None,
            group=position(options.group_column) if options.group_column else None,
            count=len(header),
        )

    def _face(self, line: int, row: list[str], columns: _Columns) -> Face | Reject:
        where = f"{self._file}:{line}"
        if len(row) != columns.count:
            return reject(where, Reason.BAD_ROW, f"{len(row)} columns instead of {columns.count}")
        raw_label = row[columns.label]
        if not raw_label.strip() and raw_label not in self._labels:
            return reject(where, Reason.BAD_ROW, "no label")
        if raw_label not in self._labels:
            raise outside_table(where, raw_label, f"label_map has {self._labels}")
        emotion = self._labels[raw_label]
        if emotion is None:
            return reject(where, Reason.LABEL_NOT_USED, f"label_map uses no {raw_label!r}")
        split = None if columns.split is None else split_called(where, row[columns.split])
        try:
            path = relative_path(row[columns.path].strip())
            box = Box(*(float(row[at]) for at in columns.box)) if columns.box else None
            group = self._groups[path] if columns.group is None else _group_cell(row[columns.group])
        except ValueError as error:
            return reject(where, Reason.BAD_ROW, str(error))
        if fault := self._photos.fault(path):
            return fault
        if box and box.fault:
            return reject(self._photos.uri(path), Reason.BAD_BOX, box.fault)
        name = f"{path}#{line}" if path in self._seen else path
        self._seen.add(path)
        return Face(
            name=name,
            photo=self._photos.uri(path),
            emotion=emotion,
            raw_label=raw_label,
            group=group,
            split=split,
            box=box,
        )


def _group_cell(cell: str) -> str:
    group = cell.strip()
    if not group:
        raise ValueError("no group")
    if not group.isprintable():
        raise ValueError(f"group {group!r} is not readable text")
    return group
