"""Containers: a failure is never taken for a success, and what is missing is said in one line."""

import pytest

from crossface_pipelines.cli import main
from crossface_pipelines.docker_runner import run_container


class Engine:
    """The part of docker's client that is used, with a container that has ended before anyone asks."""

    def __init__(self, code):
        self.code, self.calls = code, []
        self.containers = self

    def create(self, **arguments):
        assert not arguments.get("auto_remove")
        self.calls.append("create")
        return self

    def start(self):
        self.calls.append("start")

    def logs(self, stream, follow):
        return [b"> ingest: started\n", b"\xff\n"]

    def wait(self):
        self.calls.append("wait")
        return {"StatusCode": self.code}

    def remove(self, force):
        self.calls.append("remove")


@pytest.mark.parametrize("code", [0, 1, 137])
def test_exit_code_is_read_before_the_container_goes(code, capsys):
    engine = Engine(code)
    assert run_container(engine, "image:1", ["true"], {}) == code
    assert engine.calls == ["create", "start", "wait", "remove"]
    assert "> ingest: started" in capsys.readouterr().out


def test_container_is_removed_when_waiting_fails():
    engine = Engine(0)
    engine.wait = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        run_container(engine, "image:1", ["true"], {})
    assert engine.calls[-1] == "remove"


@pytest.fixture
def here(tmp_path, monkeypatch):
    for key in ("rafdb", "expw", "affectnet"):
        (tmp_path / "data" / "sample" / key).mkdir(parents=True)
        (tmp_path / "data" / "sample" / key / "labels.txt").touch()
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "KFP_RUN_ID"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path


def test_docker_runner_needs_a_tracking_server(here, capsys):
    assert main(["run", "--params", "sample", "--runner", "docker"]) == 2
    assert "--runner docker: containers need an MLflow server" in capsys.readouterr().err


def test_tracking_server_that_is_down_is_one_line(here, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert main(["run", "--params", "sample"]) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith("crossface: MLFLOW_TRACKING_URI: http://127.0.0.1:9 cannot be used")


def test_sample_data_does_not_write_over_anything(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    assert main(["sample-data", str(tmp_path / "mine")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert not list((tmp_path / "mine").iterdir())
