"""Rules that need no champion: what any candidate must reach."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from crossface.data.leakage import Cause
from crossface.gate.policy import GatePolicy
from crossface.gate.verdict import Rule


def floors(metrics: Mapping[str, Any], policy: GatePolicy) -> Iterator[Rule]:
    """Hold the adapted model against what is absolute, and against the baseline of its own run.

    Args:
        metrics: the content of ``metrics.json``, as far as it is there before the verdict.
        policy: the rules.
    """
    baseline, adapted = metrics["models"]["baseline"], metrics["models"]["adapted"]
    before, after = (model["average"]["mean"]["balanced_accuracy"] for model in (baseline, adapted))
    yield _floor(after, policy.min_balanced_accuracy)
    yield _drop(after, before, policy.max_drop)
    if policy.probe_must_fall:
        yield _probe(adapted["probe"], baseline["probe"])
    yield _calibration(mean_ece(adapted), policy.max_ece)
    if not policy.allow_leakage:
        yield _leakage(metrics["leakage"])


def mean_ece(model: Mapping[str, Any]) -> float:
    """Calibration error with the temperature that is deployed, averaged over the datasets."""
    per_dataset = model["calibration"]["per_dataset"].values()
    return float(np.mean([errors["ece_scaled"] for errors in per_dataset]))


def _floor(reached: float, floor: float) -> Rule:
    kept = reached >= floor
    where = "not below" if kept else "below"
    sentence = f"mean balanced accuracy is {reached:.1%}, {where} the floor of {floor:.1%}."
    return Rule("balanced accuracy", kept, sentence)


def _drop(reached: float, baseline: float, allowed: float) -> Rule:
    kept = baseline - reached <= allowed
    points = abs(100 * (reached - baseline))
    side = "above" if reached >= baseline else "below"
    limit = f"a drop of {100 * allowed:.1f} points is allowed"
    where = f"{points:.1f} points {side} the baseline's {baseline:.1%}"
    return Rule("against the baseline", kept, f"mean balanced accuracy is {reached:.1%}, {where}; {limit}.")


def _probe(adapted: Mapping[str, Any] | None, baseline: Mapping[str, Any] | None) -> Rule:
    name = "dataset bias"
    if adapted is None or baseline is None:
        why = "there is no dataset probe to compare, so the rule that it must fall does not apply."
        return Rule(name, True, why)
    accuracy, before, chance = adapted["accuracy"], baseline["accuracy"], adapted["chance"]
    if accuracy < before:
        why = f"the dataset probe fell from {before:.1%} to {accuracy:.1%} (chance {chance:.1%})."
        return Rule(name, True, why)
    if adapted["low"] <= chance:
        why = (
            f"the dataset probe did not fall ({before:.1%} before, {accuracy:.1%} after), "
            f"but it cannot be told from chance ({chance:.1%})."
        )
        return Rule(name, True, why)
    why = f"the dataset probe did not fall: {before:.1%} before, {accuracy:.1%} after (chance {chance:.1%})."
    return Rule(name, False, why)


def _calibration(error: float, most: float) -> Rule:
    kept = error <= most
    where = "at most" if kept else "more than"
    return Rule("calibration", kept, f"the calibration error is {error:.1%}, {where} {most:.1%}.")


def _leakage(leakage: Mapping[str, Any] | None) -> Rule:
    name = "leakage"
    if leakage is None:
        return Rule(name, True, "copies of test faces among the training faces were not looked for.")
    seen = sum(
        row["count"]
        for row in leakage["leaking"]
        if (row["split"], row["reason"]) == ("train", Cause.TWIN_IN_TEST) and not leakage["dropped"]
    )
    if seen:
        return Rule(name, False, f"training kept {seen:,} faces of which a copy is tested on.")
    return Rule(name, True, "no face that training saw is known to have a copy among the test faces.")
