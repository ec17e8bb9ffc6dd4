"""Crops that are set aside for the export of the model."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossface.bias.sampling import bounded_cells
from crossface.data.crops import open_crops

CALIBRATION_FILE = "calibration.parquet"


def calibration_crops(crops: list[Path], seed: int, most: int = 256) -> pa.Table:
    """Draw dev crops of every dataset, on which the ranges of an 8-bit network are measured.

    Args:
        crops: one crops folder a dataset.
        seed: of the draw.
        most: of all datasets together, shared evenly; at least one a dataset.

    Returns:
        rows of ``CROP_SCHEMA``.
    """
    dev = open_crops(crops).filter(pc.field("split") == "dev")
    faces = dev.to_table(columns=["face_id", "dataset"])
    each = max(most // len(crops), 1)
    one_emotion = np.zeros(faces.num_rows, np.int64)
    drawn = bounded_cells(np.asarray(faces["dataset"]), one_emotion, each, seed)
    return dev.filter(pc.field("face_id").isin(faces["face_id"].take(drawn).combine_chunks())).to_table()
