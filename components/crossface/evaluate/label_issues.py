"""Which labels are worth a second look?

Confident learning (Northcutt, Jiang & Chuang, JAIR 2021) by cleanlab. A dataset's labels are held against
what the heads of the other datasets say, where there are any: its own head has learnt its habits.
"""

import warnings
from typing import Any

import numpy as np
import pyarrow as pa
from cleanlab.count import estimate_joint
from cleanlab.filter import find_label_issues

from crossface.data.emotions import EMOTIONS
from crossface.measures.metrics import by_dataset, stack

LABEL_ISSUES_FILE = "label_issues.parquet"

LABEL_ISSUE_SCHEMA = pa.schema(
    [
        ("face_id", pa.string()),
        ("dataset", pa.string()),
        ("label", pa.string()),  # name of the emotion
        ("said", pa.string()),
        ("self_confidence", pa.float32()),  # probability of the label
    ]
)


def review_labels(predictions: pa.Table, most: int) -> tuple[dict[str, Any], pa.Table]:
    """Find the labels of every dataset that contradict the other datasets' heads, or else the mean head.

    Args:
        predictions: rows of ``PREDICTION_SCHEMA`` of one model, which was not trained on these faces.
        most: faces to list of each dataset.

    Returns:
        ``{dataset: {"faces", "suspicious", "joint", "head"}}`` in plain JSON values: how many faces there are
        and how many are suspicious, the joint distribution of label (row) and estimated truth (column) as
        shares of all faces [7, 7], and whose word was taken, ``others`` or ``mean``; and rows of
        ``LABEL_ISSUE_SCHEMA``, a dataset after the other, the least likely label first.
    """
    found, lists = {}, [LABEL_ISSUE_SCHEMA.empty_table()]
    for name, rows in by_dataset(predictions):
        head = "mean" if rows["others"].null_count else "others"
        labels, probabilities = np.asarray(rows["emotion"]), stack(rows[head]).astype(np.float64)
        issues = suspicious_labels(labels, probabilities)
        joint = estimate_joint(labels, probabilities)
        found[name] = {"faces": len(labels), "suspicious": len(issues), "joint": joint.tolist(), "head": head}
        lists.append(_listed(rows, labels, probabilities, issues[:most]))
    return found, pa.concat_tables(lists)


def suspicious_labels(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Indices int64 of suspicious labels, the least likely first.

    Args:
        labels: int64 [n], n > 0.
        probabilities: float64 [n, 7], out of sample.
    """
    if len(np.unique(labels)) < 2:  # nothing to mistake one for another by, and cleanlab refuses
        return np.empty(0, np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "May not flag all label issues")  # of classes that hardly occur
        return find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)


def _listed(rows: pa.Table, labels: np.ndarray, probabilities: np.ndarray, issues: np.ndarray) -> pa.Table:
    chosen = rows.take(issues)
    columns = {
        "face_id": chosen["face_id"],
        "dataset": chosen["dataset"],
        "label": [EMOTIONS[label] for label in labels[issues]],
        "said": [EMOTIONS[said] for said in probabilities[issues].argmax(1)],
        "self_confidence": probabilities[issues, labels[issues]],
    }
    return pa.table(columns, schema=LABEL_ISSUE_SCHEMA)
