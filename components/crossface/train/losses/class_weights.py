"""Class weights from how often a class occurs in the train split."""

import torch
from torch import Tensor


def inverse_frequency(counts: Tensor) -> Tensor:
    """Weights in proportion to 1 / n_j.

    Args:
        counts: n_j, int64 [..., classes].

    Returns:
        float32 [..., classes], of mean 1 over the classes present; an absent class weighs 1.
    """
    return _of_mean_one(1 / counts.double(), counts)


def effective_number(counts: Tensor, beta: float) -> Tensor:
    """Weights in proportion to (1 - beta) / (1 - beta^n_j), Cui et al. (CVPR 2019).

    beta = 0 weights all classes alike; towards 1 it becomes :func:`inverse_frequency`.

    Args:
        counts: n_j, int64 [..., classes].
        beta: 0 <= beta < 1.

    Returns:
        float32 [..., classes], of mean 1 over the classes present; an absent class weighs 1.
    """
    return _of_mean_one((1 - beta) / (1 - beta ** counts.double()), counts)


def _of_mean_one(weights: Tensor, counts: Tensor) -> Tensor:
    present = counts > 0
    total = torch.where(present, weights, 0.0).sum(-1, keepdim=True)
    return torch.where(present, weights * present.sum(-1, keepdim=True) / total, 1.0).float()
