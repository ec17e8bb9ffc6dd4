"""What moves the weights: optimisers, their schedule, and the moving average of the weights."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch
from torch import nn

from crossface.model.networks import CrossfaceNet
from crossface.train.config import TrainConfig
from crossface.train.methods import Method


class Optimisation:
    """SGD with momentum for all, or for all but d, which may have an Adam of its own.

    Args:
        config: of the training.
        net: what is deployed.
        method: what only training needs.
        steps: of the whole training; the schedule ends there.
    """

    def __init__(self, config: TrainConfig, net: CrossfaceNet, method: Method, steps: int) -> None:
        self._parameters = [*net.parameters(), *method.parameters()]
        self._clip_norm = config.clip_norm or math.inf
        self._schedule = _SCHEDULES[config.schedule]
        self._steps = steps
        rival = list(method.adversary_parameters()) if config.adversary.lr else []
        self._optimizers: list[torch.optim.Optimizer] = [
            torch.optim.SGD(
                _without(self._parameters, rival),
                config.lr,
                config.momentum,
                weight_decay=config.weight_decay,
                fused=True,
            )
        ]
        if rival:
            self._optimizers.append(torch.optim.Adam(rival, config.adversary.lr, fused=True))
        self._lr = config.lr

    def step(self, number: int) -> torch.Tensor:
        """Take a step, from 0, along the gradients.

        Returns:
            The norm of the whole gradient before it was clipped: a scalar on the device.
        """
        self._optimizers[0].param_groups[0]["lr"] = self.lr(number)
        norm = nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> list[dict[str, Any]]:
        """That of each optimiser; the schedule has no state."""
        return [optimizer.state_dict() for optimizer in self._optimizers]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Go on from :meth:`state_dict`."""
        for optimizer, saved in zip(self._optimizers, state, strict=True):
            optimizer.load_state_dict(saved)
            for parameter, buffers in optimizer.state.items():
                for name, value in buffers.items():
                    if value is not None and value.shape == parameter.shape:
                        # with its strides: a file does not keep them, and fused steps rely on them
                        buffers[name] = torch.empty_like(parameter).copy_(value)

    def lr(self, number: int) -> float:
        """Learning rate of SGD at a step; that of d's Adam stays as it is."""
        return self._lr * self._schedule(number / self._steps)


def _cosine(progress: float) -> float:
    return (1 + math.cos(math.pi * progress)) / 2


def _steps(progress: float) -> float:
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01


_SCHEDULES = {"cosine": _cosine, "steps": _steps}


def _without(parameters: Iterable[nn.Parameter], others: Iterable[nn.Parameter]) -> Iterator[nn.Parameter]:
    apart = {id(parameter) for parameter in others}
    return (parameter for parameter in parameters if id(parameter) not in apart)


class MovingAverage:
    """Exponential moving average of the weights and of the batch statistics, short at first.

    timm's, because torch's own waits for the device at each step.

    Args:
        net: whose weights, where they are to stay.
        decay: that it grows to; the share that the past keeps at each step.
    """

    def __init__(self, net: CrossfaceNet, decay: float) -> None:
        from timm.utils import ModelEmaV3

        self._average = ModelEmaV3(net, decay=decay, use_warmup=True)

    @property
    def net(self) -> CrossfaceNet:
        """The network with the average of the weights."""
        return cast(CrossfaceNet, self._average.module)

    def update(self, net: CrossfaceNet, step: int) -> None:
        """Take in the weights after a step, from 1."""
        self._average.update(net, step)
