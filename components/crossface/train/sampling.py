"""Which samples make up a batch."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor


def epoch_batches(
    dataset: Tensor, batch_size: int, sampling: Literal["balanced", "natural"], generator: torch.Generator
) -> Iterator[Tensor]:
    """Yield the sample indices of one epoch, about ``len(dataset) / batch_size`` batches of equal size.

    Args:
        dataset: int64 [n], the dataset of each sample, 0..K-1, each present.
        batch_size: samples a batch; with ``balanced`` each dataset fills its equal share, and the remainder
            goes to the datasets in turn.
        sampling: ``natural`` draws each sample at most once an epoch; ``balanced`` goes through a small
            dataset several times, in a fresh order each time, and through a part of a large one.
        generator: source of the order.

    Yields:
        int64 [batch_size] indices.
    """
    batches = max(len(dataset) // batch_size, 1)
    if sampling == "natural":
        order = torch.randperm(len(dataset), generator=generator)
        yield from (order[i * batch_size : (i + 1) * batch_size] for i in range(batches))
        return
    members = [torch.nonzero(dataset == key).flatten() for key in range(int(dataset.max()) + 1)]
    shares = [len(part) for part in torch.arange(batch_size).tensor_split(len(members))]
    streams = [_endless(rows, share, generator) for rows, share in zip(members, shares, strict=True)]
    for _ in range(batches):
        yield torch.cat([next(stream) for stream in streams])


def _endless(rows: Tensor, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield ``count`` of ``rows`` at a time, all of them before any of them comes again."""
    waiting = rows[:0]
    while True:
        while len(waiting) < count:
            waiting = torch.cat([waiting, rows[torch.randperm(len(rows), generator=generator)]])
        yield waiting[:count]
        waiting = waiting[count:]
