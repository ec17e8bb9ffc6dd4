"""SIGTERM, as an evicted pod gets it: what is being done is brought to a good end first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether the process has been told to end."""

    def __init__(self) -> None:
        self.asked = False

    def __bool__(self) -> bool:
        return self.asked


@contextmanager
def held_sigterm() -> Iterator[Interruption]:
    """Within the block SIGTERM is only noted; after it, what was in force before the block gets it.

    Signals reach the main thread alone, so elsewhere nothing is noted.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def note(number: int, frame: FrameType | None) -> None:
        interruption.asked = True

    previous = signal.signal(signal.SIGTERM, note)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGTERM, previous)
        if interruption:
            signal.raise_signal(signal.SIGTERM)
