"""Finds and reads the annotation files of a layout."""

import csv
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import islice
from pathlib import PurePosixPath
from typing import Annotated, TextIO, TypeVar

from pydantic import AfterValidator

from crossface.data.tree import Tree, has_file, has_folder
from crossface.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")


def _stays_in_source(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("has to be a path below the source")
    return str(path) if path.parts else ""


SourcePath = Annotated[str, AfterValidator(_stays_in_source)]
"""Option: a path relative to the source; empty for the source itself."""


def require_file(tree: Tree, name: str, meaning: str) -> str:
    """Return ``name`` when it is a file.

    Raises:
        DataError: it is not there; the message says what was looked for.
    """
    if not has_file(tree, name):
        raise DataError(f"{tree.uri(name)} is not there ({meaning})")
    return name


def require_folder(tree: Tree, name: str, meaning: str) -> str:
    """Return ``name`` when it is a folder.

    Raises:
        DataError: it is not there; the message says what was looked for.
    """
    if not has_folder(tree, name):
        raise DataError(f"{tree.uri(name)} is not there ({meaning})")
    return name


@contextmanager
def open_text(tree: Tree, name: str) -> Iterator[TextIO]:
    """Open an annotation file as text, line ends as they are; bytes that are not UTF-8 become surrogates.

    Raises:
        DataError: it is not there or cannot be read.
    """
    with (
        tree.open(name) as file,
        TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text,
    ):
        yield text


def read_table(
    tree: Tree, name: str, columns: Sequence[str], strict: bool = True
) -> Iterator[tuple[str, list[str]]]:
    """Yield each row of a comma-separated table that is not empty, with where it stands, for messages.

    Args:
        tree: the dataset.
        name: of the file, which is never held as a whole.
        columns: what its header has to be.
        strict: whether broken quotes are an error.

    Raises:
        DataError: the file is not there, its header is another, or it is no such table.
    """
    file = tree.uri(name)
    with open_text(tree, name) as lines:
        rows = csv.reader(lines, strict=strict)
        try:
            header = [cell.strip() for cell in next(rows, [])]
            if header != list(columns):
                raise DataError(f"{file}:1: columns are {', '.join(header)} instead of {', '.join(columns)}")
            for row in filter(None, rows):
                yield f"{file}:{rows.line_num}", row
        except csv.Error as error:
            raise DataError(f"{file}:{rows.line_num}: {error}") from None


def read_ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Map ``function`` over ``items``, in order, a few of them at once: for many small files, far away.

    An error is raised in the place of its item.
    """
    remaining = iter(items)
    with ThreadPoolExecutor(max_workers=8) as threads:
        waiting: deque[Future[Result]] = deque(
            threads.submit(function, item) for item in islice(remaining, 32)
        )
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(threads.submit(function, item) for item in islice(remaining, 1))
            yield result
