"""The whole DAG on kfp.local: what a user sees, what MLflow holds, what the cache spares, how it fails."""

import json
import math
import os
import shutil
import signal
import subprocess
import time

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from workplace import files_with_a_secret

from crossface import tracking
from crossface.data.emotions import EMOTIONS
from crossface.measures.calibration import scale


@pytest.fixture(scope="module")
def finished(workplace):
    done = workplace.run("registration.int8=true")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def client(workplace, finished):
    return MlflowClient(workplace.tracking_uri, registry_uri=workplace.tracking_uri)


def parents(client):
    found = client.search_runs(["1"], order_by=["attributes.start_time DESC"])
    return [run for run in found if tracking.PARENT_TAG not in run.data.tags]


def steps_of(client, parent):
    return client.search_runs(["1"], f"tags.`{tracking.PARENT_TAG}` = '{parent.info.run_id}'")


def test_ends_with_the_table_the_report_and_the_version(workplace, finished):
    end = finished[finished.index("test set") :]
    assert all(word in end for word in ("baseline", "CDA", "rafdb", "expw", "affectnet", "mean", "chance"))
    assert "registered  crossface-sample version 1" in end
    (report,) = (workplace.root / "runs" / "reports").glob("*.html")
    assert f"report      runs/reports/{report.name}" in end
    assert workplace.tracking_uri in end
    assert "\x1b" not in finished, "no colours in a log"


def test_one_parent_run_and_one_nested_run_a_step(client):
    (parent,) = parents(client)
    runs = steps_of(client, parent)
    names = sorted(run.info.run_name for run in runs)
    assert names == sorted(
        [f"{step} {key}" for step in ("ingest", "crop_faces") for key in ("rafdb", "expw", "affectnet")]
        + ["find_leakage", "probe_bias", "train pooled", "train cda", "evaluate", "register"]
    )
    assert {run.info.status for run in [parent, *runs]} == {"FINISHED"}
    by_name = {run.info.run_name: run for run in runs}
    trained = by_name["train cda"]
    assert trained.data.params["train.adversary.lambda_max"]
    assert {"loss_emotion", "loss_dataset", "dev_balanced_accuracy"} <= set(trained.data.metrics)
    assert {given.dataset.name for given in trained.inputs.dataset_inputs} == {"rafdb", "expw", "affectnet"}
    assert "adapted/rafdb/balanced_accuracy" in by_name["evaluate"].data.metrics
    files = {item.path for item in client.list_artifacts(by_name["evaluate"].info.run_id, "evaluation")}
    assert {"evaluation/report.html", "evaluation/metrics.json", "evaluation/predictions.parquet"} <= files


def test_registered_model_reads_a_photo_and_says_what_evaluate_said(workplace, client, monkeypatch):
    version = client.get_model_version_by_alias("crossface-sample", "challenger")
    assert version.tags["crossface.model_sha256"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", workplace.tracking_uri)
    model = mlflow.pyfunc.load_model("models:/crossface-sample@challenger")
    (evaluation,) = (workplace.root / "runs" / "artifacts").glob("*/**/evaluation")
    sample = pq.read_table(evaluation / "sample.parquet").to_pylist()
    said = model.predict(pd.DataFrame({"image": [row["image"]["bytes"] for row in sample]}))
    assert list(said.columns) == [*EMOTIONS, "expression", "confidence", "error"]
    predictions = pq.read_table(evaluation / "predictions.parquet").to_pylist()
    known = {row["face_id"]: row["mean"] for row in predictions if row["model"] == "adapted"}
    metrics = json.loads((evaluation / "metrics.json").read_text())
    temperature = metrics["models"]["adapted"]["calibration"]["temperature"]
    expected = scale(np.array([known[row["face_id"]] for row in sample]), temperature)
    np.testing.assert_allclose(said[list(EMOTIONS)].to_numpy(float), expected, atol=1e-3)
    mixed = model.predict(pd.DataFrame({"image": [sample[0]["image"]["bytes"], b"<svg/>"]}))
    assert mixed["error"].tolist() == ["", "not a JPEG or PNG image"]


def test_copy_in_int8_is_tested_and_judged_too(client):
    copy = client.get_model_version("crossface-sample", "2")
    assert copy.tags["crossface.precision"] == "int8"
    assert copy.tags["crossface.compared_with"] == copy.tags["crossface.fp32_version"] == "1"
    assert "measured on version 1, whose copy it is" in copy.tags["crossface.verdict_sentence"]
    assert float(copy.tags["balanced_accuracy.rafdb"]) > 0


def test_second_run_takes_the_expensive_steps_from_the_cache(workplace, finished):
    again = workplace.run()
    assert again.returncode == 0, again.stdout + again.stderr
    once = ("find-leakage", "probe-bias", "train", "train-2")
    for task, times in {"ingest": 3, "crop-faces": 3, **dict.fromkeys(once, 1)}.items():
        assert again.stdout.count(f"{task}: from the cache") == times, task
    assert "started" in again.stdout
    assert "train cda: started" not in again.stdout
    table = slice(finished.index("test set"), finished.index("report  "))
    assert finished[table] in again.stdout, "the same models are the same in evaluation"


def metadata_faults(metadata):
    """A cluster keeps flat text and finite numbers, and drops or refuses the rest."""
    return [
        f"{key} is {value!r}"
        for key, value in metadata.items()
        if not isinstance(value, str) and not (isinstance(value, float) and math.isfinite(value))
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3, True, None, {"a": 1.0}, [1.0]])
def test_metadata_that_a_cluster_does_not_take_is_noticed(value):
    assert metadata_faults({"accuracy": 0.5, "dataset": "rafdb", "planted": value})


def test_metadata_of_all_artifacts_is_what_a_cluster_takes(workplace, finished):
    outputs = list((workplace.root / "runs" / "artifacts").rglob("executor_output.json"))
    seen = set()
    for artifacts in (json.loads(output.read_text()).get("artifacts", {}) for output in outputs):
        artifacts.pop("scores", None)  # curves, which Kubeflow draws: lists by design
        for name, listed in artifacts.items():
            for metadata in (artifact["metadata"] for artifact in listed["artifacts"]):
                assert metadata_faults(metadata) == [], name
                seen |= {name} if metadata else set()
    assert {"records", "crops", "leakage", "bias", "model", "metrics", "evaluation"} <= seen


def test_no_secret_of_the_environment_is_left_anywhere(workplace, finished):
    """In the log, the parameters, what steps wrote, MLflow's store and its files."""
    assert "planted" not in finished
    assert files_with_a_secret(workplace.root / "runs") == []


def test_a_refused_model_is_not_registered_and_the_reason_is_said(workplace, client):
    refused = workplace.run("evaluation.gate.min_balanced_accuracy=1")
    assert refused.returncode == 0
    line = next(line for line in refused.stdout.splitlines() if line.startswith("registered"))
    assert line.startswith("registered  no. Refused: mean balanced accuracy is ")
    assert "balanced accuracy" in line
    assert not any(
        run.data.tags[tracking.STEP_TAG] == "register" for run in steps_of(client, parents(client)[0])
    )


def test_a_broken_dataset_fails_the_run_in_words(workplace, client, tmp_path):
    broken = tmp_path / "rafdb"
    shutil.copytree(workplace.root / "data" / "sample" / "rafdb", broken)
    labels = broken / "EmoLabel" / "list_patition_label.txt"
    labels.write_text(labels.read_text().replace(" 4", " 9", 1))
    failed = workplace.run(f"datasets.rafdb.source={broken}")
    assert failed.returncode == 1
    assert "list_patition_label.txt" in failed.stderr
    assert "compound" in failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    assert parents(client)[0].info.status == "FAILED"


def test_killed_run_is_made_good_by_the_next(workplace):
    command = workplace.command("seed=5")
    with subprocess.Popen(
        command,
        cwd=workplace.root,
        env=workplace.environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        for line in process.stdout:
            if "train pooled: started" in line:
                break
        time.sleep(1)
        os.killpg(process.pid, signal.SIGKILL)
    again = workplace.run("seed=5")
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("crop-faces: from the cache") == 3
    assert "train pooled: done" in again.stdout
    assert "registered  crossface-sample version" in again.stdout
