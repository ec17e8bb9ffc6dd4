"""The two tables that everything else is computed from: predictions and features."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pad

from crossface.bias.sampling import bounded_cells
from crossface.data.crops import open_crops
from crossface.data.emotions import Split
from crossface.errors import DataError
from crossface.evaluate.config import EvaluateConfig
from crossface.evaluate.embedding import embed
from crossface.measures.predictions import LISTS, PREDICTION_SCHEMA, as_table
from crossface.model.images import iter_decoded
from crossface.model.inference import predict
from crossface.model.networks import CrossfaceNet
from crossface.progress import Progress

FEATURE_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("face_id", pa.string()),
        ("dataset", pa.string()),
        ("split", pa.string()),
        ("emotion", pa.int64()),
        ("group", pa.string()),
        ("features", LISTS),
        ("umap_x", pa.float32()),  # null for a face that is not in the figures
        ("umap_y", pa.float32()),
    ]
)


def sample_crops(crops: list[Path], each: int = 16) -> pa.Table:
    """The first test crops of every dataset, rows of ``CROP_SCHEMA``."""
    return pa.concat_tables(
        open_crops([folder]).filter(pc.field("split") == "test").head(each) for folder in crops
    )


def predict_test_faces(crops: list[Path], models: Mapping[str, CrossfaceNet], bf16: bool = False) -> pa.Table:
    """Predict every test face of every dataset with every model; only the table grows with the faces.

    Args:
        crops: one crops folder a dataset.
        models: by name, as they appear in the column ``model``.
        bf16: run the backbones in bf16, see :func:`crossface.evaluate.precision.choose_precision`.

    Returns:
        rows of ``PREDICTION_SCHEMA``.

    Raises:
        DataError: a folder holds no crops or no test faces.
    """
    return _predict_faces(crops, models, bf16, "test", "there is nothing to evaluate")


def predict_dev_faces(crops: list[Path], models: Mapping[str, CrossfaceNet], bf16: bool = False) -> pa.Table:
    """The same of the dev faces."""
    return _predict_faces(crops, models, bf16, "dev", "there is nothing to calibrate on")


def sample_features(
    crops: list[Path], models: Mapping[str, CrossfaceNet], config: EvaluateConfig, bf16: bool = False
) -> pa.Table:
    """Features of a bounded sample of faces, the same for every model, and where UMAP puts them.

    Args:
        crops: one crops folder a dataset.
        models: by name.
        config: splits and bounds of the sample, settings of UMAP.
        bf16: as for the predictions.

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
    columns = ["face_id", "dataset", "split", "emotion", "group"]
    with Progress("features", total=faces.count_rows(), unit="face") as progress:
        known, outputs = _run(models, faces, columns, ["features"], bf16, progress)
    shown = evenly_chosen(np.asarray(known["dataset"]), config.umap_faces, config.seed)
    parts = []
    for name, found in outputs.items():
        place = np.full((len(known), 2), np.nan, np.float32)
        place[shown] = embed(found["features"][shown], config.umap_neighbours, config.seed)
        umap = {"umap_x": place[:, 0], "umap_y": place[:, 1]}
        places = {axis: pa.array(values, from_pandas=True) for axis, values in umap.items()}
        parts.append(as_table(known, name, found, FEATURE_SCHEMA, places))
    return pa.concat_tables(parts)


def evenly_chosen(datasets: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Draw at most so many faces, evenly from the datasets.

    Args:
        datasets: dataset keys [n].
        most: faces.
        seed: of the draw.

    Returns:
        indices int64, ascending.
    """
    one_emotion = np.zeros(len(datasets), np.int64)
    return bounded_cells(datasets, one_emotion, most // max(len(np.unique(datasets)), 1), seed)


def _predict_faces(
    crops: list[Path], models: Mapping[str, CrossfaceNet], bf16: bool, split: Split, otherwise: str
) -> pa.Table:
    pools = [open_crops([folder]).filter(pc.field("split") == split) for folder in crops]
    counts = [faces.count_rows() for faces in pools]
    if 0 in counts:
        empty = crops[counts.index(0)]
        raise DataError(f"{empty}: no face of these crops is in the split {split}, so {otherwise}")
    parts = []
    columns, heads = ["face_id", "dataset", "emotion", "attributes"], ["own", "mean", "others"]
    with Progress(f"predict {split}", total=sum(counts), unit="face") as progress:
        for faces in pools:
            known, outputs = _run(models, faces, columns, heads, bf16, progress)
            parts += [as_table(known, name, found, PREDICTION_SCHEMA) for name, found in outputs.items()]
    return pa.concat_tables(parts)


def _run(
    models: Mapping[str, CrossfaceNet],
    faces: pad.Dataset,
    columns: Sequence[str],
    wanted: Sequence[str],
    bf16: bool,
    progress: Progress,
) -> tuple[pa.Table, dict[str, dict[str, np.ndarray]]]:
    """Run every model over the faces, a batch after the other; each image is decoded once.

    Returns:
        the columns of all faces, and by model and name those of the wanted fields of
        :class:`crossface.model.inference.Outputs` that there are: float32 [n, width].
    """
    sizes = {name: net.config.image_size for name, net in models.items()}
    count, labels = faces.count_rows(), []
    outputs: dict[str, dict[str, np.ndarray]] = {name: {} for name in models}
    done = 0
    for rows, images in iter_decoded(faces, set(sizes.values()), columns):
        datasets = rows["dataset"].to_pylist()
        for name, net in models.items():
            found = predict(net, images[sizes[name]], datasets, bf16=bf16)
            for field in wanted:
                if (values := getattr(found, field)) is not None:
                    # in one piece, free until it is written: many small ones scatter the memory
                    whole = outputs[name].setdefault(field, np.empty((count, values.shape[1]), np.float32))
                    whole[done : done + len(rows)] = values
        labels.append(rows)
        done += len(rows)
        progress.update(len(rows))
    return pa.concat_tables(labels).combine_chunks(), outputs
