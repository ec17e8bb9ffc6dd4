"""The kfp.local runners: steps as processes of this environment, or each in its own container."""

import os
from pathlib import Path
from typing import Any

from crossface.errors import ConfigError
from crossface_pipelines.profiles import Profile, container_profile
from crossface_pipelines.source_code import source_profile
from crossface_pipelines.training.params import TrainingParams

IMAGES = {"data": "crossface-data:dev", "torch": "crossface-torch:dev"}
"""What ``make images`` builds."""


def make_runner(kind: str, params: TrainingParams, caching: bool) -> tuple[Any, Profile]:
    """A kfp.local runner and the profile that goes with it.

    Raises:
        ConfigError: no container engine answers, or an image is missing.
    """
    if kind == "docker":
        return _docker_runner(params), container_profile(IMAGES, caching)
    return process_runner(caching)


def process_runner(caching: bool) -> tuple[Any, Profile]:
    """Steps as processes of this environment."""
    from kfp import local

    return local.SubprocessRunner(use_venv=False), source_profile(caching)


def _docker_runner(params: TrainingParams) -> Any:
    """Containers as this user, read-only but for /tmp and what the run writes, without capabilities.

    They share the host's network, so that a tracking server on this machine's loopback is the same address
    for them.
    """
    import docker
    from docker.types import Mount
    from kfp import local
    from kfp.local import docker_task_handler

    if not os.environ["MLFLOW_TRACKING_URI"].startswith("http"):
        raise ConfigError(
            "--runner docker: containers need an MLflow server: start one with mlflow server, "
            "and set MLFLOW_TRACKING_URI=http://127.0.0.1:5000"
        )
    try:
        engine = docker.from_env()
        images = {tag for image in engine.images.list() for tag in image.tags}
        engine.close()
    except docker.errors.DockerException as error:
        raise ConfigError(f"--runner docker: no container engine answers ({error})") from None
    if missing := sorted(set(IMAGES.values()) - images):
        raise ConfigError(f"--runner docker: build {' and '.join(missing)} first: make images")
    docker_task_handler.run_docker_container = run_container
    sources = sorted({str(Path(dataset.source).absolute()) for dataset in params.datasets})
    passed = {key: value for key, value in os.environ.items() if key.startswith(("MLFLOW_", "KFP_RUN_ID"))}
    return local.DockerRunner(
        user=f"{os.getuid()}:{os.getgid()}",
        environment={**passed, "HOME": "/tmp", "PYTHONUNBUFFERED": "1"},  # noqa: S108  a tmpfs of the container
        mounts=[Mount(path, path, type="bind", read_only=True) for path in sources],
        network_mode="host",
        read_only=True,
        tmpfs={"/tmp": "size=2g"},  # noqa: S108
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
    )


def run_container(client: Any, image: str, command: list[str], volumes: dict, **arguments: Any) -> int:
    """Run a container to its end, print what it says, and return its exit code.

    Stands in for kfp.local's own function, which lets the engine remove the container before asking for its
    exit code, and so takes some fast failures for successes.
    """
    container = client.containers.create(image=image, command=command, volumes=volumes, **arguments)
    try:
        container.start()
        for line in container.logs(stream=True, follow=True):
            print(line.decode(errors="replace"), end="")
        return int(container.wait()["StatusCode"])
    finally:
        container.remove(force=True)
