"""Which faces a measure of bias looks at."""

from dataclasses import dataclass

import numpy as np

MIN_GROUPS = 10
"""Fewest groups (photos or people) of a dataset within an emotion, or in a pair, that are worth a figure."""


class TooFewFaces(Exception):  # noqa: N818  an answer, not a fault
    """There is nothing to measure; the message is the reason, for a report."""


@dataclass(frozen=True)
class Sample:
    """Faces of which the emotion does not tell the dataset."""

    names: tuple[str, ...]
    """Datasets, in the order in which they first appear."""
    features: np.ndarray
    """float64 [m, width]."""
    truth: np.ndarray
    """Index in ``names``: int64 [m]."""
    emotions: np.ndarray
    """int64 [m]."""
    groups: np.ndarray
    """Photo or person [m]."""


def draw_sample(
    features: np.ndarray,
    datasets: np.ndarray,
    emotions: np.ndarray,
    groups: np.ndarray,
    max_per_cell: int,
    least: int,
    seed: int,
) -> Sample:
    """Draw, within every emotion, equally many faces of every dataset: see :func:`equal_cells`.

    Args:
        features: float [n, width].
        datasets: dataset keys [n].
        emotions: int64 [n].
        groups: photo or person [n].
        max_per_cell: bound of a cell.
        least: groups that each dataset must have in the sample.
        seed: of the draw.

    Raises:
        TooFewFaces: there is one dataset only, or one has too few groups among the emotions that all share.
    """
    names = tuple(dict.fromkeys(datasets.tolist()))
    if len(names) < 2:
        raise TooFewFaces("fewer than two datasets")
    chosen = equal_cells(datasets, emotions, max_per_cell, seed)
    names = tuple(dict.fromkeys(datasets[chosen].tolist()))
    if not names:
        raise TooFewFaces("the datasets have no emotion in common")
    truth = np.array([names.index(name) for name in datasets[chosen]], np.int64)
    for index, name in enumerate(names):
        found = len(np.unique(groups[chosen][truth == index]))
        if found < least:
            raise TooFewFaces(f"the sample has {found} groups of {name}, {least} are needed")
    return Sample(names, np.asarray(features[chosen], np.float64), truth, emotions[chosen], groups[chosen])


def one_face_a_group(groups: np.ndarray, seed: int) -> np.ndarray:
    """Draw one face of every group, for a measure that takes faces to be independent.

    Args:
        groups: photo or person [n].
        seed: of the draw.

    Returns:
        indices int64 [groups], ascending.
    """
    order = np.random.default_rng(seed).permutation(len(groups))
    _, first = np.unique(groups[order], return_index=True)
    return np.sort(order[first])


def bounded_cells(datasets: np.ndarray, emotions: np.ndarray, max_per_cell: int, seed: int) -> np.ndarray:
    """Draw at most ``max_per_cell`` faces of every (dataset, emotion) cell, without replacement.

    Args:
        datasets: dataset keys [n].
        emotions: int64 [n].
        max_per_cell: bound of a cell.
        seed: of the draw.

    Returns:
        indices int64 [m], ascending.
    """
    rng = np.random.default_rng(seed)
    drawn = [
        rng.permutation(np.flatnonzero((datasets == dataset) & (emotions == emotion)))[:max_per_cell]
        for dataset in np.unique(datasets)
        for emotion in np.unique(emotions)
    ]
    return np.sort(np.concatenate(drawn)) if drawn else np.empty(0, np.int64)


def equal_cells(datasets: np.ndarray, emotions: np.ndarray, max_per_cell: int, seed: int) -> np.ndarray:
    """Draw, within every emotion, equally many faces of every dataset.

    The emotion then says nothing of the dataset: who guesses the dataset from labels alone is right in
    exactly 1/K of the cases. An emotion that one of the datasets lacks is left out.

    Args:
        datasets: dataset keys [n].
        emotions: int64 [n].
        max_per_cell: bound of a cell; its size is that of the emotion's smallest cell if that is less.
        seed: of the draw.

    Returns:
        indices int64 [m], ascending.
    """
    rng = np.random.default_rng(seed)
    names = np.unique(datasets)
    drawn = [np.empty(0, np.int64)]
    for emotion in np.unique(emotions):
        cells = [np.flatnonzero((datasets == name) & (emotions == emotion)) for name in names]
        size = min(max_per_cell, *(len(cell) for cell in cells))
        drawn += [rng.permutation(cell)[:size] for cell in cells]
    return np.sort(np.concatenate(drawn))
