"""What a network is built from. Free of torch, so that a configuration is checked without loading it."""

from typing import Literal

from pydantic import Field

from crossface.config import Config

Backbone = Literal["resnet8", "resnet18", "resnet34", "resnet50"]

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
    adapt: str
