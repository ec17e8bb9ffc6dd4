"""Rules against the champion: not worse anywhere that counts, and better in something."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crossface.errors import DataError
from crossface.gate.floors import mean_ece
from crossface.gate.paired import pair_predictions
from crossface.gate.paired_rules import paired_rules
from crossface.gate.policy import GatePolicy
from crossface.gate.verdict import Rule


@dataclass(frozen=True)
class Judged:
    """A model with what its evaluation said."""

    version: str
    """In the registry; empty for a candidate that has none yet."""
    metrics: Mapping[str, Any]
    """The content of ``metrics.json``."""
    predictions: pa.Table
    """Its own test predictions, rows of ``PREDICTION_SCHEMA``."""
    derived_from: str = ""
    """Version that it is a copy of, in another precision; against that one it need not be better."""

    @property
    def model(self) -> Mapping[str, Any]:
        """The adapted model's part of the metrics."""
        return self.metrics["models"]["adapted"]


def read_judged(evaluation: Path, version: str, derived_from: str = "") -> Judged:
    """Read an evaluation folder, or what was kept of it.

    Args:
        evaluation: holds ``metrics.json`` and ``predictions.parquet``.
        version: of the model in the registry.
        derived_from: version that it is a copy of, in another precision.

    Raises:
        DataError: a file is missing or damaged.
    """
    try:
        metrics = json.loads((evaluation / "metrics.json").read_text())
        adapted = pc.field("model") == "adapted"
        predictions = pq.read_table(evaluation / "predictions.parquet", filters=adapted)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"the evaluation of version {version} cannot be read: {error}") from None
    return Judged(version, metrics, predictions, derived_from)


def against_champion(candidate: Judged, champion: Judged, policy: GatePolicy, seed: int) -> Iterator[Rule]:
    """Hold the candidate against the champion on the same test faces.

    Args:
        candidate: the new model.
        champion: the one that is in use.
        policy: margins and sizes.
        seed: of the bootstrap.
    """
    name = f"version {champion.version}"
    ours, theirs = (model.metrics.get("test_manifest") for model in (candidate, champion))
    if ours != theirs:
        sentence = (
            f"{name} was tested on other faces, so the two cannot be compared; "
            f"evaluate {name} on these, or let a person decide."
        )
        yield Rule("same test faces", False, sentence)
        return
    yield Rule("same test faces", True, f"{name} was tested on the same faces.")
    pairs = pair_predictions(candidate.predictions, champion.predictions)
    probes = candidate.model["probe"], champion.model["probe"]
    copy = candidate.derived_from == champion.version
    yield from paired_rules(pairs, None if copy else probes, policy, name, seed)
    if not copy:
        yield _probe(*probes, policy, name)
    yield _calibration(mean_ece(candidate.model), mean_ece(champion.model), policy, name)


def _probe(
    candidate: Mapping[str, Any] | None, champion: Mapping[str, Any] | None, policy: GatePolicy, name: str
) -> Rule:
    rule = "no more bias"
    if candidate is None or champion is None:
        return Rule(rule, True, "there is no dataset probe to compare with the champion's.")
    rise = candidate["accuracy"] - champion["accuracy"]
    sentence = (
        f"the dataset probe is at {candidate['accuracy']:.1%}, at {champion['accuracy']:.1%} for {name} "
        f"(a rise of {100 * policy.max_probe_rise:.1f} points is allowed)."
    )
    return Rule(rule, rise <= policy.max_probe_rise, sentence)


def _calibration(candidate: float, champion: float, policy: GatePolicy, name: str) -> Rule:
    sentence = (
        f"the calibration error is {candidate:.1%}, {champion:.1%} for {name} "
        f"(a rise of {100 * policy.max_ece_rise:.1f} points is allowed)."
    )
    return Rule("no worse calibrated", candidate - champion <= policy.max_ece_rise, sentence)
