"""Which epoch's weights are kept, and when there is no use in going on."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from crossface.train.config import TrainConfig

SCORE = "dev_balanced_accuracy"
"""What epochs are compared by: the mean over the datasets of the balanced accuracy on their dev splits."""


@dataclass
class Selection:
    """Keeps the best epoch, or the last."""

    config: TrainConfig
    kept: dict[str, float] = field(default_factory=dict)
    """The history's row of the epoch that is kept."""
    weights: dict[str, Tensor] = field(default_factory=dict)
    """Its weights, on the CPU."""

    def offer(self, row: dict[str, float], weights: dict[str, Tensor]) -> None:
        """See an epoch's row of the history; its weights are copied if they are kept."""
        if self.config.select == "last" or row[SCORE] > self.kept.get(SCORE, -math.inf):
            self.kept = row
            self.weights = {name: value.detach().cpu().clone() for name, value in weights.items()}

    def is_over(self, epoch: int) -> bool:
        """Whether training may stop after ``epoch``."""
        if not self.config.patience or not self.kept:
            return False
        return epoch - self.kept["epoch"] >= self.config.patience
