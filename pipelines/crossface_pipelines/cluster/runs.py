"""Runs on a cluster: started, and watched until they end."""

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import kfp_server_api

from crossface.errors import CrossfaceError
from crossface_pipelines.cluster.client import Cluster, ClusterError, MissingError, UnavailableError
from crossface_pipelines.cluster.redaction import redacted
from crossface_pipelines.cluster.versions import Version
from crossface_pipelines.profiles import Profile

POLL_SECONDS = 10.0
PATIENCE_SECONDS = 900.0
"""How long a server may be silent while a run is watched: it is restarted, a laptop sleeps."""
_ENDED = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")
_WORDS = {"RUNNING": "started"}
_PLUGINS_SINCE = (2, 17)


class RunEndedError(CrossfaceError):
    """A run did not end well; the message names the tasks that failed."""


def plugins_input(cluster: Cluster, profile: Profile) -> dict[str, Any] | None:
    """Name to Kubeflow's MLflow plugin the experiment that the steps know from their environment.

    Older servers know no plugins, and have no such field.
    """
    name = next(
        filter(None, (one.environment.get("MLFLOW_EXPERIMENT_NAME") for one in profile.placements.values())),
        "",
    )
    release = cluster.health.release
    if not name or (release is not None and release < _PLUGINS_SINCE):
        return None
    return {"mlflow": {"experiment_name": name}}


def start_run(
    cluster: Cluster,
    version: Version,
    title: str,
    experiment_id: str,
    profile: Profile,
    arguments: Mapping[str, Any],
) -> str:
    """Start a run of a version and return its id.

    Raises:
        ClusterError: the server does not take it. Where it did not answer in time, the run may have started.
    """
    run = kfp_server_api.V2beta1Run(
        display_name=f"{title} {datetime.now():%Y-%m-%d %H:%M}",
        experiment_id=experiment_id,
        pipeline_version_reference=version.reference,
        runtime_config=kfp_server_api.V2beta1RuntimeConfig(parameters=dict(arguments)),
        service_account=profile.service_account or None,
        plugins_input=plugins_input(cluster, profile),
    )
    try:
        return cluster.runs.run_service_create_run(run).run_id
    except UnavailableError as error:
        raise ClusterError(
            f"{error}\nthe run may have started all the same: look before you repeat it"
        ) from None


def watch(cluster: Cluster, run_id: str, minutes: float | None = None) -> None:
    """Print what becomes of each task, until the run has ended.

    Args:
        cluster: where it runs.
        run_id: from :func:`start_run`.
        minutes: to wait at most.

    Raises:
        RunEndedError: the run failed.
        ClusterError: it has not ended in time, or the server is gone. The run goes on.
    """
    back = f"come back with: crossface watch {run_id}"
    try:
        _ = cluster.health  # a server that never answered is not waited for
        run = _until_it_ends(cluster, run_id, minutes)
    except KeyboardInterrupt:
        print(f"the run goes on; {back}", file=sys.stderr)
        raise SystemExit(130) from None
    except MissingError:
        raise
    except CrossfaceError as error:
        raise type(error)(f"{error}\nthe run may go on; {back}") from None
    if run.state != "SUCCEEDED":
        raise RunEndedError(_story(cluster, run, _tasks(run, _names(cluster, run))))
    print(f"succeeded: {cluster.run_url(run_id)}")


def _until_it_ends(cluster: Cluster, run_id: str, minutes: float | None) -> Any:
    deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
    names: dict[str, str] | None = None
    shown: dict[str, str] = {}
    while True:
        run = _ask(partial(cluster.runs.run_service_get_run, run_id), deadline)
        if names is None:
            names = _ask(partial(_names, cluster, run), deadline)
        for task_id, name, state, _ in _tasks(run, names):
            if state and shown.get(task_id) != state:
                shown[task_id] = state
                print(f"{datetime.now():%H:%M:%S}  {name}: {state}", flush=True)
        if run.state in _ENDED:
            return run
        if time.monotonic() > deadline:
            raise ClusterError(f"not ended after {minutes:g} minutes")
        time.sleep(POLL_SECONDS)


def _ask(question: Callable[[], Any], deadline: float) -> Any:
    """Ask until there is an answer, and say once that there is none yet."""
    patient_until = min(time.monotonic() + PATIENCE_SECONDS, deadline)
    told = False
    while True:
        try:
            return question()
        except UnavailableError as error:
            if time.monotonic() > patient_until:
                raise
            if not told:
                print(f"{datetime.now():%H:%M:%S}  waiting: {error}", file=sys.stderr, flush=True)
                told = True
            time.sleep(POLL_SECONDS)


def _names(cluster: Cluster, run: Any) -> dict[str, str]:
    """Steps of the run's pipeline, and what people call them.

    Kubeflow also lists the loops, conditions and drivers that it wraps around them.
    """
    document = run.pipeline_spec
    if reference := run.pipeline_version_reference:
        document = cluster.pipelines.pipeline_service_get_pipeline_version(
            reference.pipeline_id, reference.pipeline_version_id
        ).pipeline_spec
    spec = document.get("pipeline_spec", document)
    found: dict[str, set[str]] = {}
    for component in (spec["root"], *spec["components"].values()):
        for key, task in component.get("dag", {}).get("tasks", {}).items():
            if "executorLabel" in spec["components"][task["componentRef"]["name"]]:
                found.setdefault(key, set()).add(task["taskInfo"]["name"])
    return {key: titles.pop() if len(titles) == 1 else key for key, titles in found.items()}


def _tasks(run: Any, names: Mapping[str, str]) -> Iterator[tuple[str, str, str, Any]]:
    """Id, name, state in one word, and details of each step's tasks; a loop has several of a step."""
    details = (run.run_details and run.run_details.task_details) or []
    by_id = {detail.task_id: detail for detail in details}
    seen: Counter[str] = Counter()
    for detail in sorted(details, key=lambda detail: (str(detail.create_time), detail.task_id)):
        if name := names.get(detail.display_name):
            seen[name] += 1
            title = name if seen[name] == 1 else f"{name} ({seen[name]})"
            yield detail.task_id, title, _word(detail, by_id), detail


def _word(detail: Any, by_id: Mapping[str, Any]) -> str:
    state = str(detail.state or "")
    if state in ("", "PENDING", "RUNTIME_STATE_UNSPECIFIED"):
        return ""
    below = [by_id.get(child.task_id) for child in detail.child_tasks or ()]
    # the driver found the result, so the container inside the task was left out
    if state == "SUCCEEDED" and any(child is not None and child.state == "SKIPPED" for child in below):
        return "cached"
    return _WORDS.get(state, state.lower())


def _story(cluster: Cluster, run: Any, tasks: Iterator[tuple[str, str, str, Any]]) -> str:
    """The end of a run that did not go well, one line a failed task."""
    lines = [f"the run {str(run.state).lower()}: {cluster.run_url(run.run_id)}"]
    for _, name, state, detail in tasks:
        if state == "failed":
            lines.append(f"{name}: {_error(detail) or 'failed; its log is on that page'}")
    if error := _error(run):
        lines.append(error)
    return "\n".join(lines)


def _error(failed: Any) -> str:
    """What Kubeflow says of a task or run."""
    return (
        redacted(" ".join(str(failed.error.message).split())) if failed.error and failed.error.message else ""
    )
