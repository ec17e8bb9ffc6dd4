"""Whether the services that a pipeline needs are there and let us in."""

import os
from collections.abc import Iterator

from crossface.errors import ConfigError
from crossface_pipelines.cluster.checks import Finding

_MINORS_BEHIND = 2
"""Minor versions that a server may be behind the client before fields start to be missing."""


def kubeflow(host: str, namespace: str) -> Iterator[Finding]:
    """Reachable, lets us in, and of a version that fits."""
    from kfp import __version__

    from crossface_pipelines.cluster.client import connect

    cluster = connect(host, namespace)
    health = cluster.health
    yield Finding("ok", "Kubeflow", f"answers at {cluster.host}")
    yield _version(health.version, health.release, __version__)
    cluster.runs.run_service_list_runs(page_size=1, namespace=cluster.namespace)
    yield Finding("ok", "Kubeflow", "lets us list runs")


def _version(server: str, release: tuple[int, int] | None, client: str) -> Finding:
    subject = "Kubeflow version"
    major, minor = (int(part) for part in client.split(".")[:2])
    both = f"the server is {server}, the client {client}"
    if release is None:
        return Finding("warn", subject, f"{both}; cannot be compared")
    if release[0] < major:
        return Finding("fail", subject, f"{both}; upgrade Kubeflow Pipelines to {major}.{minor}")
    if release[0] > major or release[1] <= minor - _MINORS_BEHIND:
        return Finding("warn", subject, f"{both}; not tried together, upgrade the older one")
    return Finding("ok", subject, both)


def mlflow() -> Iterator[Finding]:
    """The tracking server and its registry."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        yield Finding("skip", "MLflow", "MLFLOW_TRACKING_URI is not set")
        return
    from crossface_pipelines.models import registry

    if uri.startswith(("http://", "https://")):
        yield (version := _mlflow_version(uri))
        if version.state == "fail":
            return
    with registry() as client:
        found = client.search_registered_models(max_results=1)
    yield Finding("ok", "MLflow registry", "answers a search" if found else "answers a search; it is empty")


def _mlflow_version(uri: str) -> Finding:
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request
    from mlflow.version import VERSION

    try:
        answer = http_request(
            get_default_host_creds(uri.rstrip("/")), "/version", "GET", max_retries=1, timeout=10
        )
    except MlflowException as error:
        return Finding("fail", "MLflow", f"{str(error).splitlines()[0]}; check MLFLOW_TRACKING_URI")
    if answer.status_code in (401, 403):
        return Finding(
            "fail",
            "MLflow",
            f"does not let us in ({answer.status_code}); set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        )
    server = answer.text.strip()
    if answer.status_code != 200 or len(server) > 40:
        return Finding("fail", "MLflow", f"no MLflow ({answer.status_code}); check MLFLOW_TRACKING_URI")
    both = f"the server is {server}, the client {VERSION}"
    if server.split(".")[0] != VERSION.split(".")[0]:
        return Finding("fail", "MLflow", f"{both}; upgrade the older one")
    if server.split(".")[:2] != VERSION.split(".")[:2]:
        return Finding("warn", "MLflow", both)
    return Finding("ok", "MLflow", both)


def object_store(bucket: str) -> Iterator[Finding]:
    """The bucket, with the credentials of this machine."""
    if not bucket:
        yield Finding("skip", "object store", "name a bucket with --bucket or CROSSFACE_BUCKET")
        return
    from crossface.data import s3

    if "://" in bucket:
        raise ConfigError("--bucket: its name, without s3://")
    found = next(s3.list_objects(f"{s3.SCHEME}{bucket}"), None)
    yield Finding("ok", "object store", f"lists {bucket}" if found else f"lists {bucket}, which is empty")
