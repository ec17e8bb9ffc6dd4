"""``adapt: coral``: correlation alignment, Sun & Saenko, *Deep CORAL* (ECCV Workshops 2016).

L = L_e(e(f(x)), y) + weight L_coral, where L_coral is the mean over pairs of datasets of ||C_a - C_b||_F^2
/ (4 width^2) (equation 1), and C_a the covariance of the features of dataset a in the batch (equations 2
and 3). Theirs aligns two domains; the mean over pairs is ours.
"""

import itertools

import torch
from torch import Tensor

from crossface.train.distributed import gather_rows
from crossface.train.losses.targets import one_hot
from crossface.train.methods.base import StepLoss
from crossface.train.methods.pooled import Pooled


class DeepCoral(Pooled):
    """The pooled classifier on features with the same covariance in every dataset."""

    def forward(
        self, features: Tensor, head_logits: Tensor, emotion: Tensor, dataset: Tensor, progress: float
    ) -> StepLoss:
        """L_e + weight L_coral; the covariances are those of all processes' batch."""
        step = super().forward(features, head_logits, emotion, dataset, progress)
        loss = coral_loss(gather_rows(features.float()), gather_rows(dataset), len(self.task.datasets))
        return step.plus(self.config.coral.weight * loss, {"loss_coral": loss.detach()})


def coral_loss(features: Tensor, dataset: Tensor, datasets: int) -> Tensor:
    """How far the covariances of the datasets are apart.

    Args:
        features: float [n, width]; covariances are computed in float32 whatever they come in.
        dataset: int64 [n].
        datasets: number of datasets. One of which the batch has fewer than two samples is left out.

    Returns:
        Scalar, the mean over pairs of datasets; 0 where there is no pair.
    """
    with torch.autocast(features.device.type, enabled=False):
        members = one_hot(dataset, datasets)
        counts = members.sum(0)
        covariances = [covariance(features.float(), members[:, key], counts[key]) for key in range(datasets)]
        usable = (counts > 1).float()
        total, pairs = features.new_zeros((), dtype=torch.float32), counts.new_zeros(())
        for a, b in itertools.combinations(range(datasets), 2):
            both = usable[a] * usable[b]
            total = total + both * (covariances[a] - covariances[b]).square().sum()
            pairs = pairs + both
        return total / pairs.clamp(min=1) / (4 * features.shape[1] ** 2)


def covariance(rows: Tensor, member: Tensor, count: Tensor) -> Tensor:
    """Unbiased covariance of the member rows, without picking them out: shapes stay static.

    Args:
        rows: float32 [n, width].
        member: float32 [n], 1 for a member and 0 otherwise.
        count: scalar, the number of members.

    Returns:
        float32 [width, width]; zeros where there are fewer than two.
    """
    mean = member @ rows / count.clamp(min=1)
    centred = (rows - mean) * member[:, None]
    return centred.T @ centred / (count - 1).clamp(min=1)
