"""What a classifier should say, as a distribution over the classes."""

from torch import Tensor
from torch.nn import functional as F


def one_hot(classes: Tensor, number: int) -> Tensor:
    """int64 [n] -> float32 [n, number]."""
    return F.one_hot(classes, number).float()


def smooth(target: Tensor, amount: float) -> Tensor:
    """Label smoothing (Szegedy et al., CVPR 2016, section 7): mix a target with the uniform distribution.

    Args:
        target: float [n, classes], rows sum to 1: one-hot, or a pseudo label.
        amount: share of the uniform distribution, 0 to 1.

    Returns:
        (1 - amount) target + amount / classes.
    """
    return target * (1 - amount) + amount / target.shape[1]
