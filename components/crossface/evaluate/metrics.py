"""Numbers from predictions: everything in ``metrics.json`` that concerns emotions is computed here."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

from crossface.data.emotions import EMOTIONS

HEADS = ("mean", "own")
"""The mean over the heads, which is deployed, and the head of the sample's own dataset."""

MODELS = ("baseline", "adapted")

_CLASSES = range(len(EMOTIONS))
_RESAMPLES = 1000


@dataclass(frozen=True)
class Scores:
    """How well one head names the emotions of one dataset. None stands for what is not defined."""

    n: int
    accuracy: float
    balanced_accuracy: float
    """Mean recall over the classes that occur."""
    macro_f1: float
    """Mean F1 over the classes that occur."""
    recall_std: float
    precision_mean: float
    precision_std: float
    recall: list[float | None]
    """Of each class; None where no face has it."""
    precision: list[float | None]
    """Of each class; None where it is never said."""
    recall_matrix: list[list[float | None]]
    """Row: true class, column: said class, as shares of the row; None in the row of an absent class."""


def score(emotions: np.ndarray, probabilities: np.ndarray) -> Scores:
    """Score predictions.

    Args:
        emotions: true classes, int64 [n], n > 0.
        probabilities: float [n, 7].
    """
    said = probabilities.argmax(1)
    present = np.unique(emotions)
    recall = recall_score(emotions, said, labels=_CLASSES, average=None, zero_division=np.nan)
    precision = precision_score(emotions, said, labels=_CLASSES, average=None, zero_division=np.nan)
    matrix = confusion_matrix(emotions, said, labels=_CLASSES, normalize="true")
    matrix[~np.isin(_CLASSES, present)] = np.nan
    return Scores(
        n=len(emotions),
        accuracy=float(accuracy_score(emotions, said)),
        balanced_accuracy=float(np.nanmean(recall)),
        macro_f1=float(f1_score(emotions, said, labels=present, average="macro", zero_division=0)),
        recall_std=float(np.nanstd(recall)),
        precision_mean=float(np.nanmean(precision)),
        precision_std=float(np.nanstd(precision)),
        recall=_nullable(recall),
        precision=_nullable(precision),
        recall_matrix=[_nullable(row) for row in matrix],
    )


def measure(predictions: pa.Table) -> dict[str, Any]:
    """Score both models on every dataset.

    Args:
        predictions: rows of ``PREDICTION_SCHEMA``.

    Returns:
        ``{model: {"per_dataset": {dataset: {head: scores}}, "average": {head: ...}}}``, plain JSON values.
    """
    return {model: _measure_model(predictions.filter(pc.field("model") == model)) for model in MODELS}


def gain_interval(predictions: pa.Table, seed: int) -> dict[str, float]:
    """Gain of the adapted model in balanced accuracy of the mean head, averaged over datasets.

    The 95 % interval is a paired bootstrap: both models are scored on the same resampled faces. Faces are
    drawn within their dataset and class, so that no class vanishes from a resample.

    Args:
        predictions: rows of ``PREDICTION_SCHEMA``.
        seed: of the bootstrap.

    Returns:
        ``gain``, ``low`` and ``high``, as shares (0.01 is one point).
    """
    rng = np.random.default_rng(seed)
    hits = {}
    for model in MODELS:
        table = predictions.filter(pc.field("model") == model).sort_by("face_id")
        hits[model] = stack(table["mean"]).argmax(1) == np.asarray(table["emotion"])
    difference = hits["adapted"].astype(np.int64) - hits["baseline"]
    dataset, emotion = np.asarray(table["dataset"]), np.asarray(table["emotion"])
    gains, resampled = [], []
    for name in np.unique(dataset):
        cells = [
            difference[(dataset == name) & (emotion == label)]
            for label in np.unique(emotion[dataset == name])
        ]
        gains.append(np.mean([cell.mean() for cell in cells]))
        resampled.append(np.mean([_resampled_means(cell, rng) for cell in cells], axis=0))
    low, high = np.quantile(np.mean(resampled, axis=0), (0.025, 0.975))
    return {"gain": float(np.mean(gains)), "low": float(low), "high": float(high)}


def flat_metrics(metrics: dict[str, Any]) -> dict[str, float]:
    """The numbers of ``metrics.json`` that runs are compared by, as ``adapted/rafdb/balanced_accuracy``."""
    flat = {"gain/balanced_accuracy": metrics["gain"]["gain"]}
    for model, found in metrics["models"].items():
        rows = {name: scores["mean"] for name, scores in found["per_dataset"].items()}
        rows["average"] = found["average"]["mean"]
        for name, row in rows.items():
            for key in ("accuracy", "balanced_accuracy", "macro_f1"):
                flat[f"{model}/{name}/{key}"] = row[key]
        for key in ("accuracy", "low", "high", "chance") if found["probe"] else ():
            flat[f"{model}/probe/{key}"] = found["probe"][key]
    return flat


def stack(lists: pa.ChunkedArray) -> np.ndarray:
    """A column of equally long lists as one array [n, length]."""
    return np.stack(lists.to_numpy()) if len(lists) else np.empty((0, 0), np.float32)


def _measure_model(predictions: pa.Table) -> dict[str, Any]:
    per_dataset = {}
    for name in predictions["dataset"].unique().to_pylist():
        rows = predictions.filter(pc.field("dataset") == name)
        emotions = np.asarray(rows["emotion"])
        per_dataset[name] = {head: asdict(score(emotions, stack(rows[head]))) for head in HEADS}
    return {
        "per_dataset": per_dataset,
        "average": {
            head: {
                key: float(np.mean([scores[head][key] for scores in per_dataset.values()]))
                for key in ("accuracy", "balanced_accuracy", "macro_f1")
            }
            for head in HEADS
        },
    }


def _resampled_means(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Means of bootstrap resamples of values in {-1, 0, 1}: float [_RESAMPLES]."""
    counts = np.array([(values == -1).sum(), (values == 0).sum(), (values == 1).sum()])
    drawn = rng.multinomial(len(values), counts / len(values), size=_RESAMPLES)
    return (drawn[:, 2] - drawn[:, 0]) / len(values)


def _nullable(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
