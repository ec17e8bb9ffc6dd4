"""How far scored photos are from those that the model was trained on, and how much of it may be chance.

Population stability index, and what it amounts to: Siddiqi, "Credit Risk Scorecards", Wiley 2006; its
distribution where nothing drifted: Yurdakul, "Statistical Properties of Population Stability Index", Western
Michigan University 2018. Kolmogorov-Smirnov distance: the greatest one of two cumulative distributions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from scipy.stats import chi2, ks_2samp, kstwobign

from crossface.data.emotions import EMOTIONS
from crossface.data.reference import QUANTILES, STATISTICS, Reference

SOME, STRONG = 0.1, 0.25
"""From these distances on there is some drift, and strong drift, if it is more than chance."""

FALSE_ALARMS = 0.05
"""Probability that one or more of all distances of photos that did not drift is more than chance."""

EXPRESSIONS = "expressions"

_COMPARISONS = 1 + len(STATISTICS)
_ALPHA = FALSE_ALARMS / _COMPARISONS  # Bonferroni


class Verdict(StrEnum):
    """In words."""

    NONE = "no drift"
    UNKNOWN = "too few faces"  # chance alone may come to a strong drift
    SOME = "some drift"
    STRONG = "strong drift"


_SEVERITY = list(Verdict)


@dataclass(frozen=True)
class Drift:
    """Of one statistic."""

    name: str
    distance: float
    """Population stability index of the expressions, Kolmogorov-Smirnov distance of the others."""
    chance: float
    """What the distance stays below without drift."""

    @property
    def verdict(self) -> Verdict:
        """A distance counts when it is large and no chance."""
        if self.distance > self.chance and self.distance >= SOME:
            return Verdict.STRONG if self.distance >= STRONG else Verdict.SOME
        return Verdict.UNKNOWN if self.chance > STRONG else Verdict.NONE

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"distance": self.distance, "chance": self.chance, "verdict": str(self.verdict)}


def measure_drift(
    expressions: Mapping[str, int], statistics: Mapping[str, np.ndarray], reference: Reference
) -> list[Drift]:
    """Compare scored faces with the reference: expressions first, then each of ``STATISTICS``.

    Args:
        expressions: scored faces by expression; at least one face.
        statistics: float [n] of each of ``STATISTICS``.
        reference: of the model.
    """
    mix = _expression_drift(_counts(expressions), _counts(reference.answers))
    return [
        mix,
        *(
            _statistic_drift(name, statistics[name], reference.quantiles[name], reference.faces(name))
            for name in STATISTICS
        ),
    ]


def worst(drifts: Sequence[Drift]) -> Verdict:
    """The verdict on all of them."""
    return max((drift.verdict for drift in drifts), key=_SEVERITY.index)


def in_words(drifts: Sequence[Drift]) -> str:
    """One line, such as ``strong drift: sharpness; some drift: brightness, contrast``."""
    parts = []
    for verdict in (Verdict.STRONG, Verdict.SOME):
        if names := [drift.name for drift in drifts if drift.verdict == verdict]:
            parts.append(f"{verdict}: {', '.join(names)}")
    return "; ".join(parts) or str(worst(drifts))


def population_stability_index(counts: np.ndarray, expected: np.ndarray) -> float:
    """PSI = sum_i (p_i - q_i) ln(p_i / q_i): 0 for equal shares, without bound.

    Half a face is added to every count, or an expression that nobody shows would make it infinite.

    Args:
        counts: int [k].
        expected: int [k].
    """
    p, q = ((values + 0.5) / (values + 0.5).sum() for values in (counts, expected))
    return float(((p - q) * np.log(p / q)).sum())


def _expression_drift(counts: np.ndarray, expected: np.ndarray) -> Drift:
    """Without drift PSI / (1/n + 1/m) is chi-square with k - 1 degrees of freedom (Yurdakul)."""
    spread = 1 / counts.sum() + 1 / expected.sum()
    chance = float(chi2.isf(_ALPHA, len(counts) - 1) * spread)
    return Drift(EXPRESSIONS, population_stability_index(counts, expected), chance)


def _statistic_drift(name: str, values: np.ndarray, quantiles: Sequence[float], faces: int) -> Drift:
    """Without drift D / sqrt(1/n + 1/m) is below the quantile of Kolmogorov's distribution.

    The quantiles stand for the reference; what they may differ from it is added to what may be chance.
    """
    distance = float(ks_2samp(values, quantiles, method="asymp").statistic)
    chance = kstwobign.isf(_ALPHA) * np.sqrt(1 / len(values) + 1 / faces) + 0.5 / QUANTILES
    return Drift(name, distance, float(chance))


def _counts(expressions: Mapping[str, int]) -> np.ndarray:
    return np.array([expressions[name] for name in EMOTIONS])
