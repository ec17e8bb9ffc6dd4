"""What models say of faces, a row a model and face."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from crossface.data.records import ATTRIBUTES

LISTS = pa.list_(pa.float32())
"""Probabilities or features of a face."""

PREDICTION_SCHEMA = pa.schema(
    [
        ("model", pa.string()),  # baseline or adapted
        ("face_id", pa.string()),
        ("dataset", pa.string()),
        ("emotion", pa.int64()),  # the label
        ("own", LISTS),  # 7 probabilities of the head of the face's own dataset
        ("mean", LISTS),  # of the mean over the heads
        ("others", LISTS),  # of the mean without the own head; null of a model with one head
        ("attributes", ATTRIBUTES),  # as published; null where nothing is
    ]
)


def as_table(
    known: pa.Table,
    model: str,
    outputs: Mapping[str, np.ndarray],
    schema: pa.Schema,
    more: Mapping[str, pa.Array] = MappingProxyType({}),
) -> pa.Table:
    """Rows of a schema from what is known of the faces and what a model says; else null.

    Args:
        known: columns of the faces, n rows.
        model: its name.
        outputs: float32 [n, width] by column.
        schema: of the rows.
        more: other columns.
    """
    columns = {name: known[name] for name in known.column_names} | dict(more)
    columns |= {name: _lists(values) for name, values in outputs.items()}
    columns["model"] = pa.repeat(model, len(known))
    return pa.table(
        {field.name: columns.get(field.name, pa.nulls(len(known), field.type)) for field in schema},
        schema=schema,
    )


def _lists(values: np.ndarray) -> pa.Array:
    """float32 [n, width] as n lists."""
    return pa.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1]).cast(LISTS)
