"""``loss: ce``: cross entropy, equation 8 of Han et al. (IEEE Access 2020), for hard and soft targets."""

from torch import Tensor

from crossface.train.losses.base import ClassificationLoss, LossValue


def cross_entropy(log_probabilities: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """The batch mean of -sum_j weight_j target_j log p_j.

    The mean is over samples, not over their weights: halves of a batch then average to the whole.

    Args:
        log_probabilities: float [n, classes].
        target: float [n, classes], one-hot or soft.
        weights: float [n, classes]; None: all 1.

    Returns:
        Scalar.
    """
    weighted = target if weights is None else target * weights
    return -(weighted * log_probabilities).sum(-1).mean()


class CrossEntropy(ClassificationLoss):
    """-sum_j target_j log p_j."""

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
        return LossValue(cross_entropy(logits.float().log_softmax(-1), target))
