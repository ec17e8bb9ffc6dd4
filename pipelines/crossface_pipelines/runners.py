"""The kfp.local runners: steps as processes of this environment, or each in its own container."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossface_pipelines.profiles import Profile
from crossface_pipelines.source_code import source_profile


def make_runner(
    kind: str, arguments: Mapping[str, Any], artifacts: Path, caching: bool
) -> tuple[Any, Profile]:
    """A kfp.local runner and the profile that goes with it.

    Args:
        kind: ``subprocess`` or ``docker``.
        arguments: of the pipeline.
        artifacts: the folder with what the run writes.
        caching: whether steps may come from the cache.

    Raises:
        ConfigError: containers cannot be run here.
    """
    if kind == "docker":
        from crossface_pipelines.docker_runner import docker_runner

        return docker_runner(arguments, artifacts, caching)
    return process_runner(caching)


def process_runner(caching: bool) -> tuple[Any, Profile]:
    """Steps as processes of this environment."""
    from kfp import local

    return local.SubprocessRunner(use_venv=False), source_profile(caching)
