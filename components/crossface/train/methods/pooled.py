"""``adapt: none``: the datasets as if they were one, the usual baseline (Table 4, "Baseline")."""

import torch
from torch import Tensor

from crossface.model.config import POOLED_HEAD
from crossface.train.ace import cross_entropy, one_hot
from crossface.train.config import TrainConfig
from crossface.train.methods.base import EMOTION_COUNT, Method, StepLoss, mean_weight


class Pooled(Method):
    """One emotion classifier on all samples, with cross entropy (equation 8) or ACE (equation 10)."""

    def __init__(self, config: TrainConfig, datasets: tuple[str, ...], width: int) -> None:
        super().__init__(config, datasets, width)

    @classmethod
    def heads(cls, datasets: tuple[str, ...]) -> tuple[str, ...]:
        """One head for all."""
        return (POOLED_HEAD,)

    def forward(
        self, features: Tensor, head_logits: Tensor, emotion: Tensor, dataset: Tensor, progress: float
    ) -> StepLoss:
        """L(e(f(x)), y)."""
        logits = head_logits[0].float()
        weights = None
        if self.config.loss == "ace":
            one_group = torch.zeros_like(emotion)
            weights = self.class_weights(logits, emotion, one_group, (1, EMOTION_COUNT), progress)
        loss = cross_entropy(logits.log_softmax(-1), one_hot(emotion, EMOTION_COUNT), weights)
        return StepLoss(loss, {"loss_emotion": loss.detach(), **mean_weight(weights, emotion)})
