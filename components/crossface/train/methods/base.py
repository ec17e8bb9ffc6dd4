"""What a method is to the trainer."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crossface.data.emotions import EMOTIONS
from crossface.train.ace import ace_weights, alpha_steps, class_counts
from crossface.train.config import TrainConfig


@dataclass(frozen=True)
class StepLoss:
    """What to minimise, and its parts for the history: detached scalars, still on the device."""

    total: Tensor
    parts: dict[str, Tensor]


class Method(nn.Module, ABC):
    """A training objective with the parts of the network that only training needs."""

    def __init__(self, config: TrainConfig, datasets: tuple[str, ...], width: int) -> None:
        super().__init__()
        self.config = config
        self.datasets = datasets

    @classmethod
    @abstractmethod
    def heads(cls, datasets: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the emotion classifiers this method trains."""

    @abstractmethod
    def forward(
        self, features: Tensor, head_logits: Tensor, emotion: Tensor, dataset: Tensor, progress: float
    ) -> StepLoss:
        """The objective for one batch.

        Args:
            features: f(x), float [n, width].
            head_logits: float [heads, n, 7].
            emotion: y, int64 [n].
            dataset: z, int64 [n].
            progress: share of training that is done, 0 to 1.
        """

    def adversary_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of what works against the network; none by default."""
        return iter(())

    def describe(self) -> dict[str, list[list[float]]]:
        """Small tables that a method has learned, for the logs; nothing by default."""
        return {}

    def class_weights(
        self, logits: Tensor, classes: Tensor, groups: Tensor, shape: tuple[int, int], progress: float
    ) -> Tensor:
        """ACE weights for each sample, float [n, classes].

        Args:
            logits: float [n, classes], from the same forward pass.
            classes: int64 [n], the hard labels.
            groups: int64 [n], 0 <= group < shape[0].
            shape: (groups, classes).
            progress: share of training that is done.
        """
        alpha = alpha_steps(progress) if self.config.ace_alpha == "steps" else self.config.ace_alpha
        with torch.no_grad():
            counts = class_counts(classes, logits.argmax(-1) == classes, groups, shape)
            return ace_weights(*counts, alpha=alpha, normalize=self.config.ace_normalize)[groups]


def mean_weight(weights: Tensor | None, classes: Tensor) -> dict[str, Tensor]:
    """The mean weight that the samples got, for the history: how ACE scales the loss."""
    if weights is None:
        return {}
    return {"ace_weight": weights.gather(1, classes[:, None]).mean()}


def own_logits(head_logits: Tensor, dataset: Tensor) -> Tensor:
    """The logits of each sample's own head: float [heads, n, c], int64 [n] -> [n, c].

    Selecting here is what makes a sample train its own dataset's head only.
    """
    return head_logits[dataset, torch.arange(len(dataset), device=dataset.device)]


EMOTION_COUNT = len(EMOTIONS)
