"""Augmentation of a whole batch at once, on the device. The paper crops at random and flips.

The crop reads its pixels straight from the store: one gather, instead of a copy of each image and another.
"""

import math

import torch
from torch import Tensor

from crossface.model.config import AugmentationConfig

_GREY = 128
_ERASED = (0.02, 0.33)  # smallest and largest share of the area, as in Zhong et al. (AAAI 2020)
_LONGEST = 3.3  # of the longer side to the shorter


class Augmentation:
    """Takes a batch out of the store, each face shifted, flipped, tinted or partly erased at random.

    Args:
        config: which, and how much.
        size: side of the images in pixels.
    """

    def __init__(self, config: AugmentationConfig, size: int) -> None:
        self._config = config
        self._size = size

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Random numbers for ``count`` faces: float32 [count, 11], uniform in 0..1."""
        return torch.rand((count, 11), generator=generator)

    def __call__(self, images: Tensor, rows: Tensor, chances: Tensor) -> Tensor:
        """Take and change faces.

        Args:
            images: uint8 [faces, 3, size, size], channels_last.
            rows: int64 [n], which faces, on the device of ``images``.
            chances: float32 [n, 11] from :meth:`draw`, on the same device.

        Returns:
            uint8 [n, 3, size, size], channels_last.
        """
        batch = self._take(images.permute(0, 2, 3, 1), rows, chances[:, :3])
        if self._config.colour:
            batch = self._tint(batch, chances[:, 3:6])
        if self._config.erasing:
            batch = self._erase(batch, chances[:, 6:11])
        return batch.permute(0, 3, 1, 2)

    def _take(self, pixels: Tensor, rows: Tensor, chances: Tensor) -> Tensor:
        """Shift (edges repeated) and flip: uint8 [n, size, size, 3]."""
        size, steps = self._size, torch.arange(self._size, device=pixels.device)
        reach = int(size * self._config.shift)
        offset = (chances[:, :2] * (2 * reach + 1)).long() - reach
        y = (steps + offset[:, :1]).clamp(0, size - 1)
        x = (steps + offset[:, 1:]).clamp(0, size - 1)
        if self._config.flip:
            x = torch.where(chances[:, 2:] < 0.5, size - 1 - x, x)
        place = (rows[:, None] * size + y)[:, :, None] * size + x[:, None, :]
        return pixels.view(-1, 3).index_select(0, place.flatten()).view(len(rows), size, size, 3)

    def _tint(self, batch: Tensor, chances: Tensor) -> Tensor:
        """Brightness, contrast and saturation, each by up to ``colour``, in this order."""
        brightness, contrast, saturation = (1 + self._config.colour * (2 * chances.T - 1))[
            ..., None, None, None
        ]
        bright = batch.float() * brightness
        mean = _luma(bright).mean((1, 2, 3), keepdim=True)
        contrasted = mean + contrast * (bright - mean)
        grey = _luma(contrasted)
        return (grey + saturation * (contrasted - grey)).round().clamp(0, 255).to(torch.uint8)

    def _erase(self, batch: Tensor, chances: Tensor) -> Tensor:
        """Grey a random rectangle of a share of the faces."""
        chosen, area, aspect, down, right = chances.T
        low, high = _ERASED
        side = self._size * (low + area * (high - low)).sqrt()
        stretch = torch.exp(math.log(_LONGEST) * (aspect - 0.5))
        height, width = (side * stretch).clamp(max=self._size), (side / stretch).clamp(max=self._size)
        top, left = down * (self._size - height), right * (self._size - width)
        steps = torch.arange(self._size, device=batch.device)
        inside = _within(steps, top, height)[:, :, None] & _within(steps, left, width)[:, None, :]
        erased = inside & (chosen < self._config.erasing)[:, None, None]
        return torch.where(erased[..., None], _GREY, batch).to(torch.uint8)


def _luma(pixels: Tensor) -> Tensor:
    """[n, size, size, 3] -> [n, size, size, 1]."""
    red, green, blue = pixels.unbind(-1)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[..., None]


def _within(steps: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """bool [n, size]: which of ``steps`` lie in the span of each image."""
    return (steps >= start[:, None]) & (steps < (start + length)[:, None])
