"""What a method is to the trainer."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from crossface.train.config import TrainConfig
from crossface.train.losses.base import LossValue


@dataclass(frozen=True)
class Task:
    """What there is to learn from."""

    datasets: tuple[str, ...]
    counts: Tensor
    """int64 [datasets, 7]: train faces of each emotion in each dataset."""


@dataclass(frozen=True)
class StepLoss:
    """What to minimise, and its parts for the history."""

    total: Tensor
    """Scalar."""
    parts: dict[str, Tensor]
    """Detached, still on the device: scalars, and ``class_weight`` as float [7]."""

    @classmethod
    def of_emotion(cls, loss: LossValue) -> Self:
        """L_e, the loss of the emotion classifiers, which every method begins with."""
        parts = {"loss_emotion": loss.total.detach()}
        if loss.class_weights is not None:
            parts["class_weight"] = loss.class_weights
        return cls(loss.total, parts)

    def plus(self, term: Tensor, parts: dict[str, Tensor]) -> Self:
        """The same and one more term."""
        return replace(self, total=self.total + term, parts={**self.parts, **parts})


class Method(nn.Module, ABC):
    """A training objective with the parts of the network that only training needs.

    Args:
        config: of the training.
        task: the datasets.
        width: of the features f(x).
    """

    def __init__(self, config: TrainConfig, task: Task, width: int) -> None:
        super().__init__()
        self.config = config
        self.task = task

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
        """Small tables that a method has learned, by name, for the logs; nothing by default."""
        return {}


def own_logits(head_logits: Tensor, dataset: Tensor) -> Tensor:
    """The logits of each sample's own head: float [heads, n, c], int64 [n] -> [n, c].

    Selecting here is what makes a sample train its own dataset's head only.
    """
    return head_logits[dataset, torch.arange(len(dataset), device=dataset.device)]
