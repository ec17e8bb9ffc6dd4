"""Is the model as good for one group of people as for another?

Groups are what a dataset's publisher says of the people, in the publisher's words; nothing is guessed from
faces. Measures are disaggregated as Barocas et al. propose ("Designing Disaggregated Evaluations of AI
Systems", AIES 2021), by fairlearn.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from fairlearn.metrics import MetricFrame, count
from sklearn.metrics import accuracy_score, recall_score

from crossface.bootstrap import interval, resampled_means
from crossface.data.records import ATTRIBUTES
from crossface.measures.metrics import by_dataset, stack


def score_subgroups(predictions: pa.Table, min_faces: int, seed: int) -> dict[str, Any]:
    """Score the mean head in every group of every attribute that a dataset publishes.

    Args:
        predictions: rows of ``PREDICTION_SCHEMA`` of one model.
        min_faces: a smaller group is named, and not scored.
        seed: of the bootstrap.

    Returns:
        ``{dataset: {attribute: ...}}`` as of :func:`score_groups`, plain JSON values; datasets and attributes
        of which nothing is published do not occur.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {}
    for name, rows in by_dataset(predictions):
        emotions, said = np.asarray(rows["emotion"]), stack(rows["mean"]).argmax(1)
        for attribute in (field.name for field in ATTRIBUTES):
            groups = pc.struct_field(rows["attributes"], attribute).to_pandas()
            if groups.notna().any():
                scores = score_groups(emotions, said, groups, min_faces, rng)
                found.setdefault(name, {})[attribute] = scores
    return found


def score_groups(
    emotions: np.ndarray, said: np.ndarray, groups: pd.Series, min_faces: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Score the groups of one attribute.

    The 95 % interval of the accuracy is a bootstrap within the group; MetricFrame's own gives the same and
    scores every group anew a thousand times.

    Args:
        emotions: true classes, int64 [n].
        said: said classes, int64 [n].
        groups: strings [n], null where the publisher says nothing.
        min_faces: a smaller group is not scored.
        rng: of the bootstrap.

    Returns:
        ``groups``: ``{value: {"n", "accuracy", "low", "high", "balanced_accuracy"}}``, the latter over the
        classes that occur in the group; ``gap``: the greatest difference of accuracy between two groups, None
        for fewer than two; ``left_out``: ``{value: n}`` of the smaller groups; ``unknown``: faces without a
        value.
    """
    sizes = groups.value_counts().sort_index()
    left_out = {str(value): int(n) for value, n in sizes.items() if n < min_faces}
    scored = (groups.notna() & ~groups.isin(list(left_out))).to_numpy()
    result: dict[str, Any] = {
        "groups": {},
        "gap": None,
        "left_out": left_out,
        "unknown": int(groups.isna().sum()),
    }
    if not scored.any():
        return result
    frame = MetricFrame(
        metrics={"n": count, "accuracy": accuracy_score, "balanced_accuracy": _balanced_accuracy},
        y_true=emotions[scored],
        y_pred=said[scored],
        sensitive_features=groups[scored],
    )
    for value, row in frame.by_group.iterrows():
        low, high = interval(resampled_means((emotions == said)[groups == value], rng))
        result["groups"][str(value)] = {
            "n": int(row["n"]),
            "accuracy": float(row["accuracy"]),
            "low": low,
            "high": high,
            "balanced_accuracy": float(row["balanced_accuracy"]),
        }
    if len(frame.by_group) > 1:
        result["gap"] = float(frame.difference(method="between_groups")["accuracy"])
    return result


def _balanced_accuracy(emotions: np.ndarray, said: np.ndarray) -> float:
    # scikit-learn's own warns of every class that is said and does not occur
    return float(recall_score(emotions, said, labels=np.unique(emotions), average="macro", zero_division=0))
