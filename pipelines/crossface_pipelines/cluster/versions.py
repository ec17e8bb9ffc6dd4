"""Pipelines and their versions on a server: a new version only where the compiled pipeline is a new one."""

import hashlib
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import kfp_server_api
import yaml

from crossface.errors import ConfigError
from crossface_pipelines.cluster.client import Cluster, ConflictError, named, pages
from crossface_pipelines.compiling import write_ir
from crossface_pipelines.profiles import Profile

Thing = TypeVar("Thing")
_DIGITS = 12  # of a hash, which name a version


@dataclass(frozen=True)
class Compiled:
    """A pipeline for a profile, without parameters: a run brings its own, so new ones need no new version."""

    pipeline: str
    """Its name on the server."""
    version: str
    """Its content's hash: the same pipeline finds its version again."""
    text: str
    """KFP's YAML."""


@dataclass(frozen=True)
class Version:
    """A version on a server."""

    pipeline_id: str
    version_id: str

    @property
    def reference(self) -> kfp_server_api.V2beta1PipelineVersionReference:
        """As runs and schedules name it."""
        return kfp_server_api.V2beta1PipelineVersionReference(
            pipeline_id=self.pipeline_id, pipeline_version_id=self.version_id
        )


def compiled(name: str, profile: Profile) -> Compiled:
    """Compile a pipeline by its name in :mod:`crossface_pipelines.cluster.names`."""
    with tempfile.TemporaryDirectory(prefix="crossface-") as folder:
        out = Path(folder) / "pipeline.yaml"
        write_ir(name, profile, {}, out)
        text = out.read_text()
    info = next(yaml.safe_load_all(text))["pipelineInfo"]
    return Compiled(info["name"], hashlib.sha256(text.encode()).hexdigest()[:_DIGITS], text)


def find_or_upload(cluster: Cluster, made: Compiled) -> Version:
    """Find the version of a compiled pipeline; upload it, and make the pipeline, where it is not there.

    Raises:
        ClusterError: the server does not do it.
    """
    pipeline = _find_or_make(
        lambda: _pipelines(cluster, made.pipeline),
        lambda: cluster.pipelines.pipeline_service_create_pipeline(
            kfp_server_api.V2beta1Pipeline(
                name=made.pipeline, display_name=made.pipeline, namespace=cluster.namespace
            )
        ),
    )
    version = _find_or_make(
        lambda: _versions(cluster, pipeline.pipeline_id, made.version),
        lambda: _upload(cluster, pipeline.pipeline_id, made),
    )
    return Version(pipeline.pipeline_id, version.pipeline_version_id)


def experiment_id(cluster: Cluster, name: str) -> str:
    """Find an experiment, or make it.

    Raises:
        ConfigError: it is archived: its runs would be refused.
    """
    found = _find_or_make(
        lambda: list(
            pages(
                cluster.experiments.experiment_service_list_experiments,
                "experiments",
                filter=named(name),
                namespace=cluster.namespace,
            )
        ),
        lambda: cluster.experiments.experiment_service_create_experiment(
            kfp_server_api.V2beta1Experiment(display_name=name, namespace=cluster.namespace)
        ),
    )
    if found.storage_state == "ARCHIVED":
        raise ConfigError(f"--experiment {name}: archived; restore it in Kubeflow, or name another")
    return found.experiment_id


def _find_or_make(find: Callable[[], Iterable[Thing]], make: Callable[[], Thing]) -> Thing:
    """Look, make, and look again where somebody else made it in between."""
    for thing in find():
        return thing
    try:
        return make()
    except ConflictError:
        for thing in find():
            return thing
        raise


def _pipelines(cluster: Cluster, name: str) -> list[Any]:
    listing = cluster.pipelines.pipeline_service_list_pipelines
    return list(pages(listing, "pipelines", filter=named(name), namespace=cluster.namespace))


def _versions(cluster: Cluster, pipeline_id: str, name: str) -> list[Any]:
    listing = cluster.pipelines.pipeline_service_list_pipeline_versions
    return list(pages(listing, "pipeline_versions", pipeline_id=pipeline_id, filter=named(name)))


def _upload(cluster: Cluster, pipeline_id: str, made: Compiled) -> Any:
    with tempfile.TemporaryDirectory(prefix="crossface-") as folder:
        package = Path(folder) / "pipeline.yaml"
        package.write_text(made.text)
        return cluster.uploads.upload_pipeline_version(
            str(package), name=made.version, display_name=made.version, pipelineid=pipeline_id
        )
