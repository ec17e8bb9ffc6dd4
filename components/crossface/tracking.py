"""MLflow for a step: one parent run a pipeline run, one nested run a step.

On a cluster Kubeflow's MLflow plugin may have opened the step's run already and says so in
``MLFLOW_RUN_ID``; then that run is used. Otherwise the parent is found, or made, by the tag that names the
pipeline run, whose id comes from the environment (``KFP_RUN_ID``) and never as a parameter, which would
change the step's cache key. A tracking server that cannot be reached is a warning, not a failed step,
except where the step is about the server itself (``required=True``).
"""

import math
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, Metric, Param, Run, RunTag

from crossface.progress import say

RUN_TAG = "kfp.pipeline_run_id"
STEP_TAG = "crossface.step"
VARIANT_TAG = "crossface.variant"
PARENT_TAG = "mlflow.parentRunId"
OURS_TAG = "crossface.opened"
"""On parent runs that we opened ourselves, and so close ourselves."""
EVALUATION_FOLDER = "evaluation"
"""Of a run's artifacts: what an evaluation wrote."""
EVALUATION_FILES = ("metrics.json", "predictions.parquet")
"""What of it is needed to compare a model with another."""
CHAMPION = "champion"
"""Alias of the version of a registered model that is in use."""
_NAME_TAG = "mlflow.runName"
_PARAM_LIMIT = 6000  # characters of a parameter's value that MLflow stores
_BATCH = 100  # parameters a request


class StepRun:
    """The MLflow run of one step. Every method is safe to call when tracking has been given up."""

    def __init__(self, client: MlflowClient, run_id: str, step: str, required: bool) -> None:
        self._client: MlflowClient | None = client
        self._step = step
        self._required = required
        self.run_id = run_id

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log finite numbers; others are left out, because not every store takes them."""
        now = int(time.time() * 1000)
        finite = [
            Metric(key, float(value), now, step) for key, value in metrics.items() if math.isfinite(value)
        ]
        self._call(lambda client: client.log_batch(self.run_id, metrics=finite))

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters under the step's name (``train.lr``), nested mappings with dots."""
        flat = [Param(key, str(value)[:_PARAM_LIMIT]) for key, value in flatten(params, self._step)]
        for start in range(0, len(flat), _BATCH):
            self._call(
                partial(MlflowClient.log_batch, run_id=self.run_id, params=flat[start : start + _BATCH])
            )

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run."""
        entities = [RunTag(key, value) for key, value in tags.items()]
        self._call(lambda client: client.log_batch(self.run_id, tags=entities))

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Upload a file, or all files of a folder, under ``folder`` of the run's artifacts."""
        if path.is_dir():
            self._call(lambda client: client.log_artifacts(self.run_id, str(path), folder))
        else:
            self._call(lambda client: client.log_artifact(self.run_id, str(path), folder))

    def log_dataset(self, name: str, source: str, digest: str) -> None:
        """Say what the step read: a name, where it is, and its hash (at most 36 characters are kept)."""
        entity = DatasetEntity(name=name, digest=digest[:36], source_type="local", source=source)
        self._call(lambda client: client.log_inputs(self.run_id, [DatasetInput(entity)]))

    def log_crops(self, crops: Iterable[Any]) -> None:
        """Log the crops artifacts that a step reads, by what their step said of them in the metadata."""
        for artifact in crops:
            self.log_dataset(artifact.metadata["dataset"], artifact.uri, artifact.metadata["digest"])

    def log_evaluation(self, folder: Path, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Upload an evaluation folder, with its numbers and its verdict."""
        self.log_metrics(metrics)
        self.set_tags(tags)
        self.log_artifact(folder, EVALUATION_FOLDER)

    def end(self, status: str) -> None:
        """Close the run as ``FINISHED``, ``FAILED`` or ``KILLED``."""
        self._call(lambda client: client.set_terminated(self.run_id, status))

    def _call(self, request: Callable[[MlflowClient], object]) -> None:
        if self._client is None:
            return
        try:
            request(self._client)
        except Exception as error:
            if self._required:
                raise
            self._client = None  # once is enough: each further try would wait for the timeout again
            _warn(f"nothing more of this step is tracked: {error}")


@contextmanager
def step_run(
    step: str, *, variant: str | None = None, params: Mapping[str, Any] | None = None, required: bool = False
) -> Iterator[StepRun]:
    """Open the step's run, log its parameters, and close it with the right status.

    Args:
        step: name of the step; namespace of its parameters.
        variant: tells the runs of a step apart that runs several times: a dataset's key, a method.
        params: the step's configuration.
        required: raise when the tracking server fails, instead of warning and going on.
    """
    if not required:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    name = f"{step} {variant}" if variant else step
    start = time.monotonic()
    say(f"{name}: started")
    run = _open(step, variant, name, required)
    run.log_params(params or {})
    with _killed_on_sigterm(run):
        try:
            yield run
        except BaseException:
            run.end("FAILED")
            raise
        run.end("FINISHED")
    say(f"{name}: done in {time.monotonic() - start:.1f} s")


def parent_run(client: MlflowClient, pipeline_run_id: str) -> Run:
    """Find or make the parent run of a pipeline run; of several, made in a race, the earliest counts."""
    if found := find_parent_run(client, pipeline_run_id):
        return found
    tags = {RUN_TAG: pipeline_run_id, OURS_TAG: "true"}
    made = client.create_run(experiment_id(client), tags=tags, run_name=pipeline_run_id)
    first = find_parent_run(client, pipeline_run_id) or made
    if first.info.run_id != made.info.run_id:
        client.delete_run(made.info.run_id)  # another step was faster
    return first


def find_parent_run(client: MlflowClient, pipeline_run_id: str) -> Run | None:
    """The parent run of a pipeline run, if there is one."""
    query = f"tags.`{RUN_TAG}` = '{pipeline_run_id}'"
    found = client.search_runs([experiment_id(client)], query, max_results=1000)
    parents = [run for run in found if PARENT_TAG not in run.data.tags]
    return min(parents, key=lambda run: (run.info.start_time, run.info.run_id), default=None)


@contextmanager
def champion(name: str) -> Iterator[tuple[Path, str] | None]:
    """What was kept of the evaluation of a registered model's champion, and its version.

    Args:
        name: of the registered model; empty for none.

    Yields:
        a folder with ``metrics.json`` and ``predictions.parquet``, which lasts as long as the block, and the
        version; None where there is no such model or it has no champion.

    Raises:
        MlflowException: the registry cannot be reached, or its files are gone.
    """
    client = MlflowClient()
    if not name or not client.search_registered_models(f"name = '{name}'"):
        yield None
        return
    version = client.get_registered_model(name).aliases.get(CHAMPION)
    if version is None:
        yield None
        return
    run_id = client.get_model_version(name, version).run_id
    with tempfile.TemporaryDirectory() as scratch:
        for file in EVALUATION_FILES:
            # where in the folder it comes to lie depends on the store
            found = client.download_artifacts(run_id, f"{EVALUATION_FOLDER}/{file}", scratch)
        yield Path(found).parent, str(version)


def step_runs(client: MlflowClient, pipeline_run_id: str, step: str) -> list[Run]:
    """The runs of one step of a pipeline run, newest first."""
    parent = find_parent_run(client, pipeline_run_id)
    if parent is None:
        return []
    query = f"tags.`{PARENT_TAG}` = '{parent.info.run_id}' and tags.`{STEP_TAG}` = '{step}'"
    return list(
        client.search_runs([parent.info.experiment_id], query, order_by=["attributes.start_time DESC"])
    )


def last_finished(step: str, tags: Mapping[str, str]) -> Run | None:
    """The newest run of a step with these tags whose pipeline run came to a good end.

    Raises:
        MlflowException: the server cannot be reached.
    """
    client = MlflowClient()
    query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in {STEP_TAG: step, **tags}.items())
    runs = client.search_runs([experiment_id(client)], query, order_by=["attributes.start_time DESC"])
    for run in runs:
        parent = run.data.tags.get(PARENT_TAG)
        if parent and client.get_run(parent).info.status == "FINISHED":
            return run
    return None


def experiment_id(client: MlflowClient) -> str:
    """The experiment that the environment names (``MLFLOW_EXPERIMENT_ID`` or ``_NAME``), made if missing."""
    if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return given
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "crossface")
    experiment = client.get_experiment_by_name(name)
    return experiment.experiment_id if experiment else client.create_experiment(name)


def flatten(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield ``("prefix.key.inner", value)`` for nested mappings."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}", value


def _open(step: str, variant: str | None, name: str, required: bool) -> StepRun:
    client = MlflowClient()
    tags = {STEP_TAG: step, **({VARIANT_TAG: variant} if variant else {})}
    try:
        given = os.environ.get("MLFLOW_RUN_ID")
        if given:
            client.update_run(given, status="RUNNING")
            run = StepRun(client, given, step, required)
            run.set_tags(tags)
            return run
        if pipeline_run_id := os.environ.get("KFP_RUN_ID"):
            parent = parent_run(client, pipeline_run_id)
            tags |= {PARENT_TAG: parent.info.run_id}
        created = client.create_run(experiment_id(client), tags=tags, run_name=name)
        return StepRun(client, created.info.run_id, step, required)
    except Exception as error:
        if required:
            raise
        _warn(f"this step is not tracked: {error}")
        untracked = StepRun(client, "", step, required)
        untracked._client = None
        return untracked


@contextmanager
def _killed_on_sigterm(run: StepRun) -> Iterator[None]:
    """Close the run as KILLED when the pod is evicted; without this it would stay RUNNING for ever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        run.end("KILLED")
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _warn(message: str) -> None:
    say(f"warning: MLflow: {message}")
