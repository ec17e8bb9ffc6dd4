"""The kfp.local runners: steps as processes of this environment, or each in its own container."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from crossface_pipelines.profiles import Profile
from crossface_pipelines.source_code import source_profile


def choose_runner(
    kind: str, arguments: Mapping[str, Any], caching: bool
) -> Callable[[Path], tuple[Any, Profile]]:
    """What makes a kfp.local runner, and the profile that goes with it, once there is a folder for the run.

    Args:
        kind: ``subprocess`` or ``docker``.
        arguments: of the pipeline.
        caching: whether steps may come from the cache.

    Raises:
        ConfigError: containers cannot be run here; said now, before anything is recorded.
    """
    if kind == "docker":
        from crossface_pipelines.docker_runner import docker_runner, find_images

        return partial(docker_runner, find_images(), arguments, caching)
    return lambda artifacts: process_runner(caching)


def process_runner(caching: bool) -> tuple[Any, Profile]:
    """Steps as processes of this environment."""
    from kfp import local

    return local.SubprocessRunner(use_venv=False), source_profile(caching)
