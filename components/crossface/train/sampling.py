"""Which samples make up a batch."""

from typing import Literal

import torch
from torch import Tensor

from crossface.train.randomness import Stream, generator

Sampling = Literal["balanced", "natural"]


class BatchSampler:
    """The sample indices of each step: a function of seed and step alone, so that any step can come first.

    Samples are gone through in a random order, again and again, each time in a fresh one. ``natural`` goes
    through all of them at once; what is left over at the end of a pass begins the next batch. ``balanced``
    goes through each dataset by itself, and each fills an equal share of every batch; with a remainder the
    first datasets have one sample more.

    Args:
        dataset: int64 [n], the dataset of each sample, 0..K-1, each present.
        batch_size: samples a batch.
        sampling: how the datasets share a batch.
        seed: of the order.
    """

    def __init__(self, dataset: Tensor, batch_size: int, sampling: Sampling, seed: int) -> None:
        parts = [torch.arange(len(dataset))]
        if sampling == "balanced":
            parts = [torch.nonzero(dataset == key).flatten() for key in range(int(dataset.max()) + 1)]
        shares = [len(share) for share in torch.arange(batch_size).tensor_split(len(parts))]
        self._streams = [
            _Stream(rows, share, seed, key)
            for key, (rows, share) in enumerate(zip(parts, shares, strict=True))
        ]

    def batch(self, step: int) -> Tensor:
        """int64 [batch_size] indices of a step, from 0."""
        return torch.cat([stream.batch(step) for stream in self._streams])


class _Stream:
    """``share`` of ``rows`` a step, all of them before any of them comes again."""

    def __init__(self, rows: Tensor, share: int, seed: int, key: int) -> None:
        self._rows, self._share, self._seed, self._key = rows, share, seed, key
        self._passes: dict[int, Tensor] = {}

    def batch(self, step: int) -> Tensor:
        first, last = step * self._share, (step + 1) * self._share
        length, parts = len(self._rows), []
        for number in range(first // length, -(-last // length)):
            start = number * length
            parts.append(self._order(number)[max(first - start, 0) : last - start])
        return torch.cat(parts) if parts else self._rows[:0]

    def _order(self, number: int) -> Tensor:
        """The rows in the order of a pass; the last two are kept, because a batch may lie across them."""
        if number not in self._passes:
            order = torch.randperm(
                len(self._rows), generator=generator(self._seed, Stream.ORDER, self._key, number)
            )
            kept = {key: rows for key, rows in self._passes.items() if key == number - 1}
            self._passes = {**kept, number: self._rows[order]}
        return self._passes[number]
