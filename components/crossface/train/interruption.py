"""SIGTERM, as an evicted pod gets it: what is being done is brought to a good end first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """The process was told to end. Not an Exception: whoever goes on after errors should not after this."""


class Interruption:
    """Whether the process has been told to end."""

    def __init__(self) -> None:
        self.asked = False
        self._deferred = False

    def __bool__(self) -> bool:
        return self.asked

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within the block being told is only noted, and the block has to look."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler."""
        self.asked = True
        if not self._deferred:
            raise Interrupted


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Within the block SIGTERM raises Interrupted, so that everything is cleaned up on the way out.

    After it, what was in force before the block gets the signal. Signals reach the main thread alone, so
    elsewhere nothing changes.
    """
    interruption = Interruption()
    previous = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or previous is None:
        yield interruption
        return
    signal.signal(signal.SIGTERM, interruption.note)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGTERM, previous)
        if interruption:
            signal.raise_signal(signal.SIGTERM)
