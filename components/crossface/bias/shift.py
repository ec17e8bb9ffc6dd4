"""Label shift: how far the class priors of datasets lie apart.

Jensen-Shannon divergence: Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. Inf. Theory
37(1), 1991. Total variation and mutual information: Cover & Thomas, "Elements of Information Theory".
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import mutual_info_score

from crossface.data.emotions import EMOTIONS


@dataclass(frozen=True)
class PriorDistance:
    """How far apart the class priors of two datasets are."""

    first: str
    second: str
    jensen_shannon: float
    total_variation: float


def class_counts(emotions: np.ndarray) -> np.ndarray:
    """Faces of each of the seven emotions: int64 [7] of int64 [n]."""
    return np.bincount(emotions, minlength=len(EMOTIONS))


def jensen_shannon_divergence(p: np.ndarray, q: np.ndarray) -> float:
    """JSD(P, Q) = (KL(P||M) + KL(Q||M)) / 2 with M = (P + Q) / 2, in bits: 0 when equal, 1 when disjoint.

    Args:
        p: counts or probabilities [c], not all zero.
        q: likewise.
    """
    return float(jensenshannon(p, q, base=2) ** 2)


def total_variation(p: np.ndarray, q: np.ndarray) -> float:
    """TV(P, Q) = sum_y |p(y) - q(y)| / 2: the share of faces to relabel to turn P into Q.

    Args:
        p: counts or probabilities [c], not all zero.
        q: likewise.
    """
    return float(np.abs(p / p.sum() - q / q.sum()).sum() / 2)


def mutual_information(counts: np.ndarray) -> float:
    """I(Y;Z) = sum_yz p(y,z) log2(p(y,z) / (p(y) p(z))), bits that a label gives away of its dataset.

    Args:
        counts: faces, int64 [datasets, classes].
    """
    return float(mutual_info_score(None, None, contingency=counts) / np.log(2))


def prior_distances(counts: dict[str, np.ndarray]) -> list[PriorDistance]:
    """Distances of the class priors of every pair of datasets.

    Args:
        counts: faces a class of each dataset, int64 [7]; datasets without faces are left out.
    """
    return [
        PriorDistance(
            a, b, jensen_shannon_divergence(counts[a], counts[b]), total_variation(counts[a], counts[b])
        )
        for a, b in combinations([name for name, count in counts.items() if count.sum()], 2)
    ]
