"""The two tables that everything else is computed from: predictions and features."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pad

from crossface.bias.sampling import bounded_cells
from crossface.data.crops import open_crops
from crossface.data.emotions import Split
from crossface.data.records import ATTRIBUTES
from crossface.errors import DataError
from crossface.evaluate.config import EvaluateConfig
from crossface.evaluate.embedding import embed
from crossface.model.images import decode_crops
from crossface.model.inference import Outputs, predict
from crossface.model.networks import CrossfaceNet
from crossface.progress import Progress

PREDICTION_SCHEMA = pa.schema(
    [
        ("model", pa.string()),  # baseline or adapted
        ("face_id", pa.string()),
        ("dataset", pa.string()),
        ("emotion", pa.int64()),  # the label
        ("own", pa.list_(pa.float32())),  # 7 probabilities of the head of the face's own dataset
        ("mean", pa.list_(pa.float32())),  # of the mean over the heads
        ("others", pa.list_(pa.float32())),  # of the mean without the own head; null of a model with one head
        ("attributes", ATTRIBUTES),  # as published; null where nothing is
    ]
)

FEATURE_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("face_id", pa.string()),
        ("dataset", pa.string()),
        ("split", pa.string()),
        ("emotion", pa.int64()),
        ("group", pa.string()),
        ("features", pa.list_(pa.float32())),
        ("umap_x", pa.float32()),  # null for a face that is not in the figures
        ("umap_y", pa.float32()),
    ]
)


def sample_crops(crops: list[Path], each: int = 16) -> pa.Table:
    """The first test crops of every dataset, rows of ``CROP_SCHEMA``."""
    return pa.concat_tables(
        open_crops([folder]).filter(pc.field("split") == "test").head(each) for folder in crops
    )


def predict_test_faces(crops: list[Path], models: Mapping[str, CrossfaceNet]) -> pa.Table:
    """Predict every test face of every dataset with every model, a dataset at a time to bound memory.

    Args:
        crops: one crops folder a dataset.
        models: by name, as they appear in the column ``model``.

    Returns:
        rows of ``PREDICTION_SCHEMA``.

    Raises:
        DataError: a folder holds no crops or no test faces.
    """
    return _predict_faces(crops, models, "test", "there is nothing to evaluate")


def predict_dev_faces(crops: list[Path], models: Mapping[str, CrossfaceNet]) -> pa.Table:
    """The same of the dev faces."""
    return _predict_faces(crops, models, "dev", "there is nothing to calibrate on")


def sample_features(
    crops: list[Path], models: Mapping[str, CrossfaceNet], config: EvaluateConfig
) -> pa.Table:
    """Features of a bounded sample of faces, the same for every model, and where UMAP puts them.

    Args:
        crops: one crops folder a dataset.
        models: by name.
        config: splits and bounds of the sample, settings of UMAP.

    Returns:
        rows of ``FEATURE_SCHEMA``.

    Raises:
        DataError: none of the splits to sample from has a face.
    """
    pool = open_crops(crops).filter(pc.field("split").isin(config.probe.splits))
    cells = pool.to_table(columns=["face_id", "dataset", "emotion"])
    chosen = bounded_cells(
        np.asarray(cells["dataset"]), np.asarray(cells["emotion"]), config.probe.max_per_cell, config.seed
    )
    if not cells.num_rows:
        raise DataError(
            f"no face is in the splits of evaluate.probe.splits ({', '.join(config.probe.splits)})"
        )
    faces = pool.filter(pc.field("face_id").isin(cells["face_id"].take(chosen).combine_chunks()))
    known = faces.to_table(columns=["face_id", "dataset", "split", "emotion", "group"])
    shown = _shown(np.asarray(known["dataset"]), config)
    parts = []
    for name, outputs in _run(models, faces, known["dataset"].to_pylist()).items():
        place = np.full((known.num_rows, 2), np.nan, np.float32)
        place[shown] = embed(outputs.features[shown], config.umap_neighbours, config.seed)
        columns = {
            "model": [name] * known.num_rows,
            "features": list(outputs.features),
            "umap_x": pa.array(place[:, 0], from_pandas=True),
            "umap_y": pa.array(place[:, 1], from_pandas=True),
        }
        parts.append(_table(known, columns, FEATURE_SCHEMA))
    return pa.concat_tables(parts)


def _predict_faces(
    crops: list[Path], models: Mapping[str, CrossfaceNet], split: Split, otherwise: str
) -> pa.Table:
    found = [(folder, open_crops([folder]).filter(pc.field("split") == split)) for folder in crops]
    total = sum(faces.count_rows() for _, faces in found)
    parts = []
    with Progress(f"predict {split}", total=total, unit="face") as progress:
        for folder, faces in found:
            if not faces.count_rows():
                raise DataError(f"{folder}: no face of these crops is in the split {split}, so {otherwise}")
            known = faces.to_table(columns=["face_id", "dataset", "emotion", "attributes"])
            for name, outputs in _run(models, faces, known["dataset"].to_pylist()).items():
                columns = {
                    "model": [name] * known.num_rows,
                    "own": list(outputs.own),
                    "mean": list(outputs.mean),
                    "others": [None] * known.num_rows if outputs.others is None else list(outputs.others),
                }
                parts.append(_table(known, columns, PREDICTION_SCHEMA))
            progress.update(known.num_rows)
    return pa.concat_tables(parts)


def _run(models: Mapping[str, CrossfaceNet], faces: pad.Dataset, datasets: list[str]) -> dict[str, Outputs]:
    """Outputs of every model; images are decoded once for all models that want them in one size."""
    outputs: dict[str, Outputs] = {}
    for size in {net.config.image_size for net in models.values()}:
        images = decode_crops(faces, size)
        outputs |= {
            name: predict(net, images, datasets)
            for name, net in models.items()
            if net.config.image_size == size
        }
    return {name: outputs[name] for name in models}


def _shown(datasets: np.ndarray, config: EvaluateConfig) -> np.ndarray:
    """Indices of the faces in the UMAP figures, evenly from the datasets: int64, ascending."""
    names = np.unique(datasets)
    one_emotion = np.zeros(len(datasets), np.int64)
    return bounded_cells(datasets, one_emotion, config.umap_faces // len(names), config.seed)


def _table(known: pa.Table, columns: dict, schema: pa.Schema) -> pa.Table:
    everything = {name: known[name] for name in known.column_names} | columns
    return pa.table({name: everything[name] for name in schema.names}, schema=schema)
