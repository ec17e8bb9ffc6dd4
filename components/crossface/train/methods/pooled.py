"""``adapt: none``: the datasets as if they were one, the usual baseline.

L = L_e(e(f(x)), y) with one emotion classifier e: Han et al. (IEEE Access 2020), equation 8, and the
"Baseline" of Table 4.
"""

import torch
from torch import Tensor

from crossface.data.emotions import EMOTIONS
from crossface.model.config import POOLED_HEAD
from crossface.train.config import TrainConfig
from crossface.train.losses import build_emotion_loss
from crossface.train.losses.targets import one_hot, smooth
from crossface.train.methods.base import Method, StepLoss, Task


class Pooled(Method):
    """One emotion classifier on all samples."""

    def __init__(self, config: TrainConfig, task: Task, width: int) -> None:
        super().__init__(config, task, width)
        self.emotion_loss = build_emotion_loss(config, task.counts.sum(0, keepdim=True), width)

    @classmethod
    def heads(cls, datasets: tuple[str, ...]) -> tuple[str, ...]:
        """One head for all."""
        return (POOLED_HEAD,)

    def forward(
        self, features: Tensor, head_logits: Tensor, emotion: Tensor, dataset: Tensor, progress: float
    ) -> StepLoss:
        """L_e."""
        target = smooth(one_hot(emotion, len(EMOTIONS)), self.config.label_smoothing)
        one_group = torch.zeros_like(dataset)
        return StepLoss.of_emotion(
            self.emotion_loss(features, head_logits[0], target, emotion, one_group, progress)
        )
