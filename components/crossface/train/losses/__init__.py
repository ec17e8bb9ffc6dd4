"""The losses of the emotion classifiers: one module a loss, one interface, one line in the registry."""

from collections.abc import Callable

from torch import Tensor

from crossface.train.config import EmotionLossName, TrainConfig
from crossface.train.losses.ace import AdaptiveCrossEntropy
from crossface.train.losses.base import ClassificationLoss, LossValue
from crossface.train.losses.class_balanced import ClassBalanced
from crossface.train.losses.cross_entropy import CrossEntropy
from crossface.train.losses.focal import FocalLoss
from crossface.train.losses.weighted_cluster import WeightedCluster

EMOTION_LOSSES: dict[EmotionLossName, Callable[[TrainConfig, Tensor, int], ClassificationLoss]] = {
    "ce": lambda config, counts, width: CrossEntropy(),
    "ace": lambda config, counts, width: AdaptiveCrossEntropy(
        config.ace_alpha, config.ace_normalize, *counts.shape
    ),
    "focal": lambda config, counts, width: FocalLoss(config.focal.gamma),
    "class_balanced": lambda config, counts, width: ClassBalanced(counts, config.class_balanced.beta),
    "weighted_cluster": lambda config, counts, width: WeightedCluster(counts, width, config.cluster.weight),
}


def build_emotion_loss(config: TrainConfig, counts: Tensor, width: int) -> ClassificationLoss:
    """Build the loss that ``config.loss`` names.

    Args:
        config: of the training.
        counts: int64 [groups, 7], train samples of each emotion in each group.
        width: of the features.
    """
    return EMOTION_LOSSES[config.loss](config, counts, width)


__all__ = ["EMOTION_LOSSES", "ClassificationLoss", "LossValue", "build_emotion_loss"]
