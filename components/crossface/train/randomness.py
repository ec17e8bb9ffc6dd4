"""Everything random in training is a function of the seed and of where training is.

So a step's random numbers are the same whether or not the process was killed and started again before it, and
on one process or several; a checkpoint needs to hold no state of any generator.
"""

from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What random numbers are for; each use has numbers of its own."""

    ORDER = 0
    AUGMENTATION = 1
    DROPOUT = 2


def seed_of(seed: int, stream: Stream, *place: int) -> int:
    """A well mixed 63-bit seed for one use at one place, such as a step."""
    state = np.random.SeedSequence([seed % 2**64, stream, *place]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def generator(seed: int, stream: Stream, *place: int) -> torch.Generator:
    """A generator on the CPU for one use at one place."""
    return torch.Generator().manual_seed(seed_of(seed, stream, *place))
