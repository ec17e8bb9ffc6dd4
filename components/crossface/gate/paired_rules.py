"""Rules on two models and the same test faces: not worse anywhere that counts, and better in something."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from crossface.gate.paired import Pairs
from crossface.gate.policy import GatePolicy
from crossface.gate.verdict import Rule

Probes = tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]
"""Dataset probes of the candidate's and the champion's features, as in ``metrics.json``."""

_ONE_SIDED = 0.05
_EITHER_MEASURE = 0.025
"""Two measures may show the improvement: together they err in at most one case of twenty."""


def paired_rules(
    pairs: Pairs, probes: Probes | None, policy: GatePolicy, name: str, seed: int
) -> Iterator[Rule]:
    """Hold a candidate against the champion by a paired bootstrap.

    Args:
        pairs: both models on the same faces.
        probes: less bias is an improvement too; None: the candidate need not be better in anything.
        policy: margins and sizes.
        name: what the champion is called.
        seed: of the bootstrap.
    """
    drawn = pairs.resampled(np.random.default_rng(seed))
    yield from _not_inferior(pairs, drawn, policy, name)
    if probes:
        yield _better(pairs, drawn, probes, name)
    yield from _groups(pairs, drawn, policy, name)


def _not_inferior(pairs: Pairs, drawn: np.ndarray, policy: GatePolicy, name: str) -> Iterator[Rule]:
    """On each dataset: the lower bound of the difference lies above minus the margin."""
    found = pairs.balanced_accuracy_differences(pairs.counts())
    resampled = pairs.balanced_accuracy_differences(drawn)
    for dataset, difference in found.items():
        low = float(np.quantile(resampled[dataset], _ONE_SIDED))
        kept = low > -policy.margin
        sentence = (
            f"on {dataset} balanced accuracy is {_apart(difference[0])} {name}'s, {_bound(low)}; "
            f"{_allowed(policy.margin)}."
        )
        yield Rule(f"not worse on {dataset}", kept, sentence)


def _better(pairs: Pairs, drawn: np.ndarray, probes: Probes, name: str) -> Rule:
    """In balanced accuracy, averaged over the datasets, or in what the dataset probe finds."""
    value, resampled = (
        np.mean(list(pairs.balanced_accuracy_differences(counts).values()), axis=0)
        for counts in (pairs.counts(), drawn)
    )
    low, high = np.quantile(resampled, (_EITHER_MEASURE, 1 - _EITHER_MEASURE))
    accuracy = (
        f"mean balanced accuracy is {_apart(value[0])} {name}'s "
        f"(95% interval {100 * low:+.1f} to {100 * high:+.1f})"
    )
    after, before = probes
    probe, less_biased = "", False
    if after and before:
        less_biased = after["high"] < before["low"]
        apart = "below" if less_biased else "not clearly below"
        probe = f"; the dataset probe is at {after['accuracy']:.1%}, {apart} its {before['accuracy']:.1%}"
    kept = bool(low > 0) or less_biased
    return Rule("better in something", kept, f"{accuracy}{probe}.")


def _groups(pairs: Pairs, drawn: np.ndarray, policy: GatePolicy, name: str) -> Iterator[Rule]:
    """The worst group with a bound, because a bound on every group would refuse most equal models."""
    found = pairs.group_accuracies(pairs.counts(), policy.min_group_faces)
    if not found:
        sentence = f"no group of people has {policy.min_group_faces} test faces, so none is judged."
        yield Rule("groups of people", True, sentence)
        return
    resampled = pairs.group_accuracies(drawn, policy.min_group_faces)
    candidate, champion = (np.min([pair[side] for pair in resampled.values()], axis=0) for side in (0, 1))
    low = float(np.quantile(candidate - champion, _ONE_SIDED))
    worst = min(found, key=lambda group: found[group][0][0])
    sentence = (
        f"the worst group of people is {worst} with {found[worst][0][0]:.1%} right; against {name}'s worst "
        f"group {_bound(low)}; {_allowed(policy.group_margin)}."
    )
    yield Rule("worst group", low > -policy.group_margin, sentence)
    losses = {group: float(pair[0][0] - pair[1][0]) for group, pair in found.items()}
    hit = min(losses, key=lambda group: losses[group])
    sentence = (
        f"of {len(losses)} groups of people {hit} fares worst against {name}: {_apart(losses[hit])} it; "
        f"{_allowed(policy.group_veto)}."
    )
    yield Rule("every group", losses[hit] >= -policy.group_veto, sentence)


def _apart(difference: float) -> str:
    return f"{abs(100 * difference):.1f} points {'below' if difference < 0 else 'above'}"


def _bound(low: float) -> str:
    return f"with 95% confidence {100 * low:+.1f} points or more"


def _allowed(loss: float) -> str:
    return f"a loss of {100 * loss:.1f} points is allowed"
