"""``crossface score`` on kfp.local, with a real registry: what a user sees, and what MLflow holds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from PIL import Image

import crossface.register
from crossface import tracking

sys.path.append(str(Path(__file__).parents[1] / "component"))
from served import flat_reference, write_files

SERVED = Path(crossface.register.__file__).with_name("served_model.py")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with photos, and a registry as ``crossface run`` leaves it."""
    root = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    (root / "photos").mkdir()
    for number in range(30):
        pixels = rng.integers(0, 256, (50, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "photos" / f"{number:02}.png")
    (root / "photos" / "30.jpg").write_bytes(b"\xff\xd8")
    (root / "runs").mkdir()
    client = MlflowClient(f"sqlite:///{root / 'runs' / 'mlflow.db'}")
    experiment = client.create_experiment("crossface", (root / "runs" / "mlartifacts").as_uri())
    mlflow.set_tracking_uri(client.tracking_uri)
    try:
        files = write_files(root / "files", reference=flat_reference())
        with mlflow.start_run(experiment_id=experiment) as run:
            logged = mlflow.pyfunc.log_model(
                name="model", python_model=SERVED, artifacts=files, pip_requirements=["numpy"]
            )
        client.create_registered_model("faces")
        client.create_model_version("faces", logged.model_uri, run.info.run_id)
    finally:
        mlflow.set_tracking_uri(None)
    (root / "params.yaml").write_text(
        "pin: {model_name: faces}\nscore: {source: photos, shard_photos: 8, checkpoint: kept, workers: 1}\n"
    )
    return root


def run(place: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    sets = [part for setting in settings for part in ("--set", setting)]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "KFP_"))}
    command = [sys.executable, "-m", "crossface_pipelines.cli", "score", "--params", "params.yaml", *sets]
    return subprocess.run(command, cwd=place, env=clean, capture_output=True, text=True, timeout=300)


def test_scores_with_the_champion_and_says_where_they_are(place):
    client = MlflowClient(f"sqlite:///{place / 'runs' / 'mlflow.db'}")
    none = run(place)
    assert none.returncode == 1
    assert "pin.alias: no version of faces is its champion; aliases: none" in none.stderr
    assert "Traceback" not in none.stderr
    client.set_registered_model_alias("faces", "champion", "1")

    done = run(place)
    assert done.returncode == 0, done.stdout + done.stderr
    end = dict(
        line.split(maxsplit=1)
        for line in done.stdout[done.stdout.index("\nexpression") :].splitlines()
        if line
    )
    assert end["model"] == "faces version 1"
    assert end["rejects"] == "1 unreadable_image"
    assert end["drift"].startswith("strong drift: ")
    scores = place / end["scores"]
    assert sum(pq.read_metadata(part).num_rows for part in scores.glob("part-*.parquet")) == 30
    found = json.loads((scores / "drift.json").read_text())
    assert int(end["happiness"].split()[0]) == found["expressions"]["happiness"]
    assert (place / end["report"]).read_text() == (scores / "drift.html").read_text()

    assert len(list((place / "kept").glob("*/*/scores.parquet"))) == 4
    latest, failed = sorted(
        (one for one in client.search_runs(["1"]) if tracking.RUN_TAG in one.data.tags),
        key=lambda one: -one.info.start_time,
    )
    assert (latest.info.status, failed.info.status) == ("FINISHED", "FAILED")
    query = f"tags.`{tracking.PARENT_TAG}` = '{latest.info.run_id}'"
    steps = {one.info.run_name: one for one in client.search_runs(["1"], query)}
    assert set(steps) == {"pin_model", "score"}
    assert steps["score"].data.metrics["faces"] == 30
    assert steps["score"].data.metrics["drift/face_px"] == pytest.approx(1)
    assert steps["score"].data.tags["crossface.model_version"] == "1"
    assert {item.path for item in client.list_artifacts(steps["score"].info.run_id)} == {
        "drift.html", "drift.json",
    }  # fmt: skip
