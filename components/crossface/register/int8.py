"""What the network in 8-bit integers says of the test faces, measured as evaluate measures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crossface.data.crops import open_crops
from crossface.data.manifest import manifest_digest
from crossface.errors import DataError
from crossface.gate.champion import Judged
from crossface.measures.calibration import calibration_at, scale
from crossface.measures.comparison import compare, gain
from crossface.measures.metrics import measure
from crossface.measures.predictions import PREDICTION_SCHEMA, as_table
from crossface.measures.subgroups import score_subgroups
from crossface.model.export import open_onnx
from crossface.model.images import iter_decoded
from crossface.progress import Progress

_COLUMNS = ("face_id", "dataset", "emotion", "attributes")


def check_crops(crops: Sequence[Path], metrics: Mapping[str, Any]) -> None:
    """Make sure that what is tested on is what the network in fp32 was tested on.

    Args:
        crops: a crops folder a dataset.
        metrics: ``metrics.json`` of that network.

    Raises:
        DataError: the test faces are others, or there are no crops.
    """
    if not crops:
        raise DataError("register: int8 needs the crops, to be tested on their test faces")
    if manifest_digest(crops) != metrics["test_manifest"]:
        raise DataError("register: the test faces among the crops are not those that were evaluated")


def evaluate_int8(
    network: Path, crops: Sequence[Path], evaluation: Path, metrics: Mapping[str, Any], fp32_version: str
) -> Judged:
    """Score an exported network in int8 on the test faces.

    Scores, calibration, groups of people and the comparison with the baseline are its own. An exported
    network gives no features, so dataset bias, and whatever else is told, is that of the network in fp32.

    Args:
        network: ONNX, as of :class:`crossface.model.export.Deployed`.
        crops: a crops folder a dataset, of :func:`check_crops`.
        evaluation: of the network in fp32.
        metrics: its ``metrics.json``.
        fp32_version: the version that the network in fp32 became.
    """
    adapted, settings = metrics["models"]["adapted"], metrics["settings"]
    temperature, seed = adapted["calibration"]["temperature"], settings["seed"]
    predictions = _predict_test_faces(network, crops, adapted, temperature)
    is_baseline = pc.field("model") == "baseline"
    baseline = pq.read_table(
        evaluation / "predictions.parquet", schema=PREDICTION_SCHEMA, filters=is_baseline
    )
    comparison = compare(pa.concat_tables([baseline, predictions]), seed)
    found = {
        **adapted,
        **measure(predictions, seed),
        "calibration": calibration_at(temperature, predictions),
        "subgroups": score_subgroups(predictions, settings["min_group_faces"], seed),
    }
    models = {**metrics["models"], "adapted": found}
    document = {**metrics, "models": models, "comparison": comparison, "gain": gain(comparison)}
    return Judged("", document, predictions, fp32_version)


def write_judged(judged: Judged, folder: Path) -> None:
    """Keep what a later candidate is compared with: ``metrics.json`` and ``predictions.parquet``."""
    pq.write_table(judged.predictions, folder / "predictions.parquet", compression="zstd")
    (folder / "metrics.json").write_text(json.dumps(judged.metrics, indent=2, allow_nan=False) + "\n")


def _predict_test_faces(
    network: Path, crops: Sequence[Path], about: Mapping[str, Any], temperature: float
) -> pa.Table:
    """Rows of ``PREDICTION_SCHEMA`` as evaluate has them: without the temperature, which is in the graph."""
    answer, heads, size = open_onnx(network), about["heads"], about["image_size"]
    faces = open_crops(crops).filter(pc.field("split") == "test")
    parts = []
    with Progress("predict test in int8", total=faces.count_rows(), unit="face") as progress:
        for rows, images in iter_decoded(faces, {size}, _COLUMNS):
            said = answer(np.ascontiguousarray(images[size].permute(0, 2, 3, 1).numpy()))
            mean, own = said[:, 0], said[np.arange(len(said)), _own_heads(rows["dataset"], heads)]
            outputs = {
                name: scale(calibrated, 1 / temperature).astype(np.float32)
                for name, calibrated in (("mean", mean), ("own", own))
            }
            parts.append(as_table(rows, "adapted", outputs, PREDICTION_SCHEMA))
            progress.update(len(rows))
    return pa.concat_tables(parts)


def _own_heads(datasets: pa.ChunkedArray, heads: Sequence[str]) -> list[int]:
    """Where a face's own head is among the network's answers; the mean, which is first, where it has none."""
    place = {name: index for index, name in enumerate(heads, 1)}
    return [place.get(name, 0) for name in datasets.to_pylist()]
