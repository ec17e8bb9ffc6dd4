"""Augmentation of a whole batch at once, on the device: random crop and horizontal flip, as in the paper."""

import torch
from torch import Tensor

_SHIFT = 0.1  # greatest shift, as a share of the side


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift by up to a tenth of the side (edges repeated) and flip half of the images.

    Args:
        images: uint8 [n, 3, size, size].
        generator: source of the shifts and flips, on the CPU.

    Returns:
        uint8 [n, 3, size, size], channels_last.
    """
    count, _, size, _ = images.shape
    shift = int(size * _SHIFT)
    offsets = torch.randint(-shift, shift + 1, (2, count, 1), generator=generator)
    flip = torch.rand((count, 1), generator=generator) < 0.5
    steps = torch.arange(size)
    rows = (steps + offsets[0]).clamp(0, size - 1).to(images.device)
    columns = torch.where(flip, steps.flip(0), steps)
    columns = (columns + offsets[1]).clamp(0, size - 1).to(images.device)
    sample = torch.arange(count, device=images.device)[:, None, None]
    # advanced indexing puts the channel last: the memory format the network wants
    return images[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
