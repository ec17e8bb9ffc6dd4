"""Runs a pipeline on this machine with kfp.local."""

import contextlib
import logging
import os
import shutil
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossface.errors import ConfigError, CrossfaceError
from crossface_pipelines.console import Console

EXPERIMENT = "crossface"


class RunFailedError(CrossfaceError):
    """A step of the pipeline failed; the message says which words it failed with and where the log is."""


@dataclass(frozen=True)
class LocalRun:
    """A pipeline run that ended well."""

    run_id: str
    folder: Path
    """What the step with the report wrote."""
    report: Path


@contextlib.contextmanager
def open_run(runs: Path) -> Iterator[str]:
    """Name a new run and open it in MLflow, before steps that run side by side would race to do so.

    Inside, the environment, which the steps inherit, says where to track and what the run is called.

    Yields:
        The run's id.

    Raises:
        ConfigError: the tracking server cannot be reached.
    """
    from crossface.finalize.finalize import close_parent_run

    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
    runs.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{runs.absolute() / 'mlflow.db'}")
    os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.update({"KFP_RUN_ID": run_id, "PYTHONUNBUFFERED": "1"})
    _open_parent_run(run_id, runs)
    try:
        yield run_id
    except BaseException as error:  # also what keeps the pipeline from reaching its own exit task
        close_parent_run(run_id, "FAILED" if isinstance(error, Exception) else "CANCELED")
        raise


def _open_parent_run(run_id: str, runs: Path) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from crossface import tracking

    for chatty in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    uri, name = os.environ["MLFLOW_TRACKING_URI"], os.environ["MLFLOW_EXPERIMENT_NAME"]
    try:
        with impatient():
            client = MlflowClient()
            # without a server, MLflow would put a store's files into the working directory
            if uri.startswith("sqlite:") and client.get_experiment_by_name(name) is None:
                client.create_experiment(name, artifact_location=(runs.absolute() / "mlartifacts").as_uri())
            tracking.parent_run(client, run_id)
    except MlflowException as error:
        raise ConfigError(f"MLFLOW_TRACKING_URI: {uri} cannot be used: {_first_line(error)}") from None


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Give MLflow one try of ten seconds; by default it takes minutes to give a server up."""
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    added = {key: value for key, value in limits.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            del os.environ[key]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def run_locally(
    run_id: str,
    pipeline: Any,
    arguments: Mapping[str, Any],
    runs: Path,
    runner: Any,
    caching: bool,
    report: str = "evaluation/report.html",
) -> LocalRun | None:
    """Run a pipeline with kfp.local.

    Args:
        run_id: from :func:`open_run`.
        pipeline: what ``training_pipeline`` or another returned.
        arguments: of the pipeline.
        runs: folder for artifacts, cache, logs and reports.
        runner: a kfp.local runner.
        caching: whether steps that ran before with the same code, parameters and inputs may be skipped.
        report: the page that the run is about, in the output of a step that is never cached.

    Returns:
        What there is to see; None of a pipeline that had nothing to do and so wrote no report.

    Raises:
        RunFailedError: a step failed.
    """
    from kfp import local

    runs = runs.absolute()
    log = runs / "logs" / f"{run_id}.log"
    local.init(
        runner,
        pipeline_root=str(artifacts_of(run_id, runs)),
        enable_caching=caching,
        cache_root=str(runs / "cache"),
    )
    with contextlib.closing(Console(log)) as console:
        try:
            with contextlib.redirect_stdout(console), _logging_to(console), warnings.catch_warnings():
                # display names and the like: settings without effect here, which kfp says once a task
                warnings.simplefilter("ignore")
                pipeline(**arguments)
        except RuntimeError as error:
            said = "\n".join(dict.fromkeys(console.failures)) or str(error)
            raise RunFailedError(f"{said}\nthe whole log is {shown(log)}") from None
    return _collect(run_id, runs, report)


@contextlib.contextmanager
def _logging_to(stream: Console) -> Iterator[None]:
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


def artifacts_of(run_id: str, runs: Path) -> Path:
    """The folder with what the steps of a run write."""
    return runs.absolute() / "artifacts" / run_id


def _collect(run_id: str, runs: Path, report: str) -> LocalRun | None:
    """Find the report, and copy it to where it is easily found."""
    written = next(artifacts_of(run_id, runs).glob(f"**/{report}"), None)
    if written is None:
        return None
    copy = runs / "reports" / f"{run_id}.html"
    copy.parent.mkdir(exist_ok=True)
    shutil.copyfile(written, copy)
    return LocalRun(run_id, written.parent, copy)


def shown(path: Path) -> str:
    """The path as one would type it here."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
