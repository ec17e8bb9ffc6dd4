"""What a network is built from. Free of torch, so that a configuration is checked without loading it."""

import re
from pathlib import PurePath
from typing import Annotated

from pydantic import AfterValidator, Field

from crossface.config import Config

RESNETS = ("resnet8", "resnet18", "resnet34", "resnet50")
"""torchvision's, and ``resnet8``: its first three stages, one block each, for small data."""

TIMM = "timm/"
"""Begins the name of a backbone that timm builds, such as ``timm/convnext_atto``."""


def _backbone_name(name: str) -> str:
    if name not in RESNETS and not re.fullmatch(rf"{TIMM}[a-z0-9_.]+", name):
        raise ValueError(f"should be {', '.join(RESNETS)}, or {TIMM}NAME with the name of a timm model")
    return name


def _weights_source(source: str) -> str:
    if PurePath(source).suffix in {".pth", ".pt", ".bin", ".ckpt"}:
        raise ValueError(
            "a pickle can run code and is not opened: where you trust it, read it with torch and"
            " weights_only=True, and write its state dict with safetensors.torch.save_file"
        )
    if source not in {"none", "imagenet"} and PurePath(source).suffix != ".safetensors":
        raise ValueError("should be none, imagenet or the path of a .safetensors file")
    return source


Backbone = Annotated[str, AfterValidator(_backbone_name)]
"""A name of ``RESNETS``, or ``timm/`` and a timm model's name, with or without the tag of its weights."""

Weights = Annotated[str, AfterValidator(_weights_source)]
"""``none``; ``imagenet``: those that torchvision or timm publish; or the path of a ``.safetensors`` file."""

POOLED_HEAD = "pooled"
"""Name of the only head of a model that was trained on all datasets as if they were one."""


class NetConfig(Config):
    """All that is needed to build a :class:`CrossfaceNet`; saved as ``config.json`` beside the weights."""

    backbone: Backbone = "resnet50"
    feature_dim: int = Field(default=1000, ge=0)
    """Width of the last linear layer, the feature of the paper; 0: the pooled feature itself."""
    image_size: int = Field(default=100, ge=32)
    heads: tuple[str, ...] = Field(min_length=1)
    """Datasets in the order of the heads, or ``("pooled",)``."""
    datasets: tuple[str, ...] = ()
    """What it was trained on; empty where that is not known."""
    adapt: str


class AugmentationConfig(Config):
    """How a face is changed each time it is seen."""

    shift: float = Field(default=0.1, ge=0, lt=1)
    """Random crop: the largest shift, as a share of the side; edges are repeated."""
    flip: bool = True
    """Mirror half of the faces."""
    colour: float = Field(default=0.0, ge=0, lt=1)
    """Brightness, contrast and saturation: the largest change, as a share."""
    erasing: float = Field(default=0.0, ge=0, le=1)
    """Share of the faces of which a random rectangle is greyed."""
