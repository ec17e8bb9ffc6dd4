"""The network of Han et al. (IEEE Access 2020), Figure 2 and Table 3.

``f`` is the backbone, ``e_k`` one emotion classifier a dataset; both make up :class:`CrossfaceNet`, which is
what is saved and deployed. ``g`` (:class:`LabelExtractor`) and ``d`` (:class:`DatasetClassifier`) exist
only while training. The paper's "Conv 1x1" on a vector is a Linear layer.
"""

import itertools

import torch
from torch import Tensor, nn

from crossface.data.emotions import EMOTIONS
from crossface.model.config import Backbone, NetConfig

# ImageNet's channel statistics, for pixels in 0..255: the scale that pretrained weights of torchvision expect
_PIXEL_MEAN = (123.675, 116.28, 103.53)
_PIXEL_STD = (58.395, 57.12, 57.375)


class CrossfaceNet(nn.Module):
    """Backbone ``f`` and emotion classifiers ``e_k``."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.backbone, config.feature_dim)
        width = feature_width(self.backbone)
        self.heads = nn.ModuleList(EmotionClassifier(width) for _ in config.heads)

    def head_logits(self, features: Tensor) -> Tensor:
        """Logits of every head for every sample.

        All heads see all samples: shapes stay static and every parameter takes part in every step; who
        learns from whom is decided by the loss.

        Args:
            features: float [n, width].

        Returns:
            float [heads, n, 7].
        """
        return torch.stack([head(features) for head in self.heads])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits.

        Args:
            images: uint8 or float in 0..255, RGB, [n, 3, size, size].

        Returns:
            features float [n, width] and logits float [heads, n, 7].
        """
        features = self.backbone(images)
        return features, self.head_logits(features)


class _Normalize(nn.Module):
    """Pixels 0..255 to channel-wise standard scores, inside the network: no caller can get it wrong."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(_PIXEL_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_PIXEL_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images.to(self.mean.dtype) - self.mean) / self.std


def build_backbone(name: Backbone, feature_dim: int) -> nn.Sequential:
    """Build ``f`` with random weights (seed torch before).

    Args:
        name: a torchvision ResNet, or ``resnet8``: its first three stages, one block each, for small data.
        feature_dim: width of the last linear layer; 0 leaves it out.

    Returns:
        images [n, 3, size, size] in 0..255 -> features float [n, width].
    """
    from torchvision.models import resnet

    blocks = {
        "resnet8": (resnet.BasicBlock, [1, 1, 1, 1]),
        "resnet18": (resnet.BasicBlock, [2, 2, 2, 2]),
        "resnet34": (resnet.BasicBlock, [3, 4, 6, 3]),
        "resnet50": (resnet.Bottleneck, [3, 4, 6, 3]),
    }
    block, layers = blocks[name]
    network = resnet.ResNet(block, layers, num_classes=feature_dim or 1)
    if name == "resnet8":
        network.layer4 = nn.Identity()
        network.fc = nn.Linear(network.fc.in_features // 2, feature_dim or 1)
    if not feature_dim:
        network.fc = nn.Identity()
    return nn.Sequential(_Normalize(), network)


def feature_width(backbone: nn.Module) -> int:
    """Width of the features of :func:`build_backbone`, found by running one small image through it."""
    was_training = backbone.training
    backbone.eval()
    with torch.no_grad():
        width = backbone(torch.zeros(1, 3, 32, 32)).shape[1]
    backbone.train(was_training)
    return width


class EmotionClassifier(nn.Sequential):
    """``e_k`` (Table 3): width-512-256-7 with LeakyReLU; features [n, width] -> logits [n, 7].

    Hidden layers start as He et al. (ICCV 2015) say, and the last one small, so that all classes are about
    equally likely at first: with torch's defaults gradients fade on the way, and the first epochs pass
    at chance.
    """

    def __init__(self, width: int) -> None:
        super().__init__(
            nn.Linear(width, 512),
            nn.LeakyReLU(),
            nn.Linear(512, 256),
            nn.LeakyReLU(),
            nn.Linear(256, len(EMOTIONS)),
        )
        *hidden, last = (layer for layer in self if isinstance(layer, nn.Linear))
        for layer in hidden:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="leaky_relu")
        nn.init.normal_(last.weight, std=0.01)
        for layer in (*hidden, last):
            nn.init.zeros_(layer.bias)


class LabelExtractor(nn.Sequential):
    """``g`` (Table 3): 7-512-512-512-512-256-7, dropout and LeakyReLU after each hidden layer.

    One-hot labels [n, 7] -> logits [n, 7]; their softmax is the pseudo label g(y).
    """

    def __init__(self, dropout: float) -> None:
        widths = [len(EMOTIONS), 512, 512, 512, 512, 256]
        layers: list[nn.Module] = []
        for inner, outer in itertools.pairwise(widths):
            layers += [nn.Linear(inner, outer), nn.Dropout(dropout), nn.LeakyReLU()]
        super().__init__(*layers, nn.Linear(widths[-1], len(EMOTIONS)))


class DatasetClassifier(nn.Module):
    """``d`` (Table 3): (width + 7)-512-256-K on the concatenation of f(x) and g(y)."""

    def __init__(self, width: int, datasets: int, normalize: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if normalize else nn.Identity()
        self.layers = nn.Sequential(
            nn.Linear(width + len(EMOTIONS), 512),
            nn.LeakyReLU(),
            nn.Linear(512, 256),
            nn.LeakyReLU(),
            nn.Linear(256, datasets),
        )

    def forward(self, features: Tensor, pseudo_labels: Tensor) -> Tensor:
        """features [n, width], pseudo labels [n, 7] -> logits [n, K]."""
        return self.layers(torch.cat([self.norm(features), pseudo_labels], dim=1))
