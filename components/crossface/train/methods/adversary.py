"""The dataset classifier d behind its gradient reversal, the rival of ``adapt: dann`` and ``adapt: cda``.

d minimises L_d(d(GRL(f(x))), z), which f, behind the reversal, maximises: Ganin & Lempitsky, *Unsupervised
Domain Adaptation by Backpropagation* (ICML 2015). The strength lambda of the reversal grows linearly from 0
to ``lambda_max``; d itself receives dL_d, not scaled by it.
"""

import torch
from torch import Tensor, nn

from crossface.model.networks import DatasetClassifier
from crossface.train.config import AdversaryConfig
from crossface.train.distributed import sum_over_processes
from crossface.train.losses.ace import AdaptiveCrossEntropy
from crossface.train.losses.base import ClassificationLoss
from crossface.train.losses.cross_entropy import CrossEntropy
from crossface.train.losses.targets import one_hot, smooth
from crossface.train.reversal import reverse_gradient


class DatasetAdversary(nn.Module):
    """d and its loss.

    Args:
        config: of the adversary.
        width: of the features.
        datasets: K, number of datasets.
        label_width: of the pseudo labels that d also sees; 0: it sees features only.
    """

    def __init__(self, config: AdversaryConfig, width: int, datasets: int, label_width: int = 0) -> None:
        super().__init__()
        self.config = config
        self.datasets = datasets
        self.classifier = DatasetClassifier(width, datasets, config.normalize, label_width)
        self.loss: ClassificationLoss = CrossEntropy()
        if config.loss == "ace":
            self.loss = AdaptiveCrossEntropy(config.ace_alpha, normalize=False, groups=1, classes=datasets)

    def forward(
        self, features: Tensor, dataset: Tensor, progress: float, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L_d, and parts for the history: ``loss_dataset``, ``dataset_accuracy`` and ``lambda``.

        Args:
            features: f(x), float [n, width].
            dataset: z, int64 [n].
            progress: share of training that is done, 0 to 1.
            labels: float [n, label_width], behind a reversal of their own.
        """
        strength = progress * self.config.lambda_max
        logits = self.classifier(reverse_gradient(features, strength), labels).float()
        target = smooth(one_hot(dataset, self.datasets), self.config.smoothing)
        one_group = torch.zeros_like(dataset)
        loss = self.loss(features, logits, target, dataset, one_group, progress).total
        parts = {
            "loss_dataset": loss.detach(),
            "dataset_accuracy": _accuracy(logits, dataset),
            "lambda": loss.new_full((), strength),
        }
        return loss, parts


def _accuracy(logits: Tensor, classes: Tensor) -> Tensor:
    """Share of right answers in the batch of all processes: a scalar."""
    hits = (logits.detach().argmax(-1) == classes).float()
    right, all_samples = sum_over_processes(torch.stack([hits.sum(), torch.ones_like(hits).sum()]))
    return right / all_samples
