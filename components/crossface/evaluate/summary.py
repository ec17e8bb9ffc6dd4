"""What the pages of a pipeline run show beside the report: a short text, and one confusion matrix."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn.metrics import confusion_matrix

from crossface.data.emotions import EMOTIONS
from crossface.evaluate.findings import findings, signed_points
from crossface.evaluate.metrics import stack

_MARKUP = re.compile(r"([\\`*_\[\]<>|&~#$])")


def markdown(metrics: Mapping[str, Any]) -> str:
    """The findings as sentences and the balanced accuracies as a table.

    Args:
        metrics: the content of ``metrics.json``.
    """
    lines = []
    for finding in findings(metrics):
        question, answer = _text(finding.question), _text(finding.answer)
        lines += [f"**{question} {answer}.** {_text(f'{finding.detail} {finding.caution}')}", ""]
        if finding.reasons:
            lines += [*(f"- {_text(reason)}" for reason in finding.reasons), ""]
    lines += ["| Balanced accuracy, % | baseline | adapted | change |", "|---|---:|---:|---:|"]
    baseline, adapted = (metrics["models"][name] for name in ("baseline", "adapted"))
    for name in metrics["datasets"]:
        lines.append(_line(name, baseline["per_dataset"][name], adapted["per_dataset"][name]))
    if len(metrics["datasets"]) > 1:
        lines.append(_line("Mean", baseline["average"], adapted["average"]))
    return "\n".join(lines) + "\n"


def confusion_of_test_faces(predictions: Path) -> tuple[list[str], list[list[float]]]:
    """Confusion matrix of the adapted model's mean head over the test faces of all datasets.

    Args:
        predictions: ``predictions.parquet``, rows of ``PREDICTION_SCHEMA``.

    Returns:
        the classes, and faces by label (row) and what is said (column): floats, because KFP takes no others.
    """
    adapted = pc.field("model") == "adapted"
    rows = pq.read_table(predictions, columns=["emotion", "mean"], filters=adapted)
    said = stack(rows["mean"]).argmax(1)
    matrix = confusion_matrix(np.asarray(rows["emotion"]), said, labels=range(len(EMOTIONS)))
    return list(EMOTIONS), matrix.astype(float).tolist()


def _line(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    old, new = (heads["mean"]["balanced_accuracy"] for heads in (before, after))
    return f"| {_text(name)} | {100 * old:.1f} | {100 * new:.1f} | {signed_points(new - old)} |"


def _text(words: str) -> str:
    """On one line, and nothing in it is markup: a dataset may be called ``<script>`` or ``a|b``."""
    return _MARKUP.sub(r"\\\1", " ".join(words.split()))
