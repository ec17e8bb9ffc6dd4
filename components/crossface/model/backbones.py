"""Image networks by name, from torchvision and from timm, with random weights."""

import difflib
from collections.abc import Mapping
from typing import Any

from torch import nn

from crossface.errors import ConfigError
from crossface.model.config import TIMM

# as timm says it of its own; torchvision says it in its transforms
_TORCHVISION = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "classifier": "fc"}


def build_network(name: str, feature_dim: int, image_size: int) -> nn.Module:
    """Build a network: standardised images [n, 3, size, size] -> float [n, width].

    Args:
        name: see :data:`crossface.model.config.Backbone`.
        feature_dim: width of the last linear layer; 0: the pooled feature itself.
        image_size: side in pixels, for a network that is made for one size.

    Raises:
        ConfigError: timm is not installed, does not know the name, or cannot build it for this size.
    """
    if name.startswith(TIMM):
        return create_timm(name, image_size, num_classes=feature_dim)
    return _resnet(name, feature_dim)


def create_timm(name: str, image_size: int, **options: Any) -> nn.Module:
    """``timm.create_model`` of a name ``timm/...``, for one image size where the model is made for one.

    A patch size that does not divide the image size leaves the last pixels unseen.

    Raises:
        ConfigError: timm is not installed, does not know the name, or cannot build it for this size.
        OSError, RuntimeError: with ``pretrained=True``, the weights cannot be had.
    """
    timm = _import_timm()
    model = name.removeprefix(TIMM)
    _check_known(timm, model)
    options |= image_size_option(name, image_size)
    try:
        return timm.create_model(model, **options)
    except (AssertionError, ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"backbone: timm cannot build {model} for {image_size} pixels: {reason}") from None


def image_size_option(name: str, image_size: int) -> dict[str, int]:
    """What ``timm.create_model`` must be told of the image size: nothing, for most networks."""
    fixed = _import_timm().get_pretrained_cfg(name.removeprefix(TIMM)).fixed_input_size
    return {"img_size": image_size} if fixed else {}


def published_config(network: nn.Module) -> Mapping[str, Any]:
    """What goes with the published weights of a network.

    Returns:
        ``mean`` and ``std`` of the channels, for pixels in 0..1, and ``classifier``: the name, or names, of
        the last linear layer.
    """
    return getattr(network, "pretrained_cfg", _TORCHVISION)


def _resnet(name: str, feature_dim: int) -> nn.Module:
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
    return network


def _import_timm() -> Any:
    try:
        import timm
    except ImportError:
        raise ConfigError("backbone: timm is not installed: pip install 'crossface[torch]'") from None
    return timm


def _check_known(timm: Any, model: str) -> None:
    known = timm.list_models(include_tags="." in model)
    if model not in known:
        close = difflib.get_close_matches(model, known, n=3, cutoff=0)
        raise ConfigError(f"backbone: timm has no {model}; the closest are {', '.join(close)}")
