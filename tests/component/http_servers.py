"""Servers of other processes that answer over HTTP: started, waited for, and ended for good."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from s3_server import free_ports

_PATIENCE_S = 120  # of a machine that is busy


@contextmanager
def server(command: Sequence[str | Path], health: str, folder: Path, **environment: str) -> Iterator[None]:
    """A process that answers at an address.

    Args:
        command: that starts it.
        health: address that answers with success once it is ready.
        folder: where it runs, and keeps what it says.
        environment: what it gets besides that of this process.
    """
    log = folder / "server.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                urllib.request.urlopen(health, timeout=10).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its workers too
        process.wait(10)


@contextmanager
def mlflow_server(folder: Path, store: str, artifacts: str, **environment: str) -> Iterator[str]:
    """A tracking server through which files go too: its address."""
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--serve-artifacts", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", store, "--artifacts-destination", artifacts]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **environment}
    with server(command, f"{address}/health", folder, **settings):
        yield address
