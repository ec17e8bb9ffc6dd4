"""Progress of long work as plain lines, readable in a terminal, a log file and a pod's log alike."""

import time
from types import TracebackType
from typing import Self

INTERVAL_S = 5.0
_ETA_FROM = 0.01  # share done from which an ETA means something: workers have started by then

MARK = "> "
"""Begins every line that a step prints for people, so that a log can be reduced to them."""


def say(line: str) -> None:
    """Print a line for people."""
    print(f"{MARK}{line}", flush=True)


class Progress:
    """Prints ``<label>  <done>/<total> <unit>  <rate>/s  ETA m:ss  <note>`` at most every few seconds.

    A bar that redraws itself turns into one endless line in a log, so this prints whole lines instead:
    none for work that ends within the interval but one line when it is done.
    """

    def __init__(self, label: str, total: int, unit: str, interval_s: float = INTERVAL_S) -> None:
        self._label = label
        self._total = total
        self._unit = unit
        self._interval = interval_s
        self._done = 0
        self._note = ""
        self._start = self._printed = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._print(f"{self._rate()}  took {_clock(time.monotonic() - self._start)}")

    def update(self, count: int, note: str = "") -> None:
        """Say that ``count`` more units are done; ``note`` stands at the end of the line."""
        self._done += count
        self._note = note or self._note
        now = time.monotonic()
        if now - self._printed >= self._interval and self._done < self._total:
            self._printed = now
            self._print(f"{self._rate()}  ETA {self._eta(now)}")

    def _eta(self, now: float) -> str:
        if self._done < self._total * _ETA_FROM:
            return "?"
        return _clock((now - self._start) / self._done * (self._total - self._done))

    def _rate(self) -> str:
        return f"{self._done / max(time.monotonic() - self._start, 1e-9):.3g}/s"

    def _print(self, text: str) -> None:
        width = len(str(self._total))
        line = f"{self._label}  {self._done:>{width}}/{self._total} {self._unit}  {text}  {self._note}"
        say(line.rstrip())


class Clock:
    """Seconds that parts of a step took, in their order."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """A part has ended that began with the last one's end, or with the clock."""
        now = time.monotonic()
        self.laps[name] = now - self._last
        self._last = now


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
