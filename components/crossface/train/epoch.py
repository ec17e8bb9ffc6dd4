"""What an epoch comes to: means over its steps, kept on the device, and whether training is still sound."""

from typing import Any

import torch
from torch import Tensor

from crossface.data.emotions import EMOTIONS
from crossface.errors import CrossfaceError
from crossface.train.distributed import sum_over_processes, world_size

LOSS = "loss"
"""Name of the part that is the total."""
GRADIENT_NORM = "gradient_norm"
"""Name of the part that is the norm of the whole gradient, before it was clipped."""
_GREATEST_LOSS = 1e3  # guessing costs ln 7 = 1.9; nothing comes back from here


class DivergenceError(CrossfaceError):
    """The loss or its gradient is no longer a number, or the loss far beyond what guessing costs."""


class EpochSums:
    """Sums the parts of the loss over steps without asking the device for anything."""

    def __init__(self) -> None:
        self.steps = 0
        self._names: list[str] = []
        self._sums = torch.zeros(0)
        self._bad_step = torch.tensor(-1)
        self._bad = torch.zeros(0)

    def add(self, step: int, parts: dict[str, Tensor]) -> None:
        """Add the parts of one step: detached scalars, or float [7] with a number an emotion.

        Both ``loss`` and ``gradient_norm`` are among them; a step is unsound when one of them is.
        """
        values = torch.cat([value.float().reshape(-1) for value in parts.values()])
        if not self.steps:
            self._names = [name for part, value in parts.items() for name in _names(part, value)]
            self._sums, self._bad = torch.zeros_like(values), torch.zeros_like(values)
            self._bad_step = torch.full_like(parts[LOSS], -1, dtype=torch.int64)
        sound = (parts[LOSS].abs() < _GREATEST_LOSS) & parts[GRADIENT_NORM].isfinite()
        first = ~sound & (self._bad_step < 0)
        self._bad_step = torch.where(first, step, self._bad_step)
        self._bad = torch.where(first, values, self._bad)
        self._sums = self._sums + values
        self.steps += 1

    def check(self) -> None:
        """Wait for the device, and see whether the steps so far make sense.

        Raises:
            DivergenceError: one does not; names the first such step and its parts.
        """
        if self._bad_step >= 0:
            found = zip(self._names, self._bad.tolist(), strict=True)
            parts = ", ".join(f"{name}={value:.3g}" for name, value in found)
            raise DivergenceError(
                f"training diverged at step {int(self._bad_step)} ({parts}); "
                "try a smaller lr, clip_norm: 1, a smaller adversary.lambda_max, or preset: robust"
            )

    def means(self) -> dict[str, float]:
        """The mean of each part over the steps, and over all processes."""
        means = sum_over_processes(self._sums.clone()) / (self.steps * world_size())
        return dict(zip(self._names, means.tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs in the middle of an epoch."""
        return {"steps": self.steps, "names": self._names, "sums": self._sums}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from :meth:`state_dict`."""
        self.steps, self._names = state["steps"], state["names"]
        self._sums = state["sums"].to(device)
        self._bad = torch.zeros_like(self._sums)
        self._bad_step = torch.tensor(-1, device=device)


def _names(part: str, value: Tensor) -> list[str]:
    return [f"{part}/{emotion}" for emotion in EMOTIONS] if value.ndim else [part]
