"""The bias measures of a report, arranged by what is asked and what is read: either model, or none."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from crossface.measures.metrics import MODELS

_REFERENCES = {"untrained": "Untrained features", "capture": "Capture statistics"}


class BiasTable(NamedTuple):
    """One measure of every emotion, or of every two datasets."""

    sources: tuple[str, ...]
    """What is read: the columns."""
    rows: dict[str, dict[str, Mapping[str, Any]]]
    """By what is asked and by source, those that could be measured."""
    reasons: dict[str, str]
    """By what is asked, why something could not."""


def probe_rows(metrics: Mapping[str, Any], bias: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """All dataset probes that there are, with what they read, in the order of the report.

    Args:
        metrics: the content of ``metrics.json``.
        bias: the content of ``bias.json``.
    """
    rows = [(f"{model.capitalize()} features", metrics["models"][model]["probe"]) for model in MODELS]
    rows += [(title, bias["probes"][name]) for name, title in _REFERENCES.items()]
    rows.append(("Random parts", bias["probes"]["random_parts"]))
    if full := bias.get("full"):
        # without a null: each shuffle would take another training
        rows.append(("Full network, trained", {**full, "null_mean": None, "null_high": None}))
    return [(title, probe) for title, probe in rows if probe]


def measured(
    metrics: Mapping[str, Any], bias: Mapping[str, Any], measure: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What is read, with each entry of a measure that there is.

    Args:
        metrics: the content of ``metrics.json``.
        bias: the content of ``bias.json``.
        measure: ``within_emotion``, ``a_distance`` or ``mmd``.
    """
    found = {f"{model.capitalize()} features": metrics["models"][model].get(measure) for model in MODELS}
    found |= {title: bias.get(measure, {}).get(name) for name, title in _REFERENCES.items()}
    for source, entries in found.items():
        for entry in entries or ():
            yield source, entry


def bias_table(metrics: Mapping[str, Any], bias: Mapping[str, Any], measure: str) -> BiasTable:
    """A measure by what is asked (rows) and what is read (columns); arguments as of :func:`measured`."""
    sources: dict[str, None] = {}
    rows: dict[str, dict[str, Mapping[str, Any]]] = {}
    reasons = {}
    for source, entry in measured(metrics, bias, measure):
        asked = entry["emotion"] if "emotion" in entry else f"{entry['first']}, {entry['second']}"
        if result := result_of(entry):
            sources[source] = None
            rows.setdefault(asked, {})[source] = result
        else:
            reasons[asked] = entry["reason"]
    return BiasTable(tuple(sources), rows, reasons)


def result_of(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What was found for one emotion or pair; None when it could not be measured."""
    return entry["probe"] if "emotion" in entry else entry["found"]
