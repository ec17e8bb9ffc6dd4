"""What goes into the images, and what may not."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths
from hypothesis import given
from hypothesis import strategies as st

import crossface_pipelines
from crossface_pipelines.exposure import is_exposed
from crossface_pipelines.steps import STEP_IMAGES

ROOT = Path(crossface_pipelines.__file__).parents[2]
DOCKERFILES = sorted((ROOT / "images").rglob("Dockerfile"))


@pytest.mark.parametrize(
    "planted",
    [
        ".env", "s3.env", "components/s3.env", "components/crossface/.env.local", "tests/key.pem",
        "manifests/overlays/prod/db.env", "data/face.jpg", "runs/mlflow.db", ".git/config",
        "components/.aws/credentials",
    ],
)  # fmt: skip
def test_no_secret_and_no_face_is_handed_to_the_build(tmp_path, planted):
    for name in ("constraints.txt", "pyproject.toml", "components/crossface/tracking.py", planted):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    context = exclude_paths(str(tmp_path), (ROOT / ".dockerignore").read_text().splitlines())
    assert {"constraints.txt", "pyproject.toml", "components/crossface/tracking.py"} <= context
    assert planted not in context


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_dockerfile_is_pinned_and_unprivileged(path):
    text = path.read_text()
    assert re.search(r"^ARG PYTHON_IMAGE=\S+@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert text.rindex("\nUSER 65532:65532") > text.rindex("\nCOPY")
    assert "org.opencontainers.image.revision" in text
    for name in re.findall(r"(?:ARG |ENV |\s)([A-Z_]+)=", text):
        assert not is_exposed(name, ""), "it would stay in the image's history"


def test_every_package_of_an_image_is_pinned():
    """Of the two Dockerfiles, the one that names packages itself too."""
    pinned = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    installed = (ROOT / "images" / "mlflow" / "Dockerfile").read_text()
    (command,) = re.findall(r"RUN pip install --constraint constraints.txt (.*?)\n\n", installed, re.DOTALL)
    for package in command.replace("\\", " ").replace('"', "").split():
        name = re.split(r"[\[>=<]", package)[0]
        assert name in pinned or "==" in package


def push(tmp_path, tag, engine="docker"):
    """Run the script with an engine that says what it is asked to do, and gives a digest for every image."""
    shutil.copy(ROOT / "images" / "push.sh", tmp_path)
    (tmp_path / "images.lock.yaml").write_text("before\n")
    fake = tmp_path / engine
    fake.write_text(
        f"""#!/bin/sh
echo "$@" >> {tmp_path}/asked
case $1 in
inspect) echo "other.example/crossface-data@sha256:0"; echo "${{4%:*}}@sha256:$(printf '%064d' 7)" ;;
esac
"""
    )
    fake.chmod(0o755)
    command = [tmp_path / "push.sh", "registry.example/team", tag]
    return subprocess.run(command, env={"PATH": "/usr/bin:/bin", "ENGINE": str(fake)}, capture_output=True)


def test_push_keeps_what_the_registry_calls_the_images(tmp_path):
    done = push(tmp_path, "1" * 40)
    assert done.returncode == 0, done.stderr
    lock = (tmp_path / "images.lock.yaml").read_text().splitlines()[1:]
    assert lock == [
        f'{name}: {{image: "registry.example/team/crossface-{name}@sha256:{7:064d}", tag: "{"1" * 40}"}}'
        for name in (*sorted(set(STEP_IMAGES.values())), "mlflow")
    ]
    assert not list(tmp_path.glob("images.lock.yaml.*"))


@pytest.mark.parametrize("tag", ["", f"{'1' * 40}-dirty"])
def test_push_of_code_that_nobody_can_find_again_is_refused(tmp_path, tag):
    done = push(tmp_path, tag)
    assert done.returncode == 1
    assert b"commit first" in done.stderr
    assert not (tmp_path / "asked").exists()
    assert (tmp_path / "images.lock.yaml").read_text() == "before\n"


@given(st.from_regex(r"\A[A-Z]{1,8}(_[A-Z]{1,8}){0,2}\Z"))
def test_a_password_in_a_url_is_seen_under_any_name(name):
    assert is_exposed(name, "https://me:hunter2@mlflow.example/path")
    assert not is_exposed("MLFLOW_TRACKING_URI", "http://mlflow.crossface.svc:5000/a:b@c")
