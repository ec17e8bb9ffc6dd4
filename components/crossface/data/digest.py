"""Fingerprints: of what a step wrote, and of what it was told."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def content_digest(files: Iterable[Path]) -> str:
    """Hash the contents of files, one after another, in bounded memory: 32 hexadecimal digits."""
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: whole)
    return whole.hexdigest()[:32]


def values_digest(values: Any) -> str:
    """Hash plain JSON values: 32 hexadecimal digits.

    The order of keys does not count, nor whether a number comes as ``1`` or, as KFP hands it on, as ``1.0``.
    """
    return hashlib.sha256(json.dumps(_plain(values), sort_keys=True).encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
