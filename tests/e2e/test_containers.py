"""The training pipeline with each step in its own container: ``make e2e``, after ``make images``."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_servers import mlflow_server
from mlflow import MlflowClient
from workplace import PLANTED, Workplace, files_with_a_secret

from crossface.register.names import COMMIT_TAG, IMAGE_TAG
from crossface_pipelines.docker_runner import IMAGES, run_container

pytestmark = pytest.mark.skipif(
    os.environ.get("CROSSFACE_E2E") != "1", reason="CROSSFACE_E2E=1 is not set: make e2e runs containers"
)

TIMES = {"seconds", "training_seconds"}


@pytest.fixture(scope="module", autouse=True)
def engine():
    import docker

    try:
        client = docker.from_env()
        built = {tag for image in client.images.list() for tag in image.tags}
    except docker.errors.DockerException as error:
        pytest.skip(f"no container engine answers: {error}")
    if missing := set(IMAGES.values()) - built:
        pytest.skip(f"make images first: {', '.join(sorted(missing))}")
    yield client
    client.close()


@pytest.fixture(scope="module")
def tracked(workplace, tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """A tracking server's address, and the folder of its store and files."""
    folder = tmp_path_factory.mktemp("mlflow")
    with mlflow_server(folder, f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts")) as address:
        yield address, folder


@pytest.fixture(scope="module")
def in_containers(workplace, tracked) -> subprocess.CompletedProcess[str]:
    done = run(workplace, tracked, "docker")
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def run(workplace: Workplace, tracked, runner: str, *settings: str) -> subprocess.CompletedProcess[str]:
    options = ("--runner", runner, "--runs", f"runs-{runner}")
    return workplace.run(*settings, options=options, MLFLOW_TRACKING_URI=tracked[0])


def metrics(runs: Path) -> dict:
    (file,) = runs.glob("artifacts/**/evaluation/metrics.json")
    return without_times(json.loads(file.read_text()))


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def test_containers_compute_what_processes_compute(workplace, tracked, in_containers):
    assert "registered  crossface-sample version 1" in in_containers.stdout
    done = run(workplace, tracked, "subprocess")
    assert done.returncode == 0, done.stdout + done.stderr
    assert metrics(workplace.root / "runs-docker") == metrics(workplace.root / "runs-subprocess")


def test_the_version_says_which_image_and_code_made_it(tracked, engine, in_containers):
    client = MlflowClient(tracked[0])
    tags = client.get_model_version("crossface-sample", "1").tags
    image = engine.images.get(IMAGES["torch"])
    assert tags[IMAGE_TAG] == image.id
    assert tags[COMMIT_TAG] == image.labels["org.opencontainers.image.revision"]


def test_nothing_is_written_by_root(workplace, in_containers):
    artifacts = workplace.root / "runs-docker" / "artifacts"
    written = [path for run in artifacts.iterdir() for path in run.rglob("*")]
    assert written
    assert {path.stat().st_uid for path in written} == {os.getuid() or 65532}


def test_a_second_run_takes_from_the_cache_what_other_containers_wrote(workplace, tracked, in_containers):
    again = run(workplace, tracked, "docker", "evaluation.gate.min_balanced_accuracy=1")
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("crop-faces: from the cache") == 3
    assert "train-2: from the cache" in again.stdout
    assert "registered  no. Refused" in again.stdout


def test_a_container_that_fails_at_once_is_never_taken_for_a_success(engine):
    """kfp.local's own function lost some of these codes: it asked when the container was gone."""
    command = ["python", "-c", "raise SystemExit(3)"]
    assert [run_container(engine, IMAGES["data"], command, {}) for _ in range(20)] == [3] * 20


def test_a_failing_container_fails_the_run(workplace, tracked, tmp_path):
    (tmp_path / "readme.txt").write_text("no faces here")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    failed = run(workplace, tracked, "docker", f"datasets.rafdb.source={tmp_path}")
    assert failed.returncode == 1
    assert "rafdb" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_containers_are_removed(engine, in_containers):
    ids = {engine.images.get(tag).id for tag in IMAGES.values()}
    assert not [found for found in engine.containers.list(all=True) if found.image.id in ids]


@pytest.mark.parametrize("tag", IMAGES.values())
def test_image_is_hardened(engine, tag):
    image = engine.images.get(tag)
    assert image.attrs["Config"]["User"] == "65532:65532"
    assert len(image.labels["org.opencontainers.image.revision"].removesuffix("-dirty")) == 40
    look = "import os, shutil; print(os.getuid(), [t for t in ('gcc', 'cc', 'make') if shutil.which(t)])"
    command = ["python", "-c", look]
    said = engine.containers.run(image.id, command, read_only=True, cap_drop=["ALL"], remove=True)
    assert said.decode().strip() == "65532 []"
    assert ("torch" in tag) == _has(engine, image.id, "torch")


def _has(engine, image: str, package: str) -> bool:
    look = f"import importlib.util; print(importlib.util.find_spec('{package}') is not None)"
    return b"True" in engine.containers.run(image, ["python", "-c", look], remove=True)


def test_no_secret_is_left_anywhere(workplace, tracked, engine, in_containers):
    assert "planted" not in in_containers.stdout + in_containers.stderr
    assert files_with_a_secret(workplace.root / "runs-docker", tracked[1]) == []
    for tag in IMAGES.values():
        image = engine.images.get(tag)
        about = json.dumps([image.attrs, image.history()])
        assert not [value for value in PLANTED.values() if value in about]


def test_compiled_pipeline_names_secrets_and_holds_none(workplace, tmp_path):
    out = tmp_path / "training.yaml"
    profile = Path(__file__).parents[2] / "manifests" / "profiles" / "dev.yaml"
    command = [sys.executable, "-m", "crossface_pipelines.cli", "compile", str(out), "--params", "sample"]
    subprocess.run(
        [*command, "--profile", str(profile)], env=workplace.environment(), cwd=workplace.root, check=True
    )
    assert "AWS_SECRET_ACCESS_KEY" in out.read_text()
    assert files_with_a_secret(tmp_path) == []
