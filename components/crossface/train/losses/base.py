"""What a loss is to a method."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class LossValue:
    """A loss and how it weighted the classes."""

    total: Tensor
    """Scalar, the mean over the batch."""
    class_weights: Tensor | None = None
    """float [classes], detached: the weight of each class, averaged over the groups; None: all alike."""


class ClassificationLoss(nn.Module, ABC):
    """A loss of classifiers. Samples fall into groups (the datasets' heads), each weighted by itself."""

    @abstractmethod
    def forward(
        self,
        features: Tensor,
        logits: Tensor,
        target: Tensor,
        classes: Tensor,
        group: Tensor,
        progress: float,
    ) -> LossValue:
        """The loss of one batch.

        Args:
            features: f(x), float [n, width].
            logits: float32 [n, classes].
            target: float32 [n, classes], rows sum to 1: one-hot, smoothed, or a pseudo label.
            classes: int64 [n], the hard labels.
            group: int64 [n], 0 <= group < groups.
            progress: share of training that is done, 0 to 1.
        """
