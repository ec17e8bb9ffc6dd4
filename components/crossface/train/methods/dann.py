"""``adapt: dann``: domain-adversarial training, Ganin & Lempitsky (ICML 2015), Ganin et al. (JMLR 2016).

L = L_e(e(f(x)), y) + L_d(d(GRL(f(x))), z): theta_f receives dL_e - lambda dL_d. Theirs has one labelled
domain and one without labels, and lambda follows a sigmoid; here every dataset is labelled, and lambda is
linear, which is steadier.
"""

from collections.abc import Iterator

from torch import Tensor, nn

from crossface.train.config import TrainConfig
from crossface.train.methods.adversary import DatasetAdversary
from crossface.train.methods.base import StepLoss, Task
from crossface.train.methods.pooled import Pooled


class DomainAdversarial(Pooled):
    """The pooled classifier on features that a dataset classifier cannot tell apart."""

    def __init__(self, config: TrainConfig, task: Task, width: int) -> None:
        super().__init__(config, task, width)
        self.adversary = DatasetAdversary(config.adversary, width, len(task.datasets))

    def forward(
        self, features: Tensor, head_logits: Tensor, emotion: Tensor, dataset: Tensor, progress: float
    ) -> StepLoss:
        """L_e + L_d."""
        step = super().forward(features, head_logits, emotion, dataset, progress)
        return step.plus(*self.adversary(features, dataset, progress))

    def adversary_parameters(self) -> Iterator[nn.Parameter]:
        """Those of the dataset classifier."""
        return self.adversary.parameters()
