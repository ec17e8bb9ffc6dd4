"""Runs a pipeline on this machine with kfp.local."""

import contextlib
import logging
import os
import shutil
import time
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossface.errors import CrossfaceError
from crossface_pipelines.console import Console

EXPERIMENT = "crossface"


class RunFailedError(CrossfaceError):
    """A step of the pipeline failed; the message says which words it failed with and where the log is."""


@dataclass(frozen=True)
class LocalRun:
    """A pipeline run that ended well."""

    run_id: str
    evaluation: Path
    """The folder that evaluate wrote."""
    report: Path


def open_run(runs: Path) -> str:
    """Name a new run and open it in MLflow, before steps that run side by side would race to do so.

    Afterwards the environment, which the steps inherit, says where to track and what the run is called.

    Returns:
        The run's id.
    """
    from mlflow import MlflowClient

    from crossface import tracking

    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
    runs.mkdir(parents=True, exist_ok=True)
    store = runs.absolute() / "mlflow.db"
    uri = os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
    name = os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.update({"KFP_RUN_ID": run_id, "PYTHONUNBUFFERED": "1"})
    for chatty in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    client = MlflowClient()
    if uri == f"sqlite:///{store}" and client.get_experiment_by_name(name) is None:
        client.create_experiment(name, artifact_location=(store.parent / "mlartifacts").as_uri())
    tracking.parent_run(client, run_id)
    return run_id


def run_locally(
    run_id: str, pipeline: Any, arguments: Mapping[str, Any], runs: Path, runner: Any, caching: bool
) -> LocalRun:
    """Run a pipeline with kfp.local.

    Args:
        run_id: from :func:`open_run`.
        pipeline: what ``training_pipeline`` returned.
        arguments: of the pipeline.
        runs: folder for artifacts, cache, logs and reports.
        runner: a kfp.local runner.
        caching: whether steps that ran before with the same code, parameters and inputs may be skipped.

    Raises:
        RunFailedError: a step failed.
    """
    from kfp import local

    runs = runs.absolute()
    log = runs / "logs" / f"{run_id}.log"
    local.init(
        runner, pipeline_root=str(runs / "artifacts"), enable_caching=caching, cache_root=str(runs / "cache")
    )
    started = time.time()
    with contextlib.closing(Console(log)) as console:
        try:
            with contextlib.redirect_stdout(console), _logging_to(console), warnings.catch_warnings():
                # display names and the like: settings without effect here, which kfp says once a task
                warnings.simplefilter("ignore")
                pipeline(**arguments)
        except RuntimeError as error:
            said = "\n".join(dict.fromkeys(console.failures)) or str(error)
            raise RunFailedError(f"{said}\nthe whole log is {shown(log)}") from None
    return _collect(run_id, runs, started)


@contextlib.contextmanager
def _logging_to(stream: Console) -> Any:
    """Send the root logger, which kfp.local narrates through, to the stream."""
    root = logging.getLogger()
    handler = logging.StreamHandler(stream)
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def _collect(run_id: str, runs: Path, started: float) -> LocalRun:
    """Find what evaluate wrote (it is never cached), and copy the report to where it is easily found."""
    found = [
        path
        for path in (runs / "artifacts").glob("**/evaluation/report.html")
        if path.stat().st_mtime >= started
    ]
    evaluation = max(found, key=lambda path: path.stat().st_mtime).parent
    report = runs / "reports" / f"{run_id}.html"
    report.parent.mkdir(exist_ok=True)
    shutil.copyfile(evaluation / "report.html", report)
    return LocalRun(run_id, evaluation, report)


def shown(path: Path) -> str:
    """The path as one would type it here."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
