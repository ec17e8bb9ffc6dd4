"""Confusion matrix and ROC curve of the deployed model on one dataset."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn.metrics import confusion_matrix, roc_curve

from crossface.data.emotions import EMOTIONS
from crossface.errors import DataError

_MOST_POINTS = 100  # of a curve: Kubeflow keeps them in a database


@dataclass(frozen=True)
class Curves:
    """What is drawn."""

    confusion: list[list[float]]
    """Faces by label (row) and what is said (column), in the order of ``EMOTIONS``; floats, as KFP wants."""
    false_positive_rate: list[float]
    true_positive_rate: list[float]
    threshold: list[float]
    """Of the probability; finite, falling."""

    def as_json(self) -> str:
        """For a file."""
        return json.dumps(vars(self), indent=2) + "\n"


def read_curves(evaluation: Path, dataset: str) -> Curves:
    """Draw the adapted model's mean head on the test faces of one dataset.

    The ROC curve is micro-averaged: each of the seven emotions of each face is one yes-or-no question.

    Args:
        evaluation: folder that evaluate wrote.
        dataset: its key.

    Raises:
        DataError: the folder has no predictions of this dataset.
    """
    wanted = (pc.field("model") == "adapted") & (pc.field("dataset") == dataset)
    path = evaluation / "predictions.parquet"
    try:
        rows = pq.read_table(path, columns=["emotion", "mean"], filters=wanted)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if not rows.num_rows:
        raise DataError(f"{path}: no predictions of {dataset}")
    emotion, probabilities = np.asarray(rows["emotion"]), np.stack(rows["mean"].to_numpy())
    matrix = confusion_matrix(emotion, probabilities.argmax(1), labels=range(len(EMOTIONS)))
    questions = emotion[:, None] == np.arange(len(EMOTIONS))
    rates = np.stack(roc_curve(questions.ravel(), probabilities.ravel()))
    rates[2, 0] = 1.0  # scikit-learn begins the curve at an infinite threshold, which JSON does not know
    shown = np.linspace(0, rates.shape[1] - 1, min(_MOST_POINTS, rates.shape[1])).round().astype(int)
    return Curves(matrix.astype(float).tolist(), *rates[:, shown].astype(float).tolist())
