"""``adapt: cda``: cross-dataset adaptation, Han et al. (IEEE Access 2020), equations 1 to 7.

One forward pass, L_d = L(d([GRL_l1(f(x)), GRL_l2(g(y))]), z); minimise L_e + L_2 + L_d. Gradients then are

=========  ====================================================================
theta_f    dL_e - lambda_1 dL_d                                          (eq 5)
theta_g    dL_2 - lambda_2 dL_d; nothing of L_e, g(y) is detached there  (eq 6)
theta_e    dL_e                                                          (eq 7)
theta_d    dL_d, not scaled by lambda                                    (eq 7)
=========  ====================================================================
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossface.model.networks import DatasetClassifier, LabelExtractor
from crossface.train.ace import cross_entropy, one_hot
from crossface.train.config import TrainConfig
from crossface.train.methods.base import EMOTION_COUNT, Method, StepLoss, mean_weight, own_logits
from crossface.train.reversal import reverse_gradient

_WARM_START_STEPS = 300
_WARM_START_SMOOTHING = 0.1


class CrossDatasetAdaptation(Method):
    """A head a dataset, and a dataset classifier that f and g learn to mislead."""

    def __init__(self, config: TrainConfig, datasets: tuple[str, ...], width: int) -> None:
        super().__init__(config, datasets, width)
        self.label_extractor = LabelExtractor(config.cda.label_dropout)
        self.dataset_classifier = DatasetClassifier(width, len(datasets), config.cda.normalize_features)
        self._warm_start()

    @classmethod
    def heads(cls, datasets: tuple[str, ...]) -> tuple[str, ...]:
        """One head for each dataset."""
        return datasets

    def forward(
        self, features: Tensor, head_logits: Tensor, emotion: Tensor, dataset: Tensor, progress: float
    ) -> StepLoss:
        """L_e + L_2 + L_d; both lambdas grow linearly from 0 to their largest value."""
        truth = one_hot(emotion, EMOTION_COUNT)
        pseudo = self.label_extractor(truth).float().softmax(-1)
        logits = own_logits(head_logits, dataset).float()
        weights = None
        if self.config.loss == "ace":
            heads = (len(self.datasets), EMOTION_COUNT)
            weights = self.class_weights(logits, emotion, dataset, heads, progress)
        emotion_loss = cross_entropy(
            logits.log_softmax(-1), pseudo.detach(), weights
        )  # L_e without L_2, eq 1
        label_loss = F.mse_loss(pseudo, truth)  # L_2, eq 1
        dataset_loss, dataset_hits = self._dataset_loss(features, pseudo, dataset, progress)
        parts = {
            "loss_emotion": emotion_loss.detach(),
            "loss_label": label_loss.detach(),
            "loss_dataset": dataset_loss.detach(),
            "dataset_accuracy": dataset_hits.mean(),
            **mean_weight(weights, emotion),
        }
        return StepLoss(emotion_loss + label_loss + dataset_loss, parts)

    def adversary_parameters(self) -> Iterator[nn.Parameter]:
        """Those of the dataset classifier."""
        return self.dataset_classifier.parameters()

    def describe(self) -> dict[str, list[list[float]]]:
        """The table g has learned: row y is the pseudo label g(y), without dropout."""
        return {"label_extractor": self.pseudo_labels().tolist()}

    def pseudo_labels(self) -> Tensor:
        """g(y) for the seven emotions, without dropout: float [7, 7], rows sum to 1."""
        was_training = self.label_extractor.training
        self.label_extractor.eval()
        with torch.no_grad():
            eye = torch.eye(EMOTION_COUNT, device=next(self.parameters()).device)
            table = self.label_extractor(eye).float().softmax(-1)
        self.label_extractor.train(was_training)
        return table

    def _dataset_loss(
        self, features: Tensor, pseudo: Tensor, dataset: Tensor, progress: float
    ) -> tuple[Tensor, Tensor]:
        cda = self.config.cda
        logits = self.dataset_classifier(
            reverse_gradient(features, progress * cda.lambda_features),
            reverse_gradient(pseudo, progress * cda.lambda_labels),
        ).float()
        count = len(self.datasets)
        weights = None
        if cda.dataset_loss == "ace":
            weights = self.class_weights(logits, dataset, torch.zeros_like(dataset), (1, count), progress)
        target = one_hot(dataset, count) * (1 - cda.dataset_smoothing) + cda.dataset_smoothing / count
        hits = (logits.argmax(-1) == dataset).float()
        return cross_entropy(logits.log_softmax(-1), target, weights), hits

    def _warm_start(self) -> None:
        """Teach g the identity, so that training starts from the true labels and not from uniform ones.

        Smoothed, because the softmax of a g that is certain has no gradient and could never move again.
        """
        eye = torch.eye(EMOTION_COUNT)
        optimizer = torch.optim.Adam(self.label_extractor.parameters(), lr=1e-3)
        for _ in range(_WARM_START_STEPS):
            optimizer.zero_grad()
            F.cross_entropy(self.label_extractor(eye), eye, label_smoothing=_WARM_START_SMOOTHING).backward()
            optimizer.step()
