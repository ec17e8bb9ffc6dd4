"""``adapt: cda``: cross-dataset adaptation, Han et al. (IEEE Access 2020), equations 1 to 7.

One forward pass, L_d = L(d([GRL_l1(f(x)), GRL_l2(g(y))]), z); minimise L_e + L_2 + L_d. Gradients then are

=========  ====================================================================
theta_f    dL_e - lambda_1 dL_d                                          (eq 5)
theta_g    dL_2 - lambda_2 dL_d; nothing of L_e, g(y) is detached there  (eq 6)
theta_e    dL_e                                                          (eq 7)
theta_d    dL_d, not scaled by lambda                                    (eq 7)
=========  ====================================================================

With ``label_extractor.kind: per_dataset``, our extension, g(y, z) sees the dataset too.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from crossface.data.emotions import EMOTIONS
from crossface.model.networks import LabelExtractor
from crossface.train.config import TrainConfig
from crossface.train.losses.class_weights import inverse_frequency
from crossface.train.losses.cross_entropy import cross_entropy
from crossface.train.losses.targets import one_hot, smooth
from crossface.train.methods.adversary import DatasetAdversary
from crossface.train.methods.base import StepLoss, Task, own_logits
from crossface.train.methods.heads import SeparateHeads
from crossface.train.reversal import reverse_gradient

_WARM_START_STEPS = 100
_WARM_START_SMOOTHING = 0.1


class CrossDatasetAdaptation(SeparateHeads):
    """A head a dataset, and a dataset classifier that f and g learn to mislead."""

    label_weights: Tensor

    def __init__(self, config: TrainConfig, task: Task, width: int) -> None:
        super().__init__(config, task, width)
        datasets = len(task.datasets)
        self.per_dataset = config.label_extractor.kind == "per_dataset"
        self.label_extractor = LabelExtractor(
            config.label_extractor.dropout, datasets if self.per_dataset else 0
        )
        self.adversary = DatasetAdversary(config.adversary, width, datasets, len(EMOTIONS))
        balanced = config.label_extractor.balanced
        weights = inverse_frequency(task.counts) if balanced else torch.ones(task.counts.shape)
        self.register_buffer("label_weights", weights, persistent=False)
        self._warm_start()

    def forward(
        self, features: Tensor, head_logits: Tensor, emotion: Tensor, dataset: Tensor, progress: float
    ) -> StepLoss:
        """L_e + L_2 + L_d; both lambdas grow linearly from 0 to their largest value."""
        pseudo = self._pseudo_labels(emotion, dataset)
        logits = own_logits(head_logits, dataset)
        target = smooth(pseudo.detach(), self.config.label_smoothing)
        emotion_loss = self.emotion_loss(features, logits, target, emotion, dataset, progress)  # L_e, eq 1
        label_loss = self._label_loss(pseudo, emotion, dataset)  # L_2, eq 1
        reversed_pseudo = reverse_gradient(pseudo, progress * self.config.label_extractor.lambda_max)
        return (
            StepLoss.of_emotion(emotion_loss)
            .plus(label_loss, {"loss_label": label_loss.detach()})
            .plus(*self.adversary(features, dataset, progress, reversed_pseudo))
        )

    def adversary_parameters(self) -> Iterator[nn.Parameter]:
        """Those of the dataset classifier."""
        return self.adversary.parameters()

    def describe(self) -> dict[str, list[list[float]]]:
        """What g has learned: row y is g(y) without dropout; a table for each dataset if g sees z."""
        was_training = self.label_extractor.training
        self.label_extractor.eval()
        with torch.no_grad():
            tables = self._pseudo_labels(*self._every_label()).view(-1, len(EMOTIONS), len(EMOTIONS)).tolist()
        self.label_extractor.train(was_training)
        if not self.per_dataset:
            return {"label_extractor": tables[0]}
        return {
            f"label_extractor/{name}": table for name, table in zip(self.task.datasets, tables, strict=True)
        }

    def _pseudo_labels(self, emotion: Tensor, dataset: Tensor) -> Tensor:
        """g(y), or g(y, z): int64 [n] each -> float32 [n, 7], rows sum to 1."""
        labels = one_hot(emotion, len(EMOTIONS))
        if self.per_dataset:
            labels = torch.cat([labels, one_hot(dataset, len(self.task.datasets))], dim=1)
        return self.label_extractor(labels).float().softmax(-1)

    def _label_loss(self, pseudo: Tensor, emotion: Tensor, dataset: Tensor) -> Tensor:
        """L_2, read as the mean squared error of g(y) to the one-hot y."""
        error = (pseudo - one_hot(emotion, len(EMOTIONS))).square().mean(-1)
        return (self.label_weights[dataset, emotion] * error).mean()

    def _every_label(self) -> tuple[Tensor, Tensor]:
        """Each emotion of each dataset that g tells apart, dataset by dataset: emotion and dataset, int64."""
        device = self.label_weights.device
        datasets = len(self.task.datasets) if self.per_dataset else 1
        emotion = torch.arange(len(EMOTIONS), device=device).repeat(datasets)
        return emotion, torch.arange(datasets, device=device).repeat_interleave(len(EMOTIONS))

    def _warm_start(self) -> None:
        """Teach g the identity, so that training starts from the true labels and not from uniform ones.

        Smoothed, because the softmax of a g that is certain has no gradient and could never move again.
        """
        emotion, dataset = self._every_label()
        target = smooth(one_hot(emotion, len(EMOTIONS)), _WARM_START_SMOOTHING)
        optimizer = torch.optim.Adam(self.label_extractor.parameters(), lr=2e-3, fused=True)
        for _ in range(_WARM_START_STEPS):
            cross_entropy(self._pseudo_labels(emotion, dataset).log(), target).backward()
            optimizer.step()
            optimizer.zero_grad()
