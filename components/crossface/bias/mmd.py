"""Maximum mean discrepancy: how far apart two datasets lie for a kernel, and whether that can be luck.

Gretton, Borgwardt, Rasch, Schoelkopf & Smola, "A kernel two-sample test", JMLR 13, 2012: the unbiased
estimate of the squared discrepancy (equation 3), a Gaussian kernel as wide as the median distance of the
faces of both datasets (section 8), and a test by permutation of the datasets' labels, whose p-value counts
the observed labels as one of the permutations (Phipson & Smyth, "Permutation p-values should never be
zero", Stat. Appl. Genet. Mol. Biol. 9, 2010).

Datasets differ in their class priors, and features that show the expression would differ for that alone.
So faces are compared within an emotion, and the discrepancy is the mean over emotions, weighted by their
faces; unlike one comparison of all faces it is also free of bias where emotions are drawn evenly.
Where a probe finds what one direction in the features gives away, this sees any difference at the scale of
the kernel, and has no classifier to fit.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from crossface.bias.config import ProbeSettings
from crossface.bias.pairs import Pair, measure_pairs
from crossface.bias.sampling import MIN_GROUPS, Sample, TooFewFaces, draw_sample, one_face_a_group
from crossface.data.emotions import EMOTIONS

MAX_PER_CELL = 500
"""Most faces of a dataset and emotion, whatever the settings: seven kernels of 1000 x 1000, 56 MB."""

_PERMUTATIONS = 999
_RESAMPLES = 1000
_ROUNDING = 1e-12
"""A permutation that ties with the observed labels counts against them, whichever way its sum was rounded."""


@dataclass(frozen=True)
class Discrepancy:
    """Squared maximum mean discrepancy of two datasets."""

    mmd2: float
    """Unbiased, so about 0 for equal distributions, also just below; at most 2."""
    low: float
    high: float
    """95 % interval, from a bootstrap over faces; wider than it need be where the discrepancy is near 0."""
    chance: float
    """0, the expectation for equal distributions."""
    null_high: float
    """95 % quantile with permuted dataset labels."""
    p_value: float
    """Share of permutations at least as far apart; at least 0.001."""
    width: float
    """Of the kernel: the median distance of standardised features within an emotion."""
    emotions: tuple[str, ...]
    """Those compared: at least ``MIN_GROUPS`` faces of both datasets."""
    n: int
    """Faces, half of them of either dataset, one a group."""


def discrepancies(
    features: np.ndarray,
    datasets: np.ndarray,
    emotions: np.ndarray,
    groups: np.ndarray,
    settings: ProbeSettings,
    seed: int,
    label: str = "MMD",
) -> list[Pair[Discrepancy]]:
    """Squared maximum mean discrepancy of every two datasets, with a permutation test.

    One face a group: the test exchanges faces, which only independent ones allow. In every emotion there are
    equally many of both datasets, at most ``max_per_cell`` and ``MAX_PER_CELL``, which bounds time and
    memory: at most 250 MB for features of width 1000.

    Args:
        features: float [n, width].
        datasets: dataset keys [n].
        emotions: int64 [n].
        groups: photo or person [n].
        settings: cells.
        seed: of the sample, the permutations and the bootstrap.
        label: what progress lines call it.
    """
    bound = min(settings.max_per_cell, MAX_PER_CELL)

    def measure(rows: np.ndarray) -> Discrepancy:
        rows = rows[one_face_a_group(groups[rows], seed)]
        sample = draw_sample(
            features[rows], datasets[rows], emotions[rows], groups[rows], bound, MIN_GROUPS, seed
        )
        with threadpool_limits(1):
            return _discrepancy(sample, np.random.default_rng(seed))

    return measure_pairs(datasets, measure, label)


def mmd2_unbiased(kernel: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Equation 3 of Gretton et al. for many labellings, or resamples, of the same faces at once.

    Args:
        kernel: float64 [n, n], with 0 on the diagonal: no face is compared with itself, nor with its copy.
        first: how often a face is in the first set: float64 [n, r], in each column two faces at least.
        second: likewise for the second set, which shares no face with the first.

    Returns:
        float64 [r].
    """
    to_first, to_second = kernel @ first, kernel @ second
    firsts, seconds = first.sum(axis=0), second.sum(axis=0)
    return (
        (first * to_first).sum(axis=0) / (firsts**2 - (first**2).sum(axis=0))
        + (second * to_second).sum(axis=0) / (seconds**2 - (second**2).sum(axis=0))
        - 2 * (first * to_second).sum(axis=0) / (firsts * seconds)
    )


def _discrepancy(sample: Sample, rng: np.random.Generator) -> Discrepancy:
    """Compare the two datasets of a sample; ``rng`` permutes and resamples."""
    sizes = np.bincount(sample.emotions)
    cells = [
        np.flatnonzero(sample.emotions == emotion) for emotion in np.flatnonzero(sizes >= 2 * MIN_GROUPS)
    ]
    if not cells:
        raise TooFewFaces(f"no emotion has {MIN_GROUPS} groups of both")
    values = StandardScaler().fit_transform(sample.features)
    distances = [euclidean_distances(values[cell]) for cell in cells]
    width = float(np.median(np.concatenate([d[np.triu_indices_from(d, 1)] for d in distances])))
    n = sum(len(cell) for cell in cells)
    observed, null, resampled = 0.0, np.zeros(_PERMUTATIONS), np.zeros(_RESAMPLES)
    for cell, distance in zip(cells, distances, strict=True):
        kernel = _gaussian(distance, width)
        label = (sample.truth[cell, None] == 0).astype(np.float64)
        permuted = rng.permuted(np.repeat(label, _PERMUTATIONS, axis=1), axis=0)
        share = len(cell) / n
        observed += share * float(mmd2_unbiased(kernel, label, 1 - label)[0])
        null += share * mmd2_unbiased(kernel, permuted, 1 - permuted)
        resampled += share * mmd2_unbiased(kernel, _resamples(label, rng), _resamples(1 - label, rng))
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Discrepancy(
        mmd2=observed,
        low=float(low),
        high=float(high),
        chance=0.0,
        null_high=float(np.quantile(null, 0.95)),
        p_value=float((1 + np.sum(null >= observed - _ROUNDING)) / (1 + _PERMUTATIONS)),
        width=width,
        emotions=tuple(EMOTIONS[sample.emotions[cell[0]]] for cell in cells),
        n=n,
    )


def _gaussian(distance: np.ndarray, width: float) -> np.ndarray:
    """exp(-d^2 / (2 width^2)) in place, with 0 on the diagonal; 1 throughout where most faces are equal."""
    kernel = np.exp(np.square(distance / (width or 1.0), out=distance) / -2, out=distance)
    np.fill_diagonal(kernel, 0)
    return kernel


def _resamples(of_set: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How often each face is drawn in each resample of its set: float64 [n, resamples] of 0 or 1 [n, 1]."""
    size = int(of_set.sum())
    return rng.multinomial(size, of_set[:, 0] / size, size=_RESAMPLES).T.astype(np.float64)
