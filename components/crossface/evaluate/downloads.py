"""The numbers of the report as CSV, one row an observation, for whoever wants to go on computing."""

import base64
import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from crossface.data.emotions import EMOTIONS
from crossface.evaluate.bias_rows import measured, probe_rows, result_of
from crossface.evaluate.study import all_models
from crossface.measures.metrics import HEADS, MODELS

_SCORES = (
    *("n", "accuracy", "accuracy_low", "accuracy_high"),
    *("balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high"),
    *("macro_f1", "recall_std", "precision_mean", "precision_std"),
)
_PROBE = ("accuracy", "low", "high", "chance", "null_mean", "null_high", "n")
_GROUP = ("n", "accuracy", "low", "high", "balanced_accuracy")
_PAIR = ("first", "second")
_PRIORS = (*_PAIR, "jensen_shannon", "total_variation")
_DISTANCE = ("distance", "low", "high", "error", "n")
_MMD = ("mmd2", "low", "high", "null_high", "p_value", "n")
_INTERVAL = ("difference", "low", "high")
_MCNEMAR = ("only_baseline_right", "only_adapted_right", "p")

_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Row = tuple[str | float | None, ...]


class Download(NamedTuple):
    """A file that is part of the page."""

    file_name: str
    title: str
    href: str
    """``data:`` address that holds the whole file."""


def downloads(metrics: Mapping[str, Any], bias: Mapping[str, Any]) -> dict[str, Download]:
    """All tables that there are, by name.

    Args:
        metrics: the content of ``metrics.json``.
        bias: the content of ``bias.json``.
    """
    tables = {
        "scores": ("Scores", ("model", "dataset", "head", *_SCORES), _scores(metrics)),
        "cross_dataset": (
            "Across datasets",
            ("trained_on", "tested_on", "measure", "score", "row_drop", "column_drop"),
            _cross_dataset(metrics),
        ),
        "left_out": (
            "Left out of training",
            ("dataset", "model", "measure", "never_seen", "trained_with_it", *_INTERVAL),
            _left_out(metrics),
        ),
        "classes": (
            "Recall and precision of each class",
            ("model", "dataset", "head", "emotion", "recall", "precision"),
            _classes(metrics),
        ),
        "recall_matrices": (
            "Recall matrices",
            ("model", "dataset", "head", "label", "said", "share"),
            _matrices(metrics),
        ),
        "comparison": (
            "Comparison",
            ("dataset", "measure", *_INTERVAL, *_MCNEMAR),
            _comparison(metrics),
        ),
        "calibration": (
            "Calibration errors",
            ("model", "dataset", "temperature", "ece", "ece_scaled"),
            _calibration(metrics),
        ),
        "calibration_bins": (
            "Calibration bins",
            ("model", "dataset", "bin", "confidence", "accuracy", "count"),
            _bins(metrics),
        ),
        "subgroups": (
            "Groups of people",
            ("model", "dataset", "attribute", "group", *_GROUP),
            _subgroups(metrics),
        ),
        "label_issues": (
            "Given and likely labels",
            ("dataset", "label", "likely_label", "share"),
            _label_issues(metrics),
        ),
        "probes": ("Dataset probes", ("reads", *_PROBE), _probes(metrics, bias)),
        "within_emotion": (
            "Probes within each emotion",
            ("reads", "emotion", *_PROBE),
            _bias(metrics, bias, "within_emotion", ("emotion",), _PROBE),
        ),
        "a_distance": (
            "A-distances",
            ("reads", *_PAIR, *_DISTANCE),
            _bias(metrics, bias, "a_distance", _PAIR, _DISTANCE),
        ),
        "mmd": (
            "MMD",
            ("reads", *_PAIR, *_MMD),
            _bias(metrics, bias, "mmd", _PAIR, _MMD),
        ),
        "priors": (
            "Distances of the class priors",
            _PRIORS,
            (tuple(pair[key] for key in _PRIORS) for pair in bias["prior_distances"]),
        ),
    }
    found = {}
    for name, (title, header, rows) in tables.items():
        if content := list(rows):
            data = base64.b64encode(csv_text(header, content).encode()).decode()
            found[name] = Download(f"{name}.csv", title, f"data:text/csv;charset=utf-8;base64,{data}")
    return found


def csv_text(header: Sequence[str], rows: Iterable[Row]) -> str:
    """A table as CSV (RFC 4180); what is not defined is an empty cell.

    A text that a spreadsheet would run as a formula gets a leading quote: a dataset may be called
    ``=HYPERLINK(...)`` (OWASP, "CSV injection").

    Args:
        header: names of the columns.
        rows: as wide as the header; texts, numbers and None.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(header)
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def _harmless(cell: str | float | None) -> str | float | None:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _scored(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """(model, dataset, head, scores) of every head of every model on every dataset."""
    for model, found in all_models(metrics).items():
        for dataset, heads in found["per_dataset"].items():
            for head in HEADS:
                yield model, dataset, head, heads[head]


def _scores(metrics: Mapping[str, Any]) -> Iterator[Row]:
    for model, dataset, head, scores in _scored(metrics):
        yield model, dataset, head, *(scores[key] for key in _SCORES)


def _classes(metrics: Mapping[str, Any]) -> Iterator[Row]:
    for model, dataset, head, scores in _scored(metrics):
        for emotion, recall, precision in zip(EMOTIONS, scores["recall"], scores["precision"], strict=True):
            yield model, dataset, head, emotion, recall, precision


def _matrices(metrics: Mapping[str, Any]) -> Iterator[Row]:
    for model, dataset, head, scores in _scored(metrics):
        for label, said, share in _cells(scores["recall_matrix"]):
            yield model, dataset, head, label, said, share


def _cross_dataset(metrics: Mapping[str, Any]) -> Iterator[Row]:
    alone, datasets = metrics["cross_dataset"]["alone"], metrics["datasets"]
    for measure, matrix in alone["scores"].items() if alone else ():
        for row, trained_on in enumerate(datasets):
            for column, tested_on in enumerate(datasets):
                lost = [
                    alone[key][measure][row][column] if measure in alone[key] else None
                    for key in ("row_drop", "column_drop")
                ]
                yield trained_on, tested_on, measure, matrix[row][column], *lost


def _left_out(metrics: Mapping[str, Any]) -> Iterator[Row]:
    for dataset, found in metrics["cross_dataset"]["left_out"].items():
        for side in MODELS:
            for measure in ("accuracy", "balanced_accuracy"):
                unseen, seen = (
                    model["per_dataset"][dataset]["mean"][measure]
                    for model in (metrics["others"][found[side]], metrics["models"][side])
                )
                difference = found["difference"][measure] if side == "adapted" else {}
                yield dataset, side, measure, unseen, seen, *(difference.get(key) for key in _INTERVAL)


def _comparison(metrics: Mapping[str, Any]) -> Iterator[Row]:
    for dataset, found in metrics.get("comparison", {}).items():
        for measure in ("balanced_accuracy", "accuracy"):
            # McNemar's test counts single faces, so it is about accuracy alone
            mcnemar = found.get("mcnemar", {}) if measure == "accuracy" else {}
            yield (
                dataset,
                measure,
                *(found[measure][key] for key in _INTERVAL),
                *(mcnemar.get(key) for key in _MCNEMAR),
            )


def _calibration(metrics: Mapping[str, Any]) -> Iterator[Row]:
    for model, found in all_models(metrics).items():
        calibration = found.get("calibration") or {"per_dataset": {}}
        for dataset, errors in calibration["per_dataset"].items():
            yield model, dataset, calibration["temperature"], errors["ece"], errors["ece_scaled"]


def _bins(metrics: Mapping[str, Any]) -> Iterator[Row]:
    for model, found in metrics["models"].items():
        for dataset, errors in (found.get("calibration") or {"per_dataset": {}})["per_dataset"].items():
            for index, part in enumerate(errors["bins"]):
                yield model, dataset, index, part["confidence"], part["accuracy"], part["count"]


def _subgroups(metrics: Mapping[str, Any]) -> Iterator[Row]:
    for model, found in metrics["models"].items():
        for dataset, attributes in (found.get("subgroups") or {}).items():
            for attribute, split in attributes.items():
                for group, scores in split["groups"].items():
                    yield model, dataset, attribute, group, *(scores[key] for key in _GROUP)


def _label_issues(metrics: Mapping[str, Any]) -> Iterator[Row]:
    for dataset, found in (metrics.get("label_issues") or {}).items():
        for label, likely, share in _cells(found["joint"]):
            yield dataset, label, likely, share


def _probes(metrics: Mapping[str, Any], bias: Mapping[str, Any]) -> Iterator[Row]:
    for name, probe in probe_rows(metrics, bias):
        yield name, *(probe[key] for key in _PROBE)


def _bias(
    metrics: Mapping[str, Any],
    bias: Mapping[str, Any],
    measure: str,
    asked: Sequence[str],
    keys: Sequence[str],
) -> Iterator[Row]:
    for source, entry in measured(metrics, bias, measure):
        found = result_of(entry) or {}
        yield source, *(entry[key] for key in asked), *(found.get(key) for key in keys)


def _cells(matrix: Sequence[Sequence[float | None]]) -> Iterator[tuple[str, str, float | None]]:
    for row, shares in zip(EMOTIONS, matrix, strict=True):
        for column, share in zip(EMOTIONS, shares, strict=True):
            yield row, column, share
