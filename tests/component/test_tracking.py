"""A step's MLflow run against real stores: SQLite, and a server that is not there."""

import os
import signal
import subprocess
import sys
import time

import pytest
from mlflow import MlflowClient

from crossface import tracking
from crossface.finalize.finalize import close_parent_run


@pytest.fixture
def client(tmp_path, monkeypatch):
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "faces")
    monkeypatch.setenv("KFP_RUN_ID", "run-1")
    client = MlflowClient(uri)
    client.create_experiment("faces", artifact_location=(tmp_path / "files").as_uri())
    return client


def test_steps_nest_under_one_parent_and_say_what_they_did(client, tmp_path):
    with tracking.step_run("train", variant="cda", params={"lr": 0.1, "cda": {"lambda": 1}}) as run:
        run.log_metrics({"loss": 1.0, "broken": float("nan")}, step=1)
        run.log_metrics({"loss": 0.5}, step=2)
        run.log_dataset("rafdb", "/data/raf", "f" * 64)
        (tmp_path / "note.txt").write_text("hello")
        run.log_artifact(tmp_path / "note.txt", "notes")
    with tracking.step_run("evaluate"):
        pass
    parent = tracking.parent_run(client, "run-1")
    (trained,) = tracking.step_runs(client, "run-1", "train")
    (evaluated,) = tracking.step_runs(client, "run-1", "evaluate")
    assert {run.data.tags[tracking.PARENT_TAG] for run in (trained, evaluated)} == {parent.info.run_id}
    assert trained.info.run_name == "train cda"
    assert trained.info.status == "FINISHED"
    assert trained.data.params == {"train.lr": "0.1", "train.cda.lambda": "1"}
    assert [point.value for point in client.get_metric_history(trained.info.run_id, "loss")] == [1.0, 0.5]
    assert "broken" not in trained.data.metrics
    assert trained.inputs.dataset_inputs[0].dataset.digest == "f" * 36
    assert [item.path for item in client.list_artifacts(trained.info.run_id, "notes")] == ["notes/note.txt"]


def test_failed_step_is_failed(client):
    with pytest.raises(ZeroDivisionError), tracking.step_run("ingest"):
        raise ZeroDivisionError
    (run,) = tracking.step_runs(client, "run-1", "ingest")
    assert run.info.status == "FAILED"


def test_of_two_parents_the_earliest_counts(client):
    experiment = tracking.experiment_id(client)
    first = client.create_run(experiment, start_time=1000, tags={tracking.RUN_TAG: "run-1"})
    client.create_run(experiment, start_time=2000, tags={tracking.RUN_TAG: "run-1"})
    assert tracking.parent_run(client, "run-1").info.run_id == first.info.run_id


def test_a_run_that_kubeflow_opened_is_used(client, monkeypatch):
    given = client.create_run(tracking.experiment_id(client))
    monkeypatch.setenv("MLFLOW_RUN_ID", given.info.run_id)
    with tracking.step_run("train", params={"lr": 1}) as run:
        assert run.run_id == given.info.run_id
    assert client.get_run(given.info.run_id).data.params == {"train.lr": "1"}
    assert len(client.search_runs([tracking.experiment_id(client)])) == 1


def test_server_that_is_down_is_a_warning(client, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    start = time.monotonic()
    with tracking.step_run("train", params={"lr": 1}) as run:
        for epoch in range(100):
            run.log_metrics({"loss": 1.0}, step=epoch)
        run.log_dataset("rafdb", "/data/raf", "0")
    assert time.monotonic() - start < 30
    assert capsys.readouterr().out.count("warning: MLflow") == 1
    with pytest.raises(Exception, match=r"127\.0\.0\.1"), tracking.step_run("register", required=True):
        pytest.fail("the step ran although the registry cannot be reached")


@pytest.mark.parametrize(
    ("state", "status"), [("SUCCEEDED", "FINISHED"), ("FAILED", "FAILED"), ("CANCELED", "KILLED")]
)
def test_finalize_closes_the_parent_and_what_a_kill_left_open(client, state, status):
    parent = tracking.parent_run(client, "run-1")
    nested = client.create_run(parent.info.experiment_id, tags={tracking.PARENT_TAG: parent.info.run_id})
    assert close_parent_run("run-1", state) == status
    assert client.get_run(parent.info.run_id).info.status == status
    assert client.get_run(nested.info.run_id).info.status == "KILLED"
    assert close_parent_run("", state) == ""


def test_finalize_leaves_a_run_that_kubeflow_opened(client):
    given = client.create_run(tracking.experiment_id(client), tags={tracking.RUN_TAG: "run-1"})
    assert close_parent_run("run-1", "FAILED") == ""
    assert client.get_run(given.info.run_id).info.status == "RUNNING"


def test_loser_of_a_race_for_the_parent_joins_the_winner(client, monkeypatch):
    create = client.create_run

    def create_a_moment_too_late(experiment, **arguments):
        create(experiment, start_time=1000, tags={tracking.RUN_TAG: "run-1"}, run_name="winner")
        return create(experiment, **arguments)

    monkeypatch.setattr(client, "create_run", create_a_moment_too_late)
    assert tracking.parent_run(client, "run-1").info.run_name == "winner"
    assert len(client.search_runs([tracking.experiment_id(client)])) == 1


def test_sigterm_closes_the_run_as_killed(client):
    code = (
        "import time; from crossface.tracking import step_run\n"
        "with step_run('train'):\n    print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        while "ready" not in process.stdout.readline():
            pass
        process.terminate()
        assert process.wait(30) == -signal.SIGTERM
    (run,) = tracking.step_runs(client, "run-1", "train")
    assert run.info.status == "KILLED"


def test_champion_is_what_was_kept_of_its_evaluation(client, tmp_path):
    def found(name):
        with tracking.champion(name) as kept:
            if kept is None:
                return None
            folder, version = kept
            return (
                version,
                sorted(path.name for path in folder.iterdir()),
                (folder / "metrics.json").read_text(),
            )

    assert found("") is found("faces") is None
    client.create_registered_model("faces")
    for number in ("1", "2"):
        evaluation = tmp_path / number
        evaluation.mkdir()
        (evaluation / "metrics.json").write_text(number)
        (evaluation / "predictions.parquet").write_bytes(b"")
        (evaluation / "report.html").write_text("not needed")
        with tracking.step_run("register") as run:
            run.log_evaluation(evaluation, {"a": 1.0}, {"crossface.verdict": "passed"})
        client.create_model_version("faces", source=str(tmp_path), run_id=run.run_id)
    assert found("faces") is None, "no version is the champion"
    client.set_registered_model_alias("faces", "champion", "1")
    assert found("faces") == ("1", ["metrics.json", "predictions.parquet"], "1")
    client.set_registered_model_alias("faces", "champion", "2")
    assert found("faces") == ("2", ["metrics.json", "predictions.parquet"], "2")
