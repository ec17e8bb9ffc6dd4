"""The ways to learn from several datasets: one module a method, one interface, one line in the registry."""

from crossface.train.config import TrainConfig
from crossface.train.methods.base import Method, StepLoss, Task
from crossface.train.methods.cda import CrossDatasetAdaptation
from crossface.train.methods.coral import DeepCoral
from crossface.train.methods.dann import DomainAdversarial
from crossface.train.methods.heads import SeparateHeads
from crossface.train.methods.pooled import Pooled

METHODS: dict[str, type[Method]] = {
    "none": Pooled,
    "heads": SeparateHeads,
    "dann": DomainAdversarial,
    "coral": DeepCoral,
    "cda": CrossDatasetAdaptation,
}


def build_method(config: TrainConfig, task: Task, width: int) -> Method:
    """Build the method that ``config.adapt`` names, for features of ``width``."""
    return METHODS[config.adapt](config, task, width)


__all__ = ["METHODS", "Method", "StepLoss", "Task", "build_method"]
