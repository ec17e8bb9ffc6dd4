"""What the pairs of copies mean for training."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossface.data.emotions import SPLITS
from crossface.data.leakage import DROPPED_SCHEMA, PAIR_SCHEMA, Cause, Kind
from crossface.errors import DataError
from crossface.find_leakage.candidates import first_of_each
from crossface.find_leakage.faces import Faces
from crossface.find_leakage.twins import Twins


def pair_table(faces: Faces, twins: Twins) -> pa.Table:
    """The pairs as rows of ``PAIR_SCHEMA``."""
    one, other = faces.table.take(twins.one), faces.table.take(twins.other)
    across_datasets = pc.not_equal(one["dataset"], other["dataset"])
    across_splits = pc.not_equal(one["split"], other["split"])
    kind = pc.case_when(
        pc.make_struct(across_datasets, across_splits),
        Kind.ACROSS_DATASETS.value,
        Kind.ACROSS_SPLITS.value,
        Kind.WITHIN_SPLIT.value,
    )
    columns = {f"{name}_a": one[name] for name in one.column_names}
    columns |= {f"{name}_b": other[name] for name in other.column_names}
    columns |= {"kind": kind, "labels_differ": pc.not_equal(one["emotion"], other["emotion"])}
    return pa.table(columns | _how_alike(twins)).cast(PAIR_SCHEMA)


def leaking_faces(faces: Faces, twins: Twins) -> pa.Table:
    """The faces that training may not see, as rows of ``DROPPED_SCHEMA``, in the order of the faces.

    A train or dev face with a copy in the test split of any dataset, and a train face with a copy in dev,
    each with its best protected copy, of these the most alike.
    """
    leaks = twins.keep(faces.protection[twins.one] > faces.protection[twins.other])
    leaks = leaks.keep(np.lexsort((leaks.one, -leaks.correlation, -faces.protection[leaks.one], leaks.other)))
    leaks = leaks.keep(first_of_each(leaks.other))
    face, twin = faces.table.take(leaks.other), faces.table.take(leaks.one)
    in_test = pc.equal(twin["split"], "test")
    columns = {name: face[name] for name in ("face_id", "dataset", "split")}
    columns |= {
        "reason": pc.if_else(in_test, Cause.TWIN_IN_TEST.value, Cause.TWIN_IN_DEV.value),
        "twin_id": twin["face_id"],
        "twin_dataset": twin["dataset"],
        "twin_split": twin["split"],
    }
    return pa.table(columns | _how_alike(leaks)).cast(DROPPED_SCHEMA)


def check_nothing_leaks(leaking: pa.Table) -> None:
    """The policy ``fail``.

    Raises:
        DataError: with the numbers and one pair.
    """
    if not leaking.num_rows:
        return
    counts = pc.value_counts(leaking["reason"]).to_pylist()
    numbers = ", ".join(f"{count['counts']} {count['values']}" for count in counts)
    pair = leaking.slice(0, 1).to_pylist()[0]
    raise DataError(
        f"find_leakage: {leaking.num_rows} faces of train and dev have a copy that they must not have "
        f"({numbers}), such as {pair['face_id']} ({pair['split']}) and {pair['twin_id']} "
        f"({pair['twin_split']}), correlation {pair['correlation']:.3f}; "
        "policy drop_from_train leaves them out, keep only lists them"
    )


def check_splits_remain(faces: Faces, dropped: pa.Table) -> None:
    """Fail when a dataset would be left with nothing to train on, or to select on.

    Raises:
        DataError: naming the dataset and the split.
    """
    before = _by_split(faces.table)
    for part, number in _by_split(dropped).items():
        if number == before[part]:
            dataset, split = part
            raise DataError(
                f"find_leakage: {dataset}: every face of split {split} ({number}) has a copy in "
                f"{'dev or test' if split == SPLITS[0] else 'a test set'}; is the dataset given twice?"
            )


def _by_split(table: pa.Table) -> dict[tuple[str, str], int]:
    rows = table.group_by(["dataset", "split"]).aggregate([([], "count_all")]).to_pylist()
    return {(row["dataset"], row["split"]): row["count_all"] for row in rows}


def _how_alike(twins: Twins) -> dict[str, np.ndarray]:
    return {"distance": twins.distance, "mirrored": twins.mirrored, "correlation": twins.correlation}
