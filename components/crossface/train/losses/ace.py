"""``loss: ace``: adaptive cross entropy, Han et al. (IEEE Access 2020), equations 10 to 13.

With n_j samples of class j among n in the batch, of which h_j are predicted right, and c classes:

    w_d^j = c (1 - n_j / n) / (c - 1)                              (eq 11)
    w_p^j = c (1 - h_j / n_j) / sum_k (1 - h_k / n_k)              (eq 12)
    weight_j = mean(w) + alpha (w_j - mean(w)), w_j = w_p^j w_d^j  (eq 13)
    ACE = -1/n sum_i sum_j weight_j target_ij log p_ij             (eq 10)

Weights are computed per mini-batch, detached, and without a device-to-host synchronisation. Where the paper
is silent: a class that is absent from the batch is left out (c is the number of classes present; with an
epsilon instead, one absent class would take nearly all the weight); when every class is perfect, or only one
is present, equation 12 is 0/0 and the loss is plain cross entropy; alpha = 0 is exactly plain cross entropy,
as the paper says, although equation 13 would scale it by the mean weight; weights below 0 (alpha > 1) are 0.
"""

import torch
from torch import Tensor

from crossface.train.config import Alpha
from crossface.train.distributed import sum_over_processes
from crossface.train.losses.base import ClassificationLoss, LossValue
from crossface.train.losses.cross_entropy import cross_entropy


class AdaptiveCrossEntropy(ClassificationLoss):
    """Cross entropy whose class weights follow the batch, each group by itself.

    Args:
        alpha: how far to go from cross entropy (0) to ACE (1); ``steps`` as :func:`alpha_steps`.
        normalize: scale the weights to a mean of 1.
        groups: number of groups.
        classes: number of classes.
    """

    def __init__(self, alpha: Alpha, normalize: bool, groups: int, classes: int) -> None:
        super().__init__()
        self.alpha = alpha
        self.normalize = normalize
        self.shape = (groups, classes)

    def forward(
        self,
        features: Tensor,
        logits: Tensor,
        target: Tensor,
        classes: Tensor,
        group: Tensor,
        progress: float,
    ) -> LossValue:
        """The loss of one batch; see :class:`ClassificationLoss`. Counts are those of all processes."""
        alpha = alpha_steps(progress) if self.alpha == "steps" else self.alpha
        hits = logits.detach().argmax(-1) == classes
        counts = sum_over_processes(torch.stack(class_counts(classes, hits, group, self.shape)))
        weights = ace_weights(counts[0], counts[1], alpha, self.normalize)
        total = cross_entropy(logits.float().log_softmax(-1), target, weights[group])
        return LossValue(total, weights.mean(0))


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


def ace_weights(count: Tensor, hit: Tensor, alpha: float, normalize: bool = False) -> Tensor:
    """Class weights f(w_p w_d, alpha) of equations 11 to 13.

    Args:
        count: n_j, float [..., classes].
        hit: h_j, float [..., classes].
        alpha: how far to go from cross entropy (0) to ACE (1).
        normalize: divide by the mean over the classes present.

    Returns:
        float [..., classes]; an absent class, which no hard label asks for, has the mean weight.
    """
    if alpha == 0:
        return torch.ones_like(count)
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
    return torch.where((misses == 0) | (classes <= 1), 1.0, weights)


def alpha_steps(progress: float) -> float:
    """Alpha after a share of training: .1, .5, .9 and 1 from 0, 1/4, 1/2 and 3/4 on."""
    return (0.1, 0.5, 0.9, 1.0)[min(int(progress * 4), 3)]
