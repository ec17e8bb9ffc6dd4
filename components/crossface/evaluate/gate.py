"""The gate: may the adapted model be promoted?"""

from dataclasses import dataclass
from typing import Any

from crossface.evaluate.config import GatePolicy


@dataclass(frozen=True)
class Verdict:
    """The decision, and one sentence for every rule, the broken ones first."""

    passed: bool
    reasons: tuple[str, ...]


def decide(metrics: dict[str, Any], policy: GatePolicy) -> Verdict:
    """Hold the adapted model against the policy.

    Args:
        metrics: ``{"models": ...}`` as in ``metrics.json``.
        policy: the rules.
    """
    baseline, adapted = metrics["models"]["baseline"], metrics["models"]["adapted"]
    rules = [
        _floor(adapted["average"]["mean"]["balanced_accuracy"], policy.min_balanced_accuracy),
        _drop(
            adapted["average"]["mean"]["balanced_accuracy"],
            baseline["average"]["mean"]["balanced_accuracy"],
            policy.max_drop,
        ),
    ]
    if policy.probe_must_fall:
        rules.append(_probe(adapted["probe"], baseline["probe"]))
    rules.sort(key=lambda rule: rule[0])  # stable: the broken rules come first, in order
    reasons = tuple(f"{'Kept' if kept else 'Broken'}: {sentence}" for kept, sentence in rules)
    return Verdict(all(kept for kept, _ in rules), reasons)


def _floor(reached: float, floor: float) -> tuple[bool, str]:
    kept = reached >= floor
    where = "not below" if kept else "below"
    return kept, f"mean balanced accuracy is {reached:.1%}, {where} the floor of {floor:.1%}."


def _drop(reached: float, baseline: float, allowed: float) -> tuple[bool, str]:
    kept = baseline - reached <= allowed
    points = abs(100 * (reached - baseline))
    side = "above" if reached >= baseline else "below"
    limit = f"a drop of {100 * allowed:.1f} points is allowed"
    where = f"{points:.1f} points {side} the baseline's {baseline:.1%}"
    return kept, f"mean balanced accuracy is {reached:.1%}, {where}; {limit}."


def _probe(adapted: dict[str, Any] | None, baseline: dict[str, Any] | None) -> tuple[bool, str]:
    if adapted is None or baseline is None:
        return True, "there is no dataset probe to compare, so the rule that it must fall does not apply."
    accuracy, before, chance = adapted["accuracy"], baseline["accuracy"], adapted["chance"]
    if accuracy < before:
        return True, f"the dataset probe fell from {before:.1%} to {accuracy:.1%} (chance {chance:.1%})."
    if adapted["low"] <= chance:
        return True, (
            f"the dataset probe did not fall ({before:.1%} before, {accuracy:.1%} after), "
            f"but it cannot be told from chance ({chance:.1%})."
        )
    return False, (
        f"the dataset probe did not fall: {before:.1%} before, {accuracy:.1%} after (chance {chance:.1%})."
    )
