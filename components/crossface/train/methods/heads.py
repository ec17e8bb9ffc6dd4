"""``adapt: heads``: an emotion classifier a dataset on shared features, and no adversary.

L = L_e(e_z(f(x)), y). Datasets differ in how they were labelled and in how often an emotion occurs;
classifiers of their own let them, and are hard to beat: "domain-independent training" in Wang et al.,
*Towards Fairness in Visual Recognition: Effective Strategies for Bias Mitigation* (CVPR 2020).
"""

from torch import Tensor

from crossface.data.emotions import EMOTIONS
from crossface.train.config import TrainConfig
from crossface.train.losses import build_emotion_loss
from crossface.train.losses.targets import one_hot, smooth
from crossface.train.methods.base import Method, StepLoss, Task, own_logits


class SeparateHeads(Method):
    """A head a dataset; a sample trains its own dataset's head only."""

    def __init__(self, config: TrainConfig, task: Task, width: int) -> None:
        super().__init__(config, task, width)
        self.emotion_loss = build_emotion_loss(config, task.counts, width)

    @classmethod
    def heads(cls, datasets: tuple[str, ...]) -> tuple[str, ...]:
        """One head for each dataset."""
        return datasets

    def forward(
        self, features: Tensor, head_logits: Tensor, emotion: Tensor, dataset: Tensor, progress: float
    ) -> StepLoss:
        """L_e."""
        target = smooth(one_hot(emotion, len(EMOTIONS)), self.config.label_smoothing)
        logits = own_logits(head_logits, dataset)
        return StepLoss.of_emotion(self.emotion_loss(features, logits, target, emotion, dataset, progress))
