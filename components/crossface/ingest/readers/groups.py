"""Finds what must not be in two splits in the names of files."""

import re
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator

from crossface.errors import DataError


def _check(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"needs one parenthesis, which finds the group, and has {groups}")
    return pattern


GroupPattern = Annotated[str, AfterValidator(_check)]
"""Option: a regular expression with one parenthesis, searched in the file name, that finds the group."""


class FileGroups:
    """Groups by file name; a name that the pattern does not match is a group of its own."""

    def __init__(self, pattern: str | None) -> None:
        self._pattern = re.compile(pattern) if pattern else None
        self._matched = False
        self._missed = ""

    def __getitem__(self, path: str) -> str:
        """The group of the photo at a relative path."""
        name = PurePosixPath(path).name
        found = self._pattern.search(name) if self._pattern else None
        if found and found[1]:
            self._matched = True
            return found[1]
        self._missed = min(self._missed or name, name)
        return path

    def check(self, where: str) -> None:
        """Fail when there were names and the pattern matched none of them, which is a slip in it.

        Raises:
            DataError: naming ``where``.
        """
        if self._pattern and self._missed and not self._matched:
            raise DataError(
                f"{where}: group_pattern {self._pattern.pattern!r} matches no file name, "
                f"not even {self._missed!r}"
            )
