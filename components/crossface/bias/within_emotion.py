"""Name that dataset among the faces of one emotion at a time.

The probe of :mod:`crossface.bias.probe` (Torralba & Efros, CVPR 2011) on the features of one class: whether
the datasets look different when they show the same, and in which expressions most.
"""

from dataclasses import dataclass

import numpy as np

from crossface.bias.config import ProbeSettings
from crossface.bias.probe import Probe, probe_sample
from crossface.bias.sampling import MIN_GROUPS, Sample, TooFewFaces, draw_sample
from crossface.data.emotions import EMOTIONS
from crossface.progress import Progress


@dataclass(frozen=True)
class EmotionProbe:
    """What the probe found among the faces of one emotion."""

    emotion: str
    probe: Probe | None
    """Its ``datasets`` are those that have enough faces, and its chance is that of their number."""
    reason: str | None
    """Why there is no probe."""


def probe_within_emotions(
    features: np.ndarray,
    datasets: np.ndarray,
    emotions: np.ndarray,
    groups: np.ndarray,
    settings: ProbeSettings,
    seed: int,
    label: str = "dataset probe within emotions",
) -> list[EmotionProbe]:
    """Probe every emotion by itself, among the datasets that have at least ``MIN_GROUPS`` groups of it.

    Each interval is of one emotion: of seven at chance, one or another may well exclude it.

    Args:
        features: float [n, width].
        datasets: dataset keys [n].
        emotions: int64 [n].
        groups: photo or person [n].
        settings: cells, folds, permutations.
        seed: as in :func:`crossface.bias.probe.probe_dataset`.
        label: what progress lines call it.

    Returns:
        one entry an emotion, in the order of ``EMOTIONS``.
    """
    samples: dict[str, Sample] = {}
    reasons: dict[str, str] = {}
    for index, emotion in enumerate(EMOTIONS):
        rows = np.flatnonzero(emotions == index)
        try:
            samples[emotion] = _sample(
                features[rows], datasets[rows], emotions[rows], groups[rows], settings, seed
            )
        except TooFewFaces as reason:
            reasons[emotion] = str(reason)
    probes: dict[str, Probe] = {}
    if samples:
        with Progress(label, total=len(samples) * (1 + settings.permutations), unit="fit") as progress:
            for emotion, sample in samples.items():
                probes[emotion] = probe_sample(sample, settings, seed, progress)
    return [EmotionProbe(emotion, probes.get(emotion), reasons.get(emotion)) for emotion in EMOTIONS]


def _sample(
    features: np.ndarray,
    datasets: np.ndarray,
    emotions: np.ndarray,
    groups: np.ndarray,
    settings: ProbeSettings,
    seed: int,
) -> Sample:
    """Equally many faces of the datasets that have enough; one with few would leave few of the others."""
    least = max(MIN_GROUPS, settings.folds)
    enough = [name for name in np.unique(datasets) if len(np.unique(groups[datasets == name])) >= least]
    if len(enough) < 2:
        raise TooFewFaces(f"fewer than two datasets have {least} groups")
    rows = np.isin(datasets, enough)
    return draw_sample(
        features[rows], datasets[rows], emotions[rows], groups[rows], settings.max_per_cell, least, seed
    )
