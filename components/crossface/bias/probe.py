"""Name that dataset: can a fresh classifier tell from frozen features where a face was taken from?

Torralba & Efros, "Unbiased look at dataset bias", CVPR 2011. The accuracy of a dataset classifier that
was trained *with* the features understates their bias, so the probe is always fitted anew; and because the
datasets' class priors differ, a probe on the natural mix would partly read the label. Here every emotion has
equally many faces of every dataset, so chance is 1/K whatever the features say of the emotion.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from crossface.bias.config import ProbeSettings
from crossface.bias.sampling import Sample, TooFewFaces, draw_sample
from crossface.progress import Progress

_PENALTY = 0.1
"""Inverse strength of the L2 penalty, fixed: probes are compared, and must differ in the features alone."""

_RESAMPLES = 1000


@dataclass(frozen=True)
class Probe:
    """What a probe found."""

    datasets: tuple[str, ...]
    accuracy: float
    """Share of held-out faces whose dataset is named rightly."""
    low: float
    high: float
    """95 % interval of the accuracy, from a bootstrap over groups."""
    chance: float
    """1/K, exactly what labels alone give."""
    null_mean: float
    null_high: float
    """Mean and greatest accuracy with shuffled dataset labels."""
    n: int
    """Faces."""
    confusion: tuple[tuple[float, ...], ...]
    """Row: true dataset, column: named dataset, as shares of the row."""


def probe_dataset(
    features: np.ndarray,
    datasets: np.ndarray,
    emotions: np.ndarray,
    groups: np.ndarray,
    settings: ProbeSettings,
    seed: int,
    label: str = "dataset probe",
) -> Probe | None:
    """Fit and score a fresh probe by grouped, stratified cross-validation.

    Standard scores and a multinomial logistic regression, fitted in each training fold; no group is in
    two folds. Shuffled labels (for the null) are exchanged within an emotion, so that cells stay equal.

    Args:
        features: float [n, width].
        datasets: dataset keys [n].
        emotions: int64 [n].
        groups: photo or person [n].
        settings: cells, folds, permutations (``splits`` is for whoever picks the faces).
        seed: of the sample, the folds, the bootstrap and the null.
        label: what progress lines call it.

    Returns:
        None when there is nothing to probe: fewer than two datasets, or one with fewer groups than folds
        among the emotions that all datasets share.
    """
    try:
        sample = draw_sample(
            features, datasets, emotions, groups, settings.max_per_cell, least=settings.folds, seed=seed
        )
    except TooFewFaces:
        return None
    with Progress(label, total=1 + settings.permutations, unit="fit") as progress:
        return probe_sample(sample, settings, seed, progress)


def probe_sample(sample: Sample, settings: ProbeSettings, seed: int, progress: Progress) -> Probe:
    """Probe faces that are drawn already; the rest is as in :func:`probe_dataset`.

    Args:
        sample: with at least ``settings.folds`` groups of every dataset.
        settings: folds and permutations.
        seed: of the folds, the bootstrap and the null.
        progress: told of each of the 1 + ``permutations`` fits.
    """
    rng = np.random.default_rng(seed)
    truth = sample.truth
    named = held_out(sample, truth, settings.folds, seed)
    progress.update(1)
    null = []
    for _ in range(settings.permutations):
        shuffled = _shuffle_within(truth, sample.emotions, rng)
        null.append(_accuracy(held_out(sample, shuffled, settings.folds, seed), shuffled))
        progress.update(1)
    low, high = group_interval(named == truth, sample.groups, rng)
    return Probe(
        datasets=sample.names,
        accuracy=_accuracy(named, truth),
        low=low,
        high=high,
        chance=1 / len(sample.names),
        null_mean=float(np.mean(null)),
        null_high=float(np.max(null)),
        n=len(truth),
        confusion=confusion_shares(truth, named, len(sample.names)),
    )


def random_parts_control(
    features: np.ndarray,
    emotions: np.ndarray,
    groups: np.ndarray,
    parts: int,
    settings: ProbeSettings,
    seed: int,
) -> Probe | None:
    """Probe one dataset against itself: split it by group at random into parts that must probe at chance.

    Args:
        features: float [n, width], of one dataset.
        emotions: int64 [n].
        groups: photo or person [n]; a group stays in one part.
        parts: how many, normally the number of datasets of the probe that this one controls.
        settings: those of the probe.
        seed: of the split and the probe.

    Returns:
        as :func:`probe_dataset`.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(seed).permutation(group_of.max() + 1)
    part = np.array([f"part {index + 1}" for index in range(parts)])[order % parts]
    return probe_dataset(
        features, part[group_of], emotions, groups, settings, seed, label="random parts probe"
    )


def label_only_rate(datasets: np.ndarray, emotions: np.ndarray) -> float:
    """Best accuracy of naming the dataset from the label alone, on the natural mix.

    The Bayes rate sum_y max_z p(y, z): why 1/K is no baseline for a probe on the natural mix.

    Args:
        datasets: dataset keys [n], n > 0.
        emotions: int64 [n].
    """
    names, truth = np.unique(datasets, return_inverse=True)
    counts = np.zeros((int(emotions.max()) + 1, len(names)), np.int64)
    np.add.at(counts, (emotions, truth), 1)
    return float(counts.max(axis=1).sum() / len(truth))


def confusion_shares(truth: np.ndarray, named: np.ndarray, datasets: int) -> tuple[tuple[float, ...], ...]:
    """Row: true dataset, column: named dataset, as shares of the row.

    Args:
        truth: indices of datasets, int64 [n].
        named: likewise.
        datasets: how many there are.
    """
    matrix = confusion_matrix(truth, named, labels=range(datasets), normalize="true")
    return tuple(tuple(float(share) for share in row) for row in matrix)


def folds_of(
    truth: np.ndarray, emotions: np.ndarray, groups: np.ndarray, folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and held-out indices of every fold: groups whole, cells spread evenly.

    Stratified by cell, not by dataset alone: an emotion of which a fold happens to hold more of one
    dataset would push the probe below chance there. Cells smaller than ``folds`` count as one per dataset.
    """
    cells = emotions * (truth.max() + 1) + truth
    size = np.bincount(cells)[cells]
    strata = np.where(size < folds, -1 - truth, cells)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # a few leftovers of small cells may be fewer than the folds, which is all that this warns of
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        return [(train, held) for train, held in splitter.split(truth, strata, groups) if len(held)]


def held_out(sample: Sample, truth: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The dataset that is named for each face by a classifier that did not see its group.

    Args:
        sample: the faces.
        truth: the dataset of each, or a shuffle of it: int64 [n].
        folds: of the cross-validation.
        seed: of the folds.

    Returns:
        int64 [n].
    """
    named = np.empty_like(truth)
    # one thread: the matrices are small, and on busy cores threads that wait for each other are far slower
    with threadpool_limits(1):
        for train, held in folds_of(truth, sample.emotions, sample.groups, folds, seed):
            classifier = make_pipeline(StandardScaler(), LogisticRegression(C=_PENALTY, max_iter=1000))
            classifier.fit(sample.features[train], truth[train])
            named[held] = classifier.predict(sample.features[held])
    return named


def _shuffle_within(truth: np.ndarray, emotions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shuffled = truth.copy()
    for emotion in np.unique(emotions):
        rows = np.flatnonzero(emotions == emotion)
        shuffled[rows] = rng.permutation(truth[rows])
    return shuffled


def _accuracy(named: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean(named == truth))


def group_interval(hits: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """95 % percentile interval of the mean of ``hits``, resampling groups, as their faces are related.

    Cluster bootstrap: Davison & Hinkley, "Bootstrap methods and their application", 1997, section 3.8.
    The classifiers are taken as given. Cross-validated ones vary with the faces too, most where there is
    nothing to find: there 87 to 95 intervals in 100 hold the truth (simulated, 24 to 600 faces).

    Args:
        hits: bool [n].
        groups: photo or person [n].
        rng: of the resamples.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group_of)
    group_hits = np.bincount(group_of, weights=hits)
    share = np.full(len(sizes), 1 / len(sizes))
    means = []
    for _ in range(_RESAMPLES):
        times = rng.multinomial(len(sizes), share)
        means.append((times @ group_hits) / (times @ sizes))
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
