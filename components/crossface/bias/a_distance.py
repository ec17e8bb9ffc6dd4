"""Proxy A-distance: how well two datasets are told apart, as a distance of their distributions.

d_A = 2 (1 - 2 err), err the error of a classifier that names the dataset: Ben-David, Blitzer, Crammer &
Pereira, "Analysis of representations for domain adaptation", NIPS 19, 2007, section 4. It is a proxy for
2 sup_A |P(A) - Q(A)|: 0 when no linear classifier can tell the datasets apart, 2 when one always can.
"""

from dataclasses import dataclass

import numpy as np

from crossface.bias.config import ProbeSettings
from crossface.bias.pairs import Pair, measure_pairs
from crossface.bias.probe import group_interval, held_out
from crossface.bias.sampling import MIN_GROUPS, draw_sample


@dataclass(frozen=True)
class ADistance:
    """Proxy A-distance of two datasets."""

    distance: float
    """0 to 2."""
    low: float
    high: float
    """95 % interval: that of the classifier's error, transformed."""
    chance: float
    """0, where the classifier guesses."""
    error: float
    """Share of held-out faces whose dataset is named wrongly; as it is, also above one half."""
    n: int
    """Faces, half of them of either dataset."""


def distance_of_error(error: float) -> float:
    """2 (1 - 2 ``error``), and 0 for an error above one half.

    The supremum is over sets and their complements, so no distance is negative: a classifier that is
    wrong in more than half of the cases was unlucky, and says that it found nothing.
    """
    return max(0.0, 2 * (1 - 2 * error))


def a_distances(
    features: np.ndarray,
    datasets: np.ndarray,
    emotions: np.ndarray,
    groups: np.ndarray,
    settings: ProbeSettings,
    seed: int,
    label: str = "A-distance",
) -> list[Pair[ADistance]]:
    """Proxy A-distance of every two datasets, by the classifier and the folds of the dataset probe.

    In every emotion there are equally many faces of both, so a difference of the class priors is none here.

    Args:
        features: float [n, width].
        datasets: dataset keys [n].
        emotions: int64 [n].
        groups: photo or person [n].
        settings: cells and folds.
        seed: of the sample, the folds and the bootstrap.
        label: what progress lines call it.
    """
    least = max(MIN_GROUPS, settings.folds)

    def measure(rows: np.ndarray) -> ADistance:
        sample = draw_sample(
            features[rows], datasets[rows], emotions[rows], groups[rows], settings.max_per_cell, least, seed
        )
        hits = held_out(sample, sample.truth, settings.folds, seed) == sample.truth
        low, high = group_interval(hits, sample.groups, np.random.default_rng(seed))
        error = 1 - float(np.mean(hits))
        return ADistance(
            distance=distance_of_error(error),
            low=distance_of_error(1 - low),
            high=distance_of_error(1 - high),
            chance=0.0,
            error=error,
            n=len(hits),
        )

    return measure_pairs(datasets, measure, label)
