"""Numbers from predictions: everything in ``metrics.json`` that concerns emotions is computed here."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

from crossface.bootstrap import stratified_means
from crossface.data.emotions import EMOTIONS

HEADS = ("mean", "own")
"""The mean over the heads, which is deployed, and the head of the sample's own dataset."""

MODELS = ("baseline", "adapted")

_CLASSES = range(len(EMOTIONS))


@dataclass(frozen=True)
class Scores:
    """How well one head names the emotions of one dataset. None stands for what is not defined."""

    n: int
    accuracy: float
    accuracy_low: float
    """Of the 95 % interval, by a bootstrap within the classes."""
    accuracy_high: float
    balanced_accuracy: float
    """Mean recall over the classes that occur."""
    balanced_accuracy_low: float
    balanced_accuracy_high: float
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


def score(emotions: np.ndarray, probabilities: np.ndarray, seed: int = 0) -> Scores:
    """Score predictions.

    Args:
        emotions: true classes, int64 [n], n > 0.
        probabilities: float [n, 7].
        seed: of the bootstrap.
    """
    said = probabilities.argmax(1)
    estimates = stratified_means(emotions, said == emotions, np.random.default_rng(seed))
    present = np.unique(emotions)
    recall = recall_score(emotions, said, labels=_CLASSES, average=None, zero_division=np.nan)
    precision = precision_score(emotions, said, labels=_CLASSES, average=None, zero_division=np.nan)
    matrix = confusion_matrix(emotions, said, labels=_CLASSES, normalize="true")
    matrix[~np.isin(_CLASSES, present)] = np.nan
    intervals = {}
    for name, estimate in estimates.items():
        intervals[f"{name}_low"], intervals[f"{name}_high"] = estimate.interval
    return Scores(
        n=len(emotions),
        **intervals,
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


def measure(predictions: pa.Table, seed: int = 0) -> dict[str, Any]:
    """Score one model on every dataset.

    Args:
        predictions: rows of ``PREDICTION_SCHEMA`` of one model.
        seed: of the bootstrap.

    Returns:
        ``{"per_dataset": {dataset: {head: scores}}, "average": {head: ...}}``, plain JSON values.
    """
    per_dataset = {}
    for name, rows in by_dataset(predictions):
        emotions = np.asarray(rows["emotion"])
        per_dataset[name] = {head: asdict(score(emotions, stack(rows[head]), seed)) for head in HEADS}
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


def flat_metrics(metrics: dict[str, Any]) -> dict[str, float]:
    """The numbers of ``metrics.json`` that runs are compared by, as ``adapted/rafdb/balanced_accuracy``."""
    flat = {"gain/balanced_accuracy": metrics["gain"]["gain"]}
    for name in metrics["datasets"]:
        flat[f"mcnemar_p/{name}"] = metrics["comparison"][name]["mcnemar"]["p"]
    for model, found in {**metrics["models"], **metrics["others"]}.items():
        rows = {name: scores["mean"] for name, scores in found["per_dataset"].items()}
        rows["average"] = found["average"]["mean"]
        for name, row in rows.items():
            for key in ("accuracy", "balanced_accuracy", "macro_f1"):
                flat[f"{model}/{name}/{key}"] = row[key]
        for key in ("accuracy", "low", "high", "chance") if found["probe"] else ():
            flat[f"{model}/probe/{key}"] = found["probe"][key]
        flat[f"{model}/temperature"] = found["calibration"]["temperature"]
        for name, calibration in found["calibration"]["per_dataset"].items():
            flat[f"{model}/{name}/ece"] = calibration["ece"]
        for name, attributes in found["subgroups"].items():
            for attribute, scores in attributes.items():
                if scores["gap"] is not None:
                    flat[f"{model}/{name}/gap/{attribute}"] = scores["gap"]
    return flat


def stack(lists: pa.ChunkedArray) -> np.ndarray:
    """A column of equally long lists as one array [n, length]."""
    return np.stack(lists.to_numpy()) if len(lists) else np.empty((0, 0), np.float32)


def by_dataset(predictions: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Each dataset with its rows, in the order of the table."""
    for name in predictions["dataset"].unique().to_pylist():
        yield name, predictions.filter(pc.field("dataset") == name)


def _nullable(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
