"""Any dataset whose labels are a delimited text file with a header."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, field_serializer, field_validator, model_validator

from crossface.config import Config
from crossface.data.emotions import EMOTION_INDEX, EMOTIONS, Split
from crossface.data.rejects import Reason, Reject
from crossface.errors import DataError
from crossface.ingest.readers.face import Box, Face, outside_table, reject
from crossface.ingest.readers.photos import PhotoFolder, relative_path, require

SPLIT_OF: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
    "testing": "test",
}


def _as_written(value: Any) -> Any:
    """Take ``0: neutral`` of a YAML file, whose key is a number, as label ``"0"``, and no text as null."""
    return {str(key): name or None for key, name in value.items()} if isinstance(value, dict) else value


class CsvOptions(Config):
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

    file: str = Field(min_length=1)
    path_column: str
    label_column: str
    delimiter: str = Field(",", min_length=1, max_length=1)
    image_dir: str = ""
    box_columns: tuple[str, str, str, str] | None = None
    split_column: str | None = None
    group_column: str | None = None
    group_pattern: str | None = None
    label_map: Annotated[dict[str, str | None], BeforeValidator(_as_written)] = Field(
        default={name: name for name in EMOTIONS}
    )

    @field_validator("file", "image_dir")
    @classmethod
    def _stays_in_source(cls, value: str) -> str:
        if PurePosixPath(value).is_absolute() or ".." in PurePosixPath(value).parts:
            raise ValueError("has to be a path below the source")
        return value

    @field_validator("group_pattern")
    @classmethod
    def _has_one_group(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            groups = re.compile(value).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if groups != 1:
            raise ValueError(f"needs one parenthesis, which finds the group, and has {groups}")
        return value

    @field_validator("label_map")
    @classmethod
    def _names_emotions(cls, value: dict[str, str | None]) -> dict[str, str | None]:
        for label, emotion in value.items():
            if emotion is not None and emotion not in EMOTION_INDEX:
                raise ValueError(
                    f"{label!r} is mapped to {emotion!r}, not one of {', '.join(EMOTIONS)} or null"
                )
        label, count = Counter(map(_plain, value)).most_common(1)[0] if value else ("", 0)
        if count != 1:
            raise ValueError(f"{label!r} is mapped more than once" if count else "maps no label")
        return value

    @field_serializer("label_map", when_used="json")
    def _without_null(self, value: dict[str, str | None]) -> dict[str, str]:
        return {label: emotion or "" for label, emotion in value.items()}  # KFP's parameters know no null

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

    def __init__(self, source: Path, options: CsvOptions) -> None:
        self._options = options
        self._file = require(source / options.file, "the label file, option file")
        self._photos = PhotoFolder(require(source / options.image_dir, "the photos, option image_dir"))
        self._emotion_of = {_plain(label): name for label, name in options.label_map.items()}
        self._pattern = options.group_pattern and re.compile(options.group_pattern)
        self._seen: set[str] = set()
        self._matched = False

    def read(self) -> Iterator[Face | Reject]:
        """Yield a face or a reject for every row of the label file."""
        with self._file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            yield from self._read_rows(lines)
        if self._pattern and self._seen and not self._matched:
            raise DataError(
                f"{self._file}: group_pattern {self._options.group_pattern!r} matches no file name, "
                f"not even {PurePosixPath(min(self._seen)).name!r}"
            )

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
        label = _plain(raw_label)
        if not label and label not in self._emotion_of:
            return reject(where, Reason.BAD_ROW, "no label")
        if label not in self._emotion_of:
            raise outside_table(where, raw_label, f"label_map has {', '.join(self._options.label_map)}")
        emotion = self._emotion_of[label]
        if emotion is None:
            return reject(where, Reason.LABEL_NOT_USED, f"label_map uses no {raw_label!r}")
        split = None if columns.split is None else self._split(where, row[columns.split])
        try:
            path = relative_path(row[columns.path].strip())
            box = Box(*(float(row[at]) for at in columns.box)) if columns.box else None
            group = self._group(path) if columns.group is None else _group_cell(row[columns.group])
        except ValueError as error:
            return reject(where, Reason.BAD_ROW, str(error))
        if fault := self._photos.fault(path):
            return fault
        if box and box.fault:
            return reject(self._photos.path(path), Reason.BAD_BOX, box.fault)
        name = f"{path}#{line}" if path in self._seen else path
        self._seen.add(path)
        return Face(
            name=name,
            photo=self._photos.path(path),
            emotion=EMOTION_INDEX[emotion],
            raw_label=raw_label,
            group=group,
            split=split,
            box=box,
        )

    def _split(self, where: str, cell: str) -> Split:
        split = SPLIT_OF.get(_plain(cell))
        if split is None:
            raise DataError(f"{where}: split {cell!r} is none of {', '.join(SPLIT_OF)}")
        return split

    def _group(self, path: str) -> str:
        found = self._pattern.search(PurePosixPath(path).name) if self._pattern else None
        if found and found[1]:
            self._matched = True
            return found[1]
        return path


def _group_cell(cell: str) -> str:
    group = cell.strip()
    if not group:
        raise ValueError("no group")
    if not group.isprintable():
        raise ValueError(f"group {group!r} is not readable text")
    return group


def _plain(label: str) -> str:
    return label.strip().casefold()
