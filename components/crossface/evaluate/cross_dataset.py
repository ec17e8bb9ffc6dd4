"""How well what was learnt on some datasets carries over to others (Torralba & Efros, CVPR 2011).

From the models of a study: one trained on each dataset alone (the paper's Table 2), those trained on all
datasets but one and tested on that one, and the other methods trained on all of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crossface.measures.comparison import compare

MEASURES = ("accuracy", "balanced_accuracy", "macro_f1")

Matrix = list[list[float]]


def cross_dataset(
    models: Mapping[str, Any], others: Mapping[str, Any], predictions: pa.Table, seed: int
) -> dict[str, Any]:
    """What the models of a study say of the datasets. All numbers are those of the mean head.

    Args:
        models: ``baseline`` and ``adapted``, as in ``metrics.json``.
        others: the models of the study, by name.
        predictions: rows of ``PREDICTION_SCHEMA`` of all of them.
        seed: of the bootstrap.

    Returns:
        plain JSON values; what the study has no models for is None or empty:

        - ``alone``: ``{"models": names, "scores": {measure: Matrix}, "row_drop": ..., "column_drop": ...}``;
          row: what was trained on, column: what was tested on, in the order of the datasets.
        - ``left_out``: ``{dataset: {"baseline": name, "adapted": name, "difference": ...}}``: models that
          never saw the dataset, and their difference on it as :func:`crossface.measures.comparison.compare`
          gives it.
        - ``methods``: names of the models that were trained on all datasets.
    """
    datasets = list(models["baseline"]["per_dataset"])
    return {
        "alone": _alone(others, datasets),
        "left_out": _left_out(models, others, predictions, seed),
        "methods": [name for name, model in others.items() if set(model["datasets"]) == set(datasets)],
    }


def drops(scores: Matrix) -> tuple[Matrix, Matrix]:
    """Shares of a score that are lost across datasets, normalised in the two ways.

    By row: against the same model on its own dataset, 1 - s[a][b] / s[a][a] (the "percent drop" of Torralba &
    Efros); a harder test set b looks like bias. By column: against the model that was trained on the test
    set, 1 - s[a][b] / s[b][b], which leaves the difficulty of b out.

    Args:
        scores: row: trained on, column: tested on.
    """
    size = range(len(scores))
    own = [scores[index][index] for index in size]
    by_row = [[_lost(scores[a][b], own[a]) for b in size] for a in size]
    by_column = [[_lost(scores[a][b], own[b]) for b in size] for a in size]
    return by_row, by_column


def _lost(score: float, whole: float) -> float:
    return 1 - score / whole if whole else 0.0


def _alone(others: Mapping[str, Any], datasets: Sequence[str]) -> dict[str, Any] | None:
    names = [_trained(others, "none", [dataset]) for dataset in datasets]
    found = [name for name in names if name]
    if len(datasets) < 2 or len(found) < len(datasets):
        return None
    scores = {
        measure: [
            [others[name]["per_dataset"][dataset]["mean"][measure] for dataset in datasets] for name in found
        ]
        for measure in MEASURES
    }
    scores["ece"] = [
        [others[name]["calibration"]["per_dataset"][dataset]["ece"] for dataset in datasets] for name in found
    ]
    by = {measure: drops(scores[measure]) for measure in MEASURES}
    return {
        "models": found,
        "scores": scores,
        "row_drop": {measure: rows for measure, (rows, _) in by.items()},
        "column_drop": {measure: columns for measure, (_, columns) in by.items()},
    }


def _left_out(
    models: Mapping[str, Any], others: Mapping[str, Any], predictions: pa.Table, seed: int
) -> dict[str, Any]:
    datasets = list(models["baseline"]["per_dataset"])
    found = {}
    for dataset in datasets:
        rest = [name for name in datasets if name != dataset]
        pair = [_trained(others, models[side]["adapt"], rest) for side in ("baseline", "adapted")]
        if pair[0] and pair[1]:
            tested = predictions.filter(pc.field("dataset") == dataset)
            difference = compare(tested, seed, pair[0], pair[1])[dataset]
            found[dataset] = {"baseline": pair[0], "adapted": pair[1], "difference": difference}
    return found


def _trained(others: Mapping[str, Any], adapt: str, datasets: Sequence[str]) -> str | None:
    """Name of the model that was trained in this way on these datasets."""
    matches = (
        name
        for name, model in others.items()
        if model["adapt"] == adapt and set(model["datasets"]) == set(datasets)
    )
    return next(matches, None)
