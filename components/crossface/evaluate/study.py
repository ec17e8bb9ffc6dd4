"""The tables of a study as rows, in the paper's form, with its numbers where the data are the paper's."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from crossface.evaluate import paper
from crossface.measures.metrics import MODELS


class TrainedRow(NamedTuple):
    """One model in Tables 2 and 4."""

    trained_on: str
    method: str
    model: Mapping[str, Any]
    """As in ``metrics.json``."""
    paper: Mapping[str, float]
    """The paper's accuracy on each dataset; empty where the data are others, or it has no such model."""
    paper_mean: Mapping[str, float]
    """The paper's means over the datasets, by measure."""


def all_models(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Both models and those of the study, by name."""
    return {**metrics["models"], **metrics["others"]}


def trained_rows(metrics: Mapping[str, Any]) -> list[TrainedRow]:
    """Models trained on one dataset each, and on all of them: Tables 2 and 4.

    Args:
        metrics: the content of ``metrics.json``.
    """
    datasets, study = metrics["datasets"], metrics["cross_dataset"]
    theirs = of_paper(metrics)
    rows = []
    if study["alone"]:
        for dataset, name in zip(datasets, study["alone"]["models"], strict=True):
            numbers: Mapping[str, float] = paper.ALONE[dataset] if theirs else {}
            means: Mapping[str, float] = {"accuracy": sum(numbers.values()) / len(numbers)} if numbers else {}
            rows.append(TrainedRow(dataset, "none", metrics["others"][name], numbers, means))
    pooled = {"baseline": paper.BASELINE, "adapted": paper.ADAPTED} if theirs else {}
    for name in ("baseline", *study["methods"], "adapted"):
        model = all_models(metrics)[name]
        means = paper.MEAN[name] if name in pooled else {}
        rows.append(TrainedRow("all", model["adapt"], model, pooled.get(name, {}), means))
    return rows


def of_paper(metrics: Mapping[str, Any]) -> bool:
    """Whether the evaluated datasets are the paper's."""
    scores = metrics["models"]["baseline"]["per_dataset"]
    return paper.is_paper_data({name: heads["mean"]["n"] for name, heads in scores.items()})


def models_of(metrics: Mapping[str, Any], dataset: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The models whose recalls on a dataset stand beside each other, as in Figure 6: title and model."""
    found = [(name.capitalize(), metrics["models"][name]) for name in MODELS]
    if alone := metrics["cross_dataset"]["alone"]:
        name = alone["models"][metrics["datasets"].index(dataset)]
        found.insert(0, (f"On {dataset} alone", metrics["others"][name]))
    return found
