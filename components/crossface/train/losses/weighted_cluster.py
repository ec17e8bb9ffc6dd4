"""``loss: weighted_cluster``: the weighted-cluster loss, after Ngo & Yoon (Sensors 2020, 20(9), 2639),
*Facial Expression Recognition Based on Weighted-Cluster Loss and Deep Transfer Learning Using a Highly
Imbalanced Dataset*, doi 10.3390/s20092639.

With features x_i of class y_i, class centres c_j that are learned, and class weights w_j:

    L = L_S + lambda L_C
    L_S = -1/n sum_i w_y_i log p_i,y_i                                        weighted softmax
    L_C = 1/2n sum_i w_y_i ||x_i - c_y_i||^2 / (sum_j ||c_y_i - c_j||^2 + 1)  weighted cluster

The numerator pulls a sample to the centre of its class, the denominator pushes the centres apart. We know
the quotient from public reimplementations, which agree on it, not from the article itself. Ours are: the
mean over the batch, for a sum; weights in proportion to 1 / n_j with a mean of 1, for n_min / n_j; centres
that the network's optimiser learns, for a step and a rate of their own; class weights for each group, with
centres in common; and a target that may be soft in L_S.
"""

import torch
from torch import Tensor, nn

from crossface.train.losses.base import ClassificationLoss, LossValue
from crossface.train.losses.class_weights import inverse_frequency
from crossface.train.losses.cross_entropy import cross_entropy


class WeightedCluster(ClassificationLoss):
    """Weighted cross entropy, and clusters of features around learned class centres.

    Args:
        counts: int64 [groups, classes], train samples.
        width: of the features.
        weight: lambda, how much the cluster part counts.
    """

    weights: Tensor

    def __init__(self, counts: Tensor, width: int, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.register_buffer("weights", inverse_frequency(counts), persistent=False)
        # about unit length, so that the 1 of the denominator neither rules nor vanishes at first
        self.centres = nn.Parameter(torch.randn(counts.shape[1], width) * width**-0.5)

    def forward(
        self,
        features: Tensor,
        logits: Tensor,
        target: Tensor,
        classes: Tensor,
        group: Tensor,
        progress: float,
    ) -> LossValue:
        """The loss of one batch; see :class:`ClassificationLoss`. The clusters go by the hard labels."""
        softmax_part = cross_entropy(logits.float().log_softmax(-1), target, self.weights[group])
        within = (features.float() - self.centres[classes]).square().sum(-1)
        between = (self.centres[:, None] - self.centres).square().sum((1, 2))
        cluster_part = (self.weights[group, classes] * within / (between[classes] + 1)).mean() / 2
        return LossValue(softmax_part + self.weight * cluster_part, self.weights.mean(0))
