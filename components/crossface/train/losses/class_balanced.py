"""``loss: class_balanced``: class-balanced loss, Cui et al. (CVPR 2019), *Class-Balanced Loss Based on
Effective Number of Samples*.

CB = -sum_j w_j target_j log p_j with w_j in proportion to (1 - beta) / (1 - beta^n_j), n_j being the train
samples of class j: the paper's class-balanced softmax cross entropy, for soft targets too. Each group has
its own counts.
"""

from torch import Tensor

from crossface.train.losses.base import ClassificationLoss, LossValue
from crossface.train.losses.class_weights import effective_number
from crossface.train.losses.cross_entropy import cross_entropy


class ClassBalanced(ClassificationLoss):
    """Cross entropy weighted by the effective number of samples.

    Args:
        counts: int64 [groups, classes], train samples.
        beta: 0 <= beta < 1; (N - 1) / N where a class is thought to hold N distinct samples.
    """

    weights: Tensor

    def __init__(self, counts: Tensor, beta: float) -> None:
        super().__init__()
        self.register_buffer("weights", effective_number(counts, beta), persistent=False)

    def forward(
        self,
        features: Tensor,
        logits: Tensor,
        target: Tensor,
        classes: Tensor,
        group: Tensor,
        progress: float,
    ) -> LossValue:
        """The loss of one batch; see :class:`ClassificationLoss`."""
        total = cross_entropy(logits.float().log_softmax(-1), target, self.weights[group])
        return LossValue(total, self.weights.mean(0))
