"""Configuration of the step probe_bias."""

from pydantic import Field

from crossface.bias.config import ProbeSettings
from crossface.config import Config
from crossface.model.config import Backbone


class FullProbeConfig(Config):
    """How the backbone itself is trained to name the dataset, where that is wanted."""

    enabled: bool = False
    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=128, ge=4)
    lr: float = Field(default=0.05, gt=0)
    max_faces: int = Field(default=35_000, ge=7)
    """Most training faces of a dataset; each emotion has an equal part of them."""


class ProbeConfig(ProbeSettings):
    """The probe, and the untrained backbone whose features it reads."""

    backbone: Backbone = "resnet50"
    feature_dim: int = Field(default=1000, ge=0)
    image_size: int = Field(default=100, ge=32)
    full: FullProbeConfig = FullProbeConfig()
    seed: int = Field(default=0, ge=0)
