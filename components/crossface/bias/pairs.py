"""A measure of every pair of datasets."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Generic, TypeVar

import numpy as np

from crossface.bias.sampling import TooFewFaces
from crossface.progress import Progress

Found = TypeVar("Found")


@dataclass(frozen=True)
class Pair(Generic[Found]):
    """What was found between two datasets."""

    first: str
    second: str
    found: Found | None
    reason: str | None
    """Why nothing was measured."""

    @property
    def key(self) -> str:
        """``first_vs_second``, for names of metrics."""
        return f"{self.first}_vs_{self.second}"


def measure_pairs(
    datasets: np.ndarray, measure: Callable[[np.ndarray], Found], label: str
) -> list[Pair[Found]]:
    """Measure every two datasets.

    Args:
        datasets: dataset keys [n].
        measure: given the faces of both datasets as indices int64 [m]; may raise ``TooFewFaces``.
        label: what progress lines call it.

    Returns:
        one entry a pair, in the order in which the datasets first appear; none for one dataset.
    """
    names = list(combinations(dict.fromkeys(datasets.tolist()), 2))
    pairs: list[Pair[Found]] = []
    if not names:
        return pairs
    with Progress(label, total=len(names), unit="pair") as progress:
        for first, second in names:
            rows = np.flatnonzero((datasets == first) | (datasets == second))
            try:
                pairs.append(Pair(first, second, measure(rows), None))
            except TooFewFaces as reason:
                pairs.append(Pair(first, second, None, str(reason)))
            progress.update(1)
    return pairs
