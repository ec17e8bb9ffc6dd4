"""Adaptive cross entropy (ACE), Han et al. (IEEE Access 2020), equations 10 to 13.

Weights are computed per mini-batch, detached, and without a device-to-host synchronisation. Where the paper
is silent: a class that is absent from the batch is left out (c is the number of classes present; with an
epsilon instead, one absent class would take nearly all the weight); when every class is perfect, or only one
is present, equation 12 is 0/0 and the loss is plain cross entropy; alpha = 0 is exactly plain cross entropy,
as the paper says, although equation 13 would scale it by the mean weight; weights below 0 (alpha > 1) are 0.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def class_counts(
    classes: Tensor, hits: Tensor, groups: Tensor, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Count samples and hits of each class within each group of a batch.

    Args:
        classes: int64 [n], the hard labels.
        hits: bool [n], whether the prediction was right.
        groups: int64 [n], which loss a sample belongs to (its dataset's head).
        shape: (groups, classes).

    Returns:
        n_j and h_j, float32 [groups, classes] each.
    """
    cell = groups * shape[1] + classes
    ones = torch.ones_like(cell, dtype=torch.float32)
    zeros = ones.new_zeros(shape[0] * shape[1])
    return zeros.index_add(0, cell, ones).view(shape), zeros.index_add(0, cell, hits.float()).view(shape)


def ace_weights(count: Tensor, hit: Tensor, alpha: Tensor | float, normalize: bool = False) -> Tensor:
    """Class weights f(w_p w_d, alpha) of equations 11 to 13.

    Args:
        count: n_j, float [..., classes].
        hit: h_j, float [..., classes].
        alpha: how far to go from cross entropy (0) to ACE (1).
        normalize: divide by the mean over the classes present.

    Returns:
        float [..., classes]; an absent class, which no hard label asks for, has the mean weight.
    """
    present = count > 0
    classes = present.sum(-1, keepdim=True)
    share = count / count.sum(-1, keepdim=True).clamp(min=1)
    w_d = classes * (1 - share) / (classes - 1).clamp(min=1)  # eq 11
    miss = torch.where(present, 1 - hit / count.clamp(min=1), 0.0)
    misses = miss.sum(-1, keepdim=True)
    w_p = classes * miss / torch.where(misses > 0, misses, 1.0)  # eq 12
    w = torch.where(present, w_p * w_d, 0.0)
    mean = w.sum(-1, keepdim=True) / classes.clamp(min=1)
    weights = torch.where(present, mean + alpha * (w - mean), mean).clamp(min=0)  # eq 13
    if normalize:
        weights = weights / torch.where(mean > 0, mean, 1.0)
    plain = (misses == 0) | (classes <= 1) | (torch.as_tensor(alpha) == 0)
    return torch.where(plain, 1.0, weights)


def cross_entropy(log_probabilities: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Equation 10 in column form: the batch mean of -sum_j weight_j target_j log p_j.

    Args:
        log_probabilities: float [n, classes].
        targets: float [n, classes], one-hot or soft.
        weights: float [n, classes], or None for the plain cross entropy of equation 8.
    """
    weighted = targets if weights is None else targets * weights
    return -(weighted * log_probabilities).sum(-1).mean()


def alpha_steps(progress: float) -> float:
    """Alpha after a share of training: .1, .5, .9 and 1 from 0, 1/4, 1/2 and 3/4 on."""
    return (0.1, 0.5, 0.9, 1.0)[min(int(progress * 4), 3)]


def one_hot(classes: Tensor, number: int) -> Tensor:
    """int64 [n] -> float32 [n, number]."""
    return F.one_hot(classes, number).float()
