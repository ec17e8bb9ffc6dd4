"""The network of Han et al. (IEEE Access 2020), Figure 2 and Table 3.

``f`` is the backbone, ``e_k`` one emotion classifier a dataset; both make up :class:`CrossfaceNet`, which is
what is saved and deployed. ``g`` (:class:`LabelExtractor`) and ``d`` (:class:`DatasetClassifier`) exist
only while training. The paper's "Conv 1x1" on a vector is a Linear layer.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from crossface.data.emotions import EMOTIONS
from crossface.errors import ConfigError
from crossface.model.backbones import build_network, published_config
from crossface.model.config import Backbone, NetConfig


class CrossfaceNet(nn.Module):
    """Backbone ``f`` and emotion classifiers ``e_k``."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.backbone, config.feature_dim, config.image_size)
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
    """Pixels 0..255 to channel-wise standard scores, inside the network: no caller can get it wrong.

    The statistics are saved with the weights that were trained on them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images.to(self.mean.dtype) - self.mean) / self.std


class ImageBackbone(nn.Sequential):
    """``f``: normalisation, then the network; RGB images [n, 3, size, size] in 0..255 -> float [n, width].

    The channel statistics are those that the network's published weights were trained with: ImageNet's
    for torchvision's, and for timm's what its ``pretrained_cfg`` says (some have 0.5 for all).
    """

    def __init__(self, network: nn.Module, image_size: int) -> None:
        published = published_config(network)
        super().__init__(_Normalize(published["mean"], published["std"]), network)
        self.image_size = image_size


def build_backbone(name: Backbone, feature_dim: int, image_size: int) -> ImageBackbone:
    """Build ``f`` with random weights (seed torch before).

    Args:
        name: of the network.
        feature_dim: width of the last linear layer; 0: the pooled feature itself.
        image_size: side in pixels; only some networks, such as vision transformers, are made for one size.

    Raises:
        ConfigError: timm is not installed, does not know the name, or cannot build it for this size.
    """
    return ImageBackbone(build_network(name, feature_dim, image_size), image_size)


def feature_width(backbone: ImageBackbone) -> int:
    """Width of the features, found by running one image through the backbone.

    Raises:
        ConfigError: the network does not take images of this size.
    """
    was_training = backbone.training
    backbone.eval()
    size = backbone.image_size
    device = next(backbone.parameters()).device
    try:
        with torch.no_grad():
            width = backbone(torch.zeros(1, 3, size, size, device=device)).shape[1]
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"image_size: the backbone does not take {size} pixels: {reason}") from None
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

    One-hot labels [n, 7] -> logits [n, 7]; their softmax is the pseudo label g(y). With ``datasets`` the
    input is [n, 7 + datasets]: the one-hot dataset beside the one-hot emotion.
    """

    def __init__(self, dropout: float, datasets: int = 0) -> None:
        widths = [len(EMOTIONS) + datasets, 512, 512, 512, 512, 256]
        layers: list[nn.Module] = []
        for inner, outer in itertools.pairwise(widths):
            layers += [nn.Linear(inner, outer), nn.Dropout(dropout), nn.LeakyReLU()]
        super().__init__(*layers, nn.Linear(widths[-1], len(EMOTIONS)))


class DatasetClassifier(nn.Module):
    """``d`` (Table 3): (width + label_width)-512-256-K on f(x), and on g(y) unless ``label_width`` is 0."""

    def __init__(self, width: int, datasets: int, normalize: bool, label_width: int = 0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if normalize else nn.Identity()
        self.layers = nn.Sequential(
            nn.Linear(width + label_width, 512),
            nn.LeakyReLU(),
            nn.Linear(512, 256),
            nn.LeakyReLU(),
            nn.Linear(256, datasets),
        )

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """features [n, width], and pseudo labels [n, label_width] if there are any -> logits [n, K]."""
        features = self.norm(features)
        return self.layers(features if labels is None else torch.cat([features, labels], dim=1))
