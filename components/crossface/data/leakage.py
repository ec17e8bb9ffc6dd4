"""Leakage: faces that are copies of one another, and those of them that training leaves out.

``pairs.parquet`` has a row a pair of copies, ``dropped.parquet`` a row a face that training leaves out,
``leakage.json`` the counts.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from crossface.config import fault_lines
from crossface.errors import DataError

PAIRS_FILE = "pairs.parquet"
DROPPED_FILE = "dropped.parquet"
LEAKAGE_FILE = "leakage.json"


class Kind(StrEnum):
    """Where the two faces of a pair are."""

    ACROSS_DATASETS = "across_datasets"
    ACROSS_SPLITS = "across_splits"  # of one dataset
    WITHIN_SPLIT = "within_split"  # of one dataset, in two published groups


class Cause(StrEnum):
    """Why training leaves a face out."""

    TWIN_IN_TEST = "twin_in_test"
    TWIN_IN_DEV = "twin_in_dev"


_HOW_ALIKE = [
    pa.field("distance", pa.int64(), nullable=False),  # bits in which the perceptual hashes differ, 0..64
    pa.field("mirrored", pa.bool_(), nullable=False),  # one is the other, left and right exchanged
    pa.field("correlation", pa.float32(), nullable=False),  # of the registered crops
]

PAIR_SCHEMA = pa.schema(
    [
        pa.field(f"{name}_{side}", kind, nullable=False)
        for side in ("a", "b")  # a is the one nearer to test
        for name, kind in (
            ("face_id", pa.string()),
            ("dataset", pa.string()),
            ("split", pa.string()),
            ("emotion", pa.int64()),
        )
    ]
    + [
        pa.field("kind", pa.string(), nullable=False),  # Kind
        pa.field("labels_differ", pa.bool_(), nullable=False),
        *_HOW_ALIKE,
    ]
)

DROPPED_SCHEMA = pa.schema(
    [
        pa.field("face_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # Cause
        pa.field("twin_id", pa.string(), nullable=False),
        pa.field("twin_dataset", pa.string(), nullable=False),
        pa.field("twin_split", pa.string(), nullable=False),
        *_HOW_ALIKE,
    ]
)


class _Counts(BaseModel):
    model_config = ConfigDict(frozen=True)


class PairCounts(_Counts):
    """Pairs of copies of one kind: all, and how many of them are what the name says."""

    pairs: int
    same_hash: int
    mirrored: int
    labels_differ: int


class SplitCount(_Counts):
    """Faces in a split of a dataset."""

    dataset: str
    split: str
    count: int


class LeakingCount(SplitCount):
    """Faces in a split of a dataset that training may not see, for one reason."""

    reason: Cause


class BetweenCount(_Counts):
    """Pairs of copies between two splits; ``a`` is the one nearer to test."""

    dataset_a: str
    split_a: str
    dataset_b: str
    split_b: str
    count: int


class SearchCounts(_Counts):
    """How far the search went: pairs of hashes near enough to compare, and where it was cut short."""

    candidates: int
    bounded_hashes: int
    crops_not_compared: int


class LeakageCounts(_Counts):
    """The content of ``leakage.json``.

    Attributes:
        faces: all faces.
        pairs: pairs of copies by kind.
        between: pairs of copies by the splits that they join, where there are any.
        leaking: faces that training may not see, whatever the policy.
        policy: drop_from_train, keep or fail.
        dropped: faces that training leaves out.
        search: what was compared.
        settings: the configuration of the step.
    """

    faces: list[SplitCount]
    pairs: dict[Kind, PairCounts]
    between: list[BetweenCount]
    leaking: list[LeakingCount]
    policy: str
    dropped: int
    search: SearchCounts
    settings: dict[str, Any]


def write_leakage(pairs: pa.Table, dropped: pa.Table, counts: Mapping[str, Any], folder: Path) -> None:
    """Write the three files into ``folder``.

    Args:
        pairs: rows of ``PAIR_SCHEMA``.
        dropped: rows of ``DROPPED_SCHEMA``, a face once.
        counts: what ``leakage.json`` says.
        folder: it must exist.
    """
    pq.write_table(pairs.cast(PAIR_SCHEMA), folder / PAIRS_FILE, compression="zstd")
    pq.write_table(dropped.cast(DROPPED_SCHEMA), folder / DROPPED_FILE, compression="zstd")
    (folder / LEAKAGE_FILE).write_text(json.dumps(counts, indent=2, allow_nan=False) + "\n")


def read_leakage(folder: Path) -> LeakageCounts:
    """Read ``leakage.json``.

    Args:
        folder: output of find_leakage.

    Raises:
        DataError: the folder holds none, or it is not what find_leakage writes.
    """
    path = folder / LEAKAGE_FILE
    if not path.is_file():
        raise DataError(f"{folder}: not an output of find_leakage, {LEAKAGE_FILE} is missing")
    try:
        return LeakageCounts.model_validate(json.loads(path.read_bytes()))
    except ValidationError as error:
        raise DataError(f"{path}: not what find_leakage writes: {'; '.join(fault_lines(error))}") from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from None


def dropped_faces(folder: Path) -> frozenset[str]:
    """The ``face_id`` of every face that training must leave out.

    Args:
        folder: output of find_leakage.

    Raises:
        DataError: the folder holds no ``dropped.parquet``.
    """
    if not (folder / DROPPED_FILE).is_file():
        raise DataError(f"{folder}: no {DROPPED_FILE} here")
    return frozenset(pq.read_table(folder / DROPPED_FILE, columns=["face_id"])["face_id"].to_pylist())
