"""Which faces a measure of bias looks at."""

import numpy as np


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
