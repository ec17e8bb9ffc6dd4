"""Finds the copies among the crops of all datasets, and decides what training leaves out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crossface.data.leakage import DROPPED_SCHEMA, Cause, Kind, write_leakage
from crossface.data.storage import atomic_folder
from crossface.find_leakage.config import LeakageConfig
from crossface.find_leakage.faces import Faces
from crossface.find_leakage.policy import check_nothing_leaks, check_splits_remain, leaking_faces, pair_table
from crossface.find_leakage.twins import Search, find_twins


@dataclass(frozen=True)
class LeakageSummary:
    """The few numbers of ``leakage.json`` that a run is compared by.

    Attributes:
        faces: all faces.
        pairs: pairs of copies by kind.
        labels_differ: pairs of copies with two emotions.
        leaking: faces that training may not see, by cause, whatever the policy.
        dropped: faces that training leaves out.
    """

    faces: int
    pairs: dict[Kind, int]
    labels_differ: int
    leaking: dict[Cause, int]
    dropped: int

    def metrics(self) -> dict[str, float]:
        """As flat, finite numbers."""
        counts = {f"pairs_{kind}": count for kind, count in self.pairs.items()}
        counts |= {f"leaking_{cause}": count for cause, count in self.leaking.items()}
        counts |= {"labels_differ": self.labels_differ, "dropped": self.dropped}
        return {name: float(count) for name, count in counts.items()}

    def __str__(self) -> str:
        pairs = ", ".join(f"{count} {kind}" for kind, count in self.pairs.items())
        leaking = ", ".join(f"{count} {cause}" for cause, count in self.leaking.items())
        return (
            f"copies among {self.faces} faces: {pairs}; {self.labels_differ} with two labels\n"
            f"faces that training may not see: {leaking}; left out: {self.dropped}"
        )


def find_leakage(crops: Sequence[Path], config: LeakageConfig, out: Path) -> LeakageSummary:
    """Find copies, within and across datasets, and write ``out`` (see :mod:`crossface.data.leakage`).

    The same crops and configuration give the same bytes.

    Args:
        crops: one crops folder a dataset.
        config: what counts as a copy, and the policy.
        out: folder to write, whole or not at all.

    Raises:
        DataError: a folder holds no crops, a dataset is given twice, the policy is ``fail`` and something
            leaks, or a dataset would be left without train or dev faces.
    """
    faces = Faces.open(crops)
    search = find_twins(faces, config)
    pairs = pair_table(faces, search.twins)
    leaking = leaking_faces(faces, search.twins)
    if config.policy == "fail":
        check_nothing_leaks(leaking)
    dropped = leaking if config.policy == "drop_from_train" else DROPPED_SCHEMA.empty_table()
    check_splits_remain(faces, dropped)
    with atomic_folder(out) as folder:
        write_leakage(pairs, dropped, _counts(faces, search, pairs, leaking, config), folder)
    return LeakageSummary(
        faces=len(faces),
        pairs={kind: _number(pairs, "kind", kind) for kind in Kind},
        labels_differ=pc.sum(pairs["labels_differ"]).as_py() or 0,
        leaking={cause: _number(leaking, "reason", cause) for cause in Cause},
        dropped=dropped.num_rows,
    )


def _counts(
    faces: Faces, search: Search, pairs: pa.Table, leaking: pa.Table, config: LeakageConfig
) -> dict[str, Any]:
    """The document ``leakage.json``."""
    numbers = pairs.append_column("pairs", pa.repeat(1, pairs.num_rows))
    numbers = numbers.set_column(
        numbers.column_names.index("distance"), "same_hash", pc.equal(pairs["distance"], 0)
    )
    sums = ["pairs", "same_hash", "mirrored", "labels_differ"]
    between = ["dataset_a", "split_a", "dataset_b", "split_b"]
    return {
        "faces": _grouped(faces.table, ["dataset", "split"]),
        "pairs": {kind: _sums(numbers.filter(pc.equal(numbers["kind"], kind.value)), sums) for kind in Kind},
        "between": _grouped(pairs, between),
        "leaking": _grouped(leaking, ["dataset", "split", "reason"]),
        "policy": config.policy,
        "dropped": leaking.num_rows if config.policy == "drop_from_train" else 0,
        "search": {
            "candidates": search.candidates,
            "bounded_hashes": search.bounded_hashes,
            "crops_not_compared": search.not_compared,
        },
        "settings": config.model_dump(mode="json"),
    }


def _sums(table: pa.Table, names: Sequence[str]) -> dict[str, int]:
    return {name: pc.sum(table[name]).as_py() or 0 for name in names}


def _grouped(table: pa.Table, keys: list[str]) -> list[dict[str, Any]]:
    counted = table.group_by(keys).aggregate([([], "count_all")]).rename_columns([*keys, "count"])
    return counted.sort_by([(key, "ascending") for key in keys]).to_pylist()


def _number(table: pa.Table, column: str, value: str) -> int:
    return pc.sum(pc.equal(table[column], value)).as_py() or 0
