"""The ways to learn from several datasets: one module a method, one interface."""

from crossface.train.config import TrainConfig
from crossface.train.methods.base import Method, StepLoss
from crossface.train.methods.cda import CrossDatasetAdaptation
from crossface.train.methods.pooled import Pooled

METHODS: dict[str, type[Method]] = {"none": Pooled, "cda": CrossDatasetAdaptation}


def build_method(config: TrainConfig, datasets: tuple[str, ...], width: int) -> Method:
    """Build the method that ``config.adapt`` names, for features of ``width``."""
    return METHODS[config.adapt](config, datasets, width)


__all__ = ["METHODS", "Method", "StepLoss", "build_method"]
