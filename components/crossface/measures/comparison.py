"""Is the adapted model better than the baseline on the same faces, and could that be chance?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import binomtest, chi2

from crossface.bootstrap import Estimate, stratified_means
from crossface.measures.metrics import stack

_EXACT_BELOW = 25  # discordant pairs from which the chi-square distribution is near enough


def compare(
    predictions: pa.Table, seed: int, baseline: str = "baseline", adapted: str = "adapted"
) -> dict[str, Any]:
    """Differences of the mean head on each dataset, and averaged over the datasets.

    Args:
        predictions: rows of ``PREDICTION_SCHEMA``; both models have the same faces.
        seed: of the bootstrap.
        baseline: name of a model.
        adapted: name of the model that is compared with it.

    Returns:
        ``{dataset: {"balanced_accuracy": {"difference", "low", "high"}, "accuracy": ..., "mcnemar": ...}}``,
        and ``"average"``, which has no ``mcnemar``; plain JSON values.
    """
    rng = np.random.default_rng(seed)
    right = []
    for model in (baseline, adapted):
        table = predictions.filter(pc.field("model") == model).sort_by("face_id")
        right.append(stack(table["mean"]).argmax(1) == np.asarray(table["emotion"]))
    dataset, emotion = np.asarray(table["dataset"]), np.asarray(table["emotion"])
    found: dict[str, Any] = {}
    differences = []
    for name in np.unique(dataset):
        rows = dataset == name
        before, after = (values[rows] for values in right)
        differences.append(paired_differences(emotion[rows], before, after, rng))
        found[str(name)] = _as_dicts(differences[-1]) | {"mcnemar": mcnemar(before, after)}
    return found | {"average": _as_dicts(_average(differences))}


def gain(comparison: dict[str, Any]) -> dict[str, float]:
    """The number that a comparison comes down to: balanced accuracy, averaged over the datasets."""
    average = comparison["average"]["balanced_accuracy"]
    return {"gain": average["difference"], "low": average["low"], "high": average["high"]}


def paired_differences(
    emotions: np.ndarray, baseline: np.ndarray, adapted: np.ndarray, rng: np.random.Generator
) -> dict[str, Estimate]:
    """Adapted minus baseline, as a share (0.01 is one point), both scored on the same resampled faces.

    Args:
        emotions: true classes, int64 [n], n > 0.
        baseline: whether it is right, bool [n].
        adapted: the same of the adapted model.
        rng: of the bootstrap, :func:`crossface.bootstrap.stratified_means`.

    Returns:
        ``balanced_accuracy`` and ``accuracy``, of the same resamples.
    """
    return stratified_means(emotions, adapted.astype(np.int64) - baseline, rng)


def mcnemar(baseline: np.ndarray, adapted: np.ndarray) -> dict[str, float]:
    """McNemar's test (Psychometrika 1947) of equal accuracy on the same faces.

    Only faces on which just one model is right tell the two apart. Below 25 of them the p-value is that of
    the exact binomial test, else of chi-square with Edwards' continuity correction (1948).

    Args:
        baseline: whether it is right, bool [n].
        adapted: the same of the adapted model.

    Returns:
        ``only_baseline_right``, ``only_adapted_right`` and the two-sided ``p``.
    """
    first, second = int((baseline & ~adapted).sum()), int((adapted & ~baseline).sum())
    pairs = first + second
    if not pairs:
        p = 1.0
    elif pairs < _EXACT_BELOW:
        p = float(binomtest(first, pairs).pvalue)
    else:
        p = float(chi2.sf(max(abs(first - second) - 1, 0) ** 2 / pairs, df=1))
    return {"only_baseline_right": first, "only_adapted_right": second, "p": p}


def _average(differences: list[dict[str, Estimate]]) -> dict[str, Estimate]:
    return {
        measure: Estimate(
            float(np.mean([found[measure].value for found in differences])),
            np.mean([found[measure].resampled for found in differences], axis=0),
        )
        for measure in differences[0]
    }


def _as_dicts(differences: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    found = {}
    for measure, difference in differences.items():
        low, high = difference.interval
        found[measure] = {"difference": difference.value, "low": low, "high": high}
    return found
