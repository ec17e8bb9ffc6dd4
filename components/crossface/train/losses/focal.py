"""``loss: focal``: Lin et al., *Focal Loss for Dense Object Detection* (ICCV 2017), equation 4.

FL = -(1 - p_y)^gamma log p_y: what is already right counts less. Here over all columns, so that a target
may be soft: FL = -sum_j target_j (1 - p_j)^gamma log p_j. gamma = 0 is cross entropy.
"""

import torch
from torch import Tensor

from crossface.train.losses.base import ClassificationLoss, LossValue


class FocalLoss(ClassificationLoss):
    """Cross entropy that looks away from samples that are already right."""

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

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
        log_p = logits.float().log_softmax(-1)
        # never exactly 0, where the slope of a power below 1 is infinite
        miss = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).eps)
        return LossValue(-(target * miss**self.gamma * log_p).sum(-1).mean())
