"""All that features give away of the dataset, in one call: the same before and after training."""

from dataclasses import dataclass

import numpy as np

from crossface.bias.a_distance import ADistance, a_distances
from crossface.bias.config import ProbeSettings
from crossface.bias.mmd import Discrepancy, discrepancies
from crossface.bias.pairs import Pair
from crossface.bias.probe import Probe, probe_dataset
from crossface.bias.within_emotion import EmotionProbe, probe_within_emotions


@dataclass(frozen=True)
class FeatureBias:
    """What one kind of features gives away of the dataset of a face."""

    probe: Probe | None
    within_emotion: list[EmotionProbe]
    a_distance: list[Pair[ADistance]]
    mmd: list[Pair[Discrepancy]]


def measure_features(
    features: np.ndarray,
    datasets: np.ndarray,
    emotions: np.ndarray,
    groups: np.ndarray,
    settings: ProbeSettings,
    seed: int,
    label: str,
) -> FeatureBias:
    """The dataset probe, the same within each emotion, and A-distance and MMD of every two datasets.

    Args:
        features: float [n, width].
        datasets: dataset keys [n].
        emotions: int64 [n].
        groups: photo or person [n].
        settings: cells, folds, permutations.
        seed: of all samples, folds, resamples and permutations.
        label: whose features they are, for progress lines.
    """
    faces = (features, datasets, emotions, groups, settings, seed)
    return FeatureBias(
        probe=probe_dataset(*faces, label=f"probe of {label}"),
        within_emotion=probe_within_emotions(*faces, label=f"probe within emotions of {label}"),
        a_distance=a_distances(*faces, label=f"A-distance of {label}"),
        mmd=discrepancies(*faces, label=f"MMD of {label}"),
    )
