"""kfp.local's runner with each step in its own container, as hardened as a pod."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossface.data import s3
from crossface.errors import ConfigError
from crossface_pipelines.profiles import IMAGE_VARIABLE, Profile, container_profile
from crossface_pipelines.steps import STEP_IMAGES

if TYPE_CHECKING:
    from docker.types import Mount

IMAGES = {"data": "crossface-data:dev", "torch": "crossface-torch:dev"}
"""What ``make images`` builds."""
_STRANGER = 65532
"""User of the containers where this one is root; that of the images."""
_PASSED_ON = ("AWS_", "MLFLOW_", "KFP_RUN_ID")


def docker_runner(
    images: Mapping[str, str], arguments: Mapping[str, Any], caching: bool, artifacts: Path
) -> tuple[Any, Profile]:
    """A kfp.local runner, and the profile with the images as they are now.

    Containers are read-only but for ``/tmp`` and what their run writes, run as this user (never as root) and
    without capabilities. They share the host's network, so that a tracking server on this machine's loopback
    is the same address for them.

    Args:
        images: from :func:`find_images`.
        arguments: of the pipeline: where its files lie.
        caching: whether steps may come from the cache.
        artifacts: the folder with what the run writes, in the folder with those of all runs; made here.
    """
    from docker.types import Mount
    from kfp import local
    from kfp.local import docker_task_handler

    user, group = _user()
    artifacts.mkdir(parents=True)
    _give(artifacts, user, group)
    docker_task_handler.run_docker_container = run_container
    passed = {key: value for key, value in os.environ.items() if key.startswith(_PASSED_ON)}
    passed[IMAGE_VARIABLE] = images[STEP_IMAGES["register"]]
    # what other runs wrote comes from the cache
    everything = Mount(str(artifacts.parent), str(artifacts.parent), type="bind", read_only=True)
    runner = local.DockerRunner(
        user=f"{user}:{group}",
        environment=passed,
        mounts=[everything, *_mounts(arguments, user, group)],
        working_dir=str(Path.cwd()),  # what relative paths of the parameters are relative to
        network_mode="host",
        read_only=True,
        tmpfs={"/tmp": "size=50%"},  # noqa: S108  of this machine's memory
        shm_size="1g",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
    )
    return runner, container_profile(images, caching)


def find_images() -> dict[str, str]:
    """The images by their ids: a tag moves with the next build, and the cache would not notice.

    Raises:
        ConfigError: the tracking store is no server, no container engine answers, or an image is missing.
    """
    import docker

    if not os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http"):
        raise ConfigError(
            "--runner docker: containers need an MLflow server: start one with mlflow server, "
            "and set MLFLOW_TRACKING_URI=http://127.0.0.1:5000"
        )
    try:
        engine = docker.from_env()
        ids = {tag: image.id for image in engine.images.list() for tag in image.tags}
        engine.close()
    except docker.errors.DockerException as error:
        raise ConfigError(f"--runner docker: no container engine answers ({error})") from None
    if missing := sorted(set(IMAGES.values()) - set(ids)):
        raise ConfigError(f"--runner docker: build {' and '.join(missing)} first: make images")
    return {name: ids[tag] for name, tag in IMAGES.items()}


def _user() -> tuple[int, int]:
    return (_STRANGER, _STRANGER) if os.getuid() == 0 else (os.getuid(), os.getgid())


def _give(folder: Path, user: int, group: int) -> None:
    """Let the containers' user write to a folder that this process has made."""
    if os.getuid() == 0:
        os.chown(folder, user, group)


def _mounts(arguments: Mapping[str, Any], user: int, group: int) -> Iterator["Mount"]:
    """What the arguments name on this machine: data and weights to read, checkpoints to write."""
    from docker.types import Mount

    read, written = set(), set()
    for source in (dataset["source"] for dataset in arguments["datasets"]):
        if not source.startswith(s3.SCHEME):
            path = Path(source).absolute()
            # an archive may be one of several volumes
            read.add(path if path.is_dir() else path.parent)
    for training in (arguments["baseline"], arguments["adapted"], *arguments.get("trainings", ())):
        if "/" in training["weights"]:
            read.add(Path(training["weights"]).absolute())
        uri = training["checkpoint"]["uri"]
        if uri and not uri.startswith(s3.SCHEME):
            written.add(Path(uri).absolute())
    for path in sorted(read):
        yield Mount(str(path), str(path), type="bind", read_only=True)
    for path in sorted(written):
        path.mkdir(parents=True, exist_ok=True)
        _give(path, user, group)
        yield Mount(str(path), str(path), type="bind")


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
