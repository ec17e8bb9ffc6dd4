"""What a network costs whoever asks it: one face at a time, and on the disk."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossface.gate.verdict import Rule
from crossface.model.export import open_onnx
from crossface.register.config import RegisterConfig

_RUNS = 30


@dataclass(frozen=True)
class Cost:
    """Of one network, on the machine that measured it."""

    milliseconds: float
    """Of one face, the median."""
    megabytes: float


def measure_cost(network: Path, face: np.ndarray) -> Cost:
    """Ask the network for one face at a time.

    Args:
        network: ONNX file.
        face: uint8 [size, size, 3].
    """
    answer, seconds = open_onnx(network), []
    for _ in range(_RUNS):
        start = time.perf_counter()
        answer(face[None])
        seconds.append(time.perf_counter() - start)
    return Cost(1000 * float(np.median(seconds)), network.stat().st_size / 1e6)


def cost_rules(cost: Cost, config: RegisterConfig) -> Iterator[Rule]:
    """The limits that are set."""
    if config.max_milliseconds:
        kept = cost.milliseconds <= config.max_milliseconds
        sentence = f"a face takes {cost.milliseconds:.1f} ms; {config.max_milliseconds:g} are allowed."
        yield Rule("latency", kept, sentence)
    if config.max_megabytes:
        kept = cost.megabytes <= config.max_megabytes
        yield Rule("size", kept, f"it has {cost.megabytes:.1f} MB; {config.max_megabytes:g} are allowed.")
