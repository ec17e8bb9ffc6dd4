"""What reaches the terminal of a local run, and progress as lines."""

import contextlib
import io
import re

from crossface.progress import Progress
from crossface_pipelines.console import Console


def through_console(tmp_path, monkeypatch, *pieces):
    terminal = io.StringIO()
    monkeypatch.setattr("sys.stdout", terminal)
    log = tmp_path / "logs" / "run.log"
    with contextlib.closing(Console(log)) as console:
        for piece in pieces:
            console.write(piece)
        return terminal.getvalue(), console.failures, log.read_text()


def test_only_what_is_meant_for_people_is_shown_and_all_is_logged(tmp_path, monkeypatch):
    shown, failures, log = through_console(
        tmp_path, monkeypatch,
        "12:00:00.000 - INFO - Executing task \x1b[96m'ingest'\x1b[0m\n",
        "    ", "> ingest raf", "db: started\n", "        > train cda  3/9 steps\n",
        "INFO:root:Task probe-bias cache hit (key=1234); skipping execution.\n",
        "crossface.errors.DataError: list.txt: label 9\n", "ValueError: no\n",
    )  # fmt: skip
    assert [line.split(maxsplit=1)[1] for line in shown.splitlines()] == [
        "ingest rafdb: started", "train cda  3/9 steps", "probe-bias: from the cache",
    ]  # fmt: skip
    assert failures == ["list.txt: label 9", "ValueError: no"]
    assert "Executing task 'ingest'" in log
    assert "\x1b" not in log


def test_progress_prints_whole_lines_with_an_eta(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with Progress("crop rafdb", total=200, unit="photos", interval_s=5) as progress:
        for _ in range(200):
            now[0] += 0.125
            progress.update(1, note="x")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert re.fullmatch(r"> crop rafdb   40/200 photos  8/s  ETA 0:20  x", lines[0])
    assert lines[-1] == "> crop rafdb  200/200 photos  8/s  took 0:25  x"


def test_short_work_is_one_line_and_failed_work_none(capsys):
    with Progress("quick", total=3, unit="rows") as progress:
        progress.update(3)
    with contextlib.suppress(ValueError), Progress("broken", total=3, unit="rows"):
        raise ValueError
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("> quick  3/3 rows")
