"""What a person sees of a local run: the steps' own lines, with the time; the rest goes to a log file."""

import io
import re
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

from crossface.progress import MARK

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CACHED = re.compile(r"Task (\S+) cache hit")
_ERROR = re.compile(r"^(crossface\.)?(?:\w+\.)*(\w+(?:Error|Exception|Interrupt)): (.*)")


class Console(io.TextIOBase):
    """A stand-in for ``sys.stdout`` while kfp.local runs a pipeline.

    kfp.local narrates at length, in colour, from several threads at a time. All of it is kept in ``log``;
    the terminal gets the lines that steps print for people, and cache hits.
    """

    def __init__(self, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.failures: list[str] = []
        """What failed steps said, in order."""
        self._log = log.open("w", encoding="utf-8")
        self._terminal: TextIO = sys.stdout
        self._start = time.monotonic()
        self._rest = ""
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        """Take any piece of output; whole lines are dealt with as they end."""
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self._line(_COLOUR.sub("", line))
        return len(text)

    def flush(self) -> None:
        """Lines are flushed as they are written."""

    def close(self) -> None:
        """Close the log."""
        self._log.close()
        super().close()

    def _line(self, line: str) -> None:
        self._log.write(line + "\n")
        self._log.flush()
        text = line.strip()
        if text.startswith(MARK):
            self._show(text.removeprefix(MARK))
        elif cached := _CACHED.search(text):
            self._show(f"{cached[1]}: from the cache")
        elif error := _ERROR.match(text):
            # the message of our own errors is the whole story
            self.failures.append(error[3] if error[1] else f"{error[2]}: {error[3]}")

    def _show(self, text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
        # not print(): kfp.local replaces it while a step runs by one that also writes here
        self._terminal.write(f"{minutes:3d}:{seconds:02d}  {text}\n")
        self._terminal.flush()
