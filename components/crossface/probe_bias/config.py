"""Configuration of the step probe_bias."""

from pydantic import Field

from crossface.bias.config import ProbeSettings
from crossface.model.config import Backbone


class ProbeConfig(ProbeSettings):
    """The probe, and the untrained backbone whose features it reads."""

    backbone: Backbone = "resnet50"
    feature_dim: int = Field(default=1000, ge=0)
    image_size: int = Field(default=100, ge=32)
    seed: int = Field(default=0, ge=0)
