"""``crossface submit`` and ``watch``: against a server that speaks Kubeflow's API."""

import json
import time

import kfp_server_api as api
import pytest
import yaml
from kfp_server import TOKEN, start_kfp_server  # noqa: F401  a fixture

from crossface_pipelines.cli import main
from crossface_pipelines.cluster import client, redaction, runs
from crossface_pipelines.compiling import arguments_elsewhere

SCORING = ["--pipeline", "scoring", "--params", "sample"]
SEEN = ["--set", "score.source=s3://photos/today", "--set", "score.checkpoint=s3://photos/scores"]


@pytest.fixture
def profile(tmp_path):
    """Writes a profile, and returns its path."""

    def write(**changes):
        digest = "registry.example/crossface@sha256:" + "0" * 64
        lock = {"data": {"image": digest}, "torch": {"image": digest}}
        (tmp_path / "lock.yaml").write_text(yaml.safe_dump(lock))
        values = {
            "images": "lock.yaml",
            "service_account": "runner",
            "steps": {"default": {"environment": {"MLFLOW_EXPERIMENT_NAME": "faces"}}},
            **changes,
        }
        path = tmp_path / "profile.yaml"
        path.write_text(yaml.safe_dump(values))
        return str(path)

    return write


@pytest.fixture
def submit(kfp, profile, monkeypatch, capsys):
    """Submits the scoring pipeline: exit code, and what was printed to both streams."""
    monkeypatch.setattr(runs, "POLL_SECONDS", 0.01)
    path = profile()

    def submit(*options):
        capsys.readouterr()
        code = main(["submit", *SCORING, *SEEN, "--profile", path, *options])
        said = capsys.readouterr()
        assert TOKEN not in said.out + said.err
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return submit


def test_a_version_is_of_the_pipeline_and_a_run_brings_its_parameters(kfp, submit, profile, tmp_path):
    for number in range(3):  # so that listings have several pages
        kfp.pipelines.append(api.V2beta1Pipeline(pipeline_id=str(number), display_name=f"crossface-{number}"))
    code, out, _ = submit("--experiment", "trial")
    assert code == 0
    (version,) = kfp.versions
    (experiment,) = kfp.experiments
    (run,) = kfp.runs
    assert kfp.pipelines[-1].display_name == "crossface-scoring"
    assert out == f"{kfp.host}/#/runs/details/{run.run_id}\n"
    assert (experiment.display_name, run.experiment_id) == ("trial", experiment.experiment_id)
    assert run.runtime_config.parameters == arguments_elsewhere("scoring", "sample", SEEN[1::2])
    assert run.service_account == "runner"
    assert run.plugins_input == {"mlflow": {"experiment_name": "faces"}}
    inputs = version.pipeline_spec["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]
    assert not any("defaultValue" in one for one in inputs.values())

    assert submit("--set", "score.batch_size=7", "--experiment", "trial")[0] == 0
    assert kfp.runs[1].runtime_config.parameters["score"]["batch_size"] == 7
    assert (len(kfp.pipelines), len(kfp.versions), len(kfp.experiments)) == (4, 1, 1)
    profile(caching=False, steps={"score": {"timeout_seconds": 60}})
    assert submit("--experiment", "trial")[0] == 0
    assert [one.pipeline_id for one in kfp.versions] == [version.pipeline_id] * 2
    assert kfp.runs[2].pipeline_version_reference.pipeline_version_id == kfp.versions[1].pipeline_version_id
    assert kfp.runs[2].plugins_input is None
    assert not (tmp_path / "home").exists()


def test_an_older_server_is_not_told_of_plugins(kfp, submit):
    kfp.version = "2.15.0"
    assert submit()[0] == 0
    assert kfp.runs[0].plugins_input is None


def test_somebody_else_makes_everything_first(kfp, submit):
    for request in ("POST /pipelines", "POST /pipelines/upload_version", "POST /experiments"):
        kfp.spoil(request, "taken")
    assert submit()[0] == 0
    assert (len(kfp.pipelines), len(kfp.versions), len(kfp.experiments), len(kfp.runs)) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("request_", "faults", "code", "said"),
    [
        ("GET /pipelines", [401], 2, "does not accept KFP_TOKEN; it may have expired"),
        ("POST /runs", [403], 1, "does not allow it (403): rpc error: Bearer ***"),
        ("POST /runs", [404], 1, "has no such thing (404)"),
        ("POST /runs", [409], 1, "has it already (409)"),
        ("POST /runs", [400], 1, "refused (400)"),
        ("POST /experiments", [500], 1, "failed (500): "),
        ("GET /pipelines", [429], 1, "asked too often (429): "),
        ("POST /runs", ["drop"], 1, "the run may have started all the same"),
        ("GET /pipelines", ["drop", "drop"], 1, "cannot be reached"),
        ("GET /pipelines", ["page"], 2, "answers with a web page"),
    ],
)
def test_each_failure_says_what_to_do_in_a_line(kfp, submit, request_, faults, code, said):
    kfp.spoil(request_, *faults)
    found, out, err = submit()
    assert (found, out) == (code, "")
    assert said in err
    assert all(len(line) < 500 for line in err.splitlines())
    assert len(kfp.sent("POST /runs")) <= 1  # asked again, it might run twice


def test_what_passes_is_asked_again(kfp, submit):
    kfp.spoil("GET /pipelines", "drop")
    kfp.spoil("GET /experiments", "drop")
    assert submit()[0] == 0


def test_a_server_that_wants_to_be_asked_later_is_not_waited_for(kfp, submit):
    kfp.spoil("GET /pipelines", 503)
    code, _, err = submit()
    assert code == 1
    assert "Kubeflow Pipelines failed (503): " in err
    assert len(kfp.sent("GET /pipelines")) == 1


def test_a_server_that_stalls(kfp, submit, monkeypatch):
    monkeypatch.setattr(client, "READ_TIMEOUT_S", 3.0)
    kfp.spoil("POST /runs", "stall")
    code, _, err = submit()
    assert code == 1
    assert "does not answer in time" in err
    assert "the run may have started all the same" in err
    assert len(kfp.sent("POST /runs")) == 1


def test_nobody_listens(submit, monkeypatch, caplog):
    monkeypatch.setenv("KFP_HOST", "http://127.0.0.1:1")
    code, _, err = submit()
    assert code == 1
    assert caplog.records == []
    assert "http://127.0.0.1:1 cannot be reached (NewConnectionError); check --host or KFP_HOST" in err


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("", "--host: required"),
        ("localhost:8080", "--host: should begin with"),
        (f"https://ada:{TOKEN}@kfp.example", "--host: holds credentials"),
        ("http://[::1", "--host: should begin with"),
        (f"http://ada:{TOKEN}@kfp.example:eighty", "--host: should begin with"),
    ],
)
def test_hosts_that_are_none(submit, monkeypatch, host, said):
    monkeypatch.setenv("KFP_HOST", host)
    code, _, err = submit()
    assert code == 2
    assert said in err


def test_ways_to_say_who_asks(kfp, submit, monkeypatch, tmp_path):
    file = tmp_path / "token"
    monkeypatch.setenv("KFP_TOKEN_FILE", str(file))
    monkeypatch.setenv("KFP_COOKIES", f" session={TOKEN}\n")
    assert submit()[0] == 0  # KFP_TOKEN goes before the others
    monkeypatch.delenv("KFP_TOKEN")
    assert submit()[::2] == (2, f"crossface: KFP_TOKEN_FILE: {file} cannot be read (FileNotFoundError)\n")
    file.write_text("first\n")
    kfp.accepts = {"Bearer first", "Bearer second"}
    kfp.spoil("GET /experiments", lambda: file.write_text("second"))  # as Kubernetes does before one expires
    assert submit()[0] == 0
    assert kfp.headers[-1]["Authorization"] == "Bearer second"
    monkeypatch.delenv("KFP_TOKEN_FILE")
    kfp.accepts = {f"session={TOKEN}"}
    assert submit()[0] == 0
    assert kfp.headers[-1]["Authorization"] is None
    monkeypatch.delenv("KFP_COOKIES")
    assert "set KFP_TOKEN, KFP_TOKEN_FILE or KFP_COOKIES (401)" in submit()[2]


@pytest.fixture
def identify(monkeypatch, tmp_path):
    """Says who asks in one of the ways, and in no other."""

    def identify(way, credential):
        monkeypatch.delenv("KFP_TOKEN")
        if way in ("KFP_TOKEN", "KFP_COOKIES"):
            monkeypatch.setenv(way, credential)
            return
        (tmp_path / "token").write_text(credential)
        if way == "projected":
            monkeypatch.setattr(client, "KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
        else:
            monkeypatch.setenv(way, str(tmp_path / "token"))

    return identify


@pytest.mark.parametrize("way", ["KFP_TOKEN", "KFP_TOKEN_FILE", "KFP_COOKIES"])
@pytest.mark.parametrize("between", ["\n", "\r\n", "\x1b", "…"])
def test_credentials_that_no_header_can_hold(kfp, identify, capsys, way, between):
    identify(way, f"se{between}cret")
    assert main(["schedule", "list"]) == 2
    said = "holds a line break, or another character that cannot be sent"
    assert capsys.readouterr().err == f"crossface: {way}: {said}\n"
    assert kfp.requests == []


@pytest.mark.parametrize(
    ("way", "credential", "secrets", "sent"),
    [
        ("KFP_TOKEN", "of-the-environment \n", ["of-the-environment"], "Bearer of-the-environment"),
        ("KFP_TOKEN_FILE", "of-a-file\n", ["of-a-file"], "Bearer of-a-file"),
        ("projected", "of-a-pod\n", ["of-a-pod"], "Bearer of-a-pod"),
        (
            "KFP_COOKIES",
            'lang=it; first="of-one-cookie"; second=of-another ',
            ["of-one-cookie", "of-another"],
            'lang=it; first="of-one-cookie"; second=of-another',
        ),
    ],
)
def test_what_identifies_us_is_not_repeated(kfp, identify, capsys, way, credential, secrets, sent):
    identify(way, credential)
    kfp.accepts = {sent}
    kfp.spoil("GET /recurringruns", 403)
    assert main(["schedule", "list"]) == 1
    err = capsys.readouterr().err
    assert "Kubeflow Pipelines does not allow it (403): rpc error: " in err
    assert not [secret for secret in secrets if secret in err]


def test_redaction(monkeypatch):
    monkeypatch.setattr(redaction, "_remembered", set())
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-key ")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-key-and-more")
    redaction.remember('lang=it; session="of-a-cookie"')
    assert redaction.redacted("it is a-key, a-key-and-more or of-a-cookie") == "it is ***, *** or ***"


def task(number, name, state, *children, error=None):
    return api.V2beta1PipelineTaskDetail(
        task_id=f"t{number}",
        display_name=name,
        state=state,
        create_time=f"2026-01-01T00:00:{number:02}Z",
        child_tasks=[api.PipelineTaskDetailChildTask(task_id=f"t{child}") for child in children] or None,
        error=error and api.GoogleRpcStatus(code=2, message=error),
    )


def test_progress_of_a_run_that_fails(kfp, submit):
    driver = task(1, "pin-model-driver", "SUCCEEDED")
    pinned = [task(2, "pin-model", "SUCCEEDED", 3), task(3, "executor", "SKIPPED")]
    error = f"exit code 1:\n Bearer {TOKEN}"
    kfp.progress = [
        ("PENDING", []),
        ("RUNNING", [driver, task(2, "pin-model", "RUNNING", 3), task(3, "executor", "RUNNING")]),
        ("RUNNING", [driver, task(2, "pin-model", "RUNNING", 3), task(3, "executor", "RUNNING")]),
        ("RUNNING", [driver, *pinned, task(4, "score", "RUNNING")]),
        (
            "RUNNING",
            [driver, *pinned, task(4, "score", "FAILED", error=error), task(5, "finalize", "SKIPPED")],
        ),
        (
            "FAILED",
            [driver, *pinned, task(4, "score", "FAILED", error=error), task(5, "finalize", "SKIPPED")],
        ),
    ]
    kfp.spoil("GET /runs/", None, 500, "drop", "drop")
    code, out, err = submit("--wait")
    url, *lines = out.splitlines()
    assert code == 1
    assert [line.partition("  ")[2] for line in lines] == [
        "pin-model: started", "pin-model: cached", "score: started", "score: failed", "finalize: skipped",
    ]  # fmt: skip
    waiting, *story = err.splitlines()  # three failures in a row are one silence
    assert "  waiting: Kubeflow Pipelines failed (500): rpc error: Bearer ***" in waiting
    assert story == [
        f"crossface: the run failed: {url}",
        "crossface: score: exit code 1: Bearer ***",
    ]


def test_a_run_that_goes_well_and_its_loops(kfp, submit):
    both = [task(1, "score", "SUCCEEDED"), task(2, "score", "SUCCEEDED"), task(3, "for-loop-1", "SUCCEEDED")]
    kfp.progress = [("SUCCEEDED", both)]
    code, out, _ = submit("--wait")
    assert code == 0
    assert [line.partition("  ")[2] for line in out.splitlines()[1:-1]] == [
        "score: succeeded",
        "score (2): succeeded",
    ]


def test_waiting_ends_and_the_run_goes_on(kfp, submit, capsys, monkeypatch):
    code, _, err = submit("--wait", "--timeout-minutes", "0.0001")
    (run,) = kfp.runs
    assert code == 1
    assert f"come back with: crossface watch {run.run_id}" in err

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs.time, "sleep", interrupt)
    with pytest.raises(SystemExit) as exit_:
        main(["watch", run.run_id])
    assert exit_.value.code == 130
    assert f"the run goes on; come back with: crossface watch {run.run_id}" in capsys.readouterr().err
    assert not [request for request in kfp.requests if "terminate" in request or "DELETE" in request]
    assert main(["watch", "nobody"]) == 1
    err = capsys.readouterr().err
    assert "run_id nobody not found" in err
    assert "come back" not in err


def test_a_server_that_never_answered_is_not_waited_for(kfp, monkeypatch, capsys):
    monkeypatch.setattr(runs, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(runs, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setenv("KFP_HOST", "http://127.0.0.1:1")
    assert main(["watch", "run"]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("crossface: Kubeflow Pipelines at http://127.0.0.1:1 cannot be reached")
    assert second == "crossface: the run may go on; come back with: crossface watch run"


def test_a_silence_does_not_outlast_what_is_waited_at_most(kfp, monkeypatch, capsys):
    monkeypatch.setattr(runs, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(runs, "PATIENCE_SECONDS", 5.0)
    kfp.spoil("GET /runs/", *[500] * 10_000)
    started = time.monotonic()
    assert main(["watch", "run", "--timeout-minutes", "0.001"]) == 1
    assert time.monotonic() - started < 5
    assert capsys.readouterr().err.count("waiting: ") == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["watch", "run", "--timeout-minutes", "x"], "--timeout-minutes: 'x' is not a number above 0"),
        (["watch", "run", "--timeout-minutes", "nan"], "--timeout-minutes: 'nan' is not a number above 0"),
        (["sample-data", "out", "--faces", "0"], "--faces: '0' is not a whole number above 0"),
        (["sample-data", "out", "--faces", "2.5"], "--faces: '2.5' is not a whole number above 0"),
    ],
)
def test_numbers_that_are_none(capsys, command, said):
    with pytest.raises(SystemExit) as exit_:
        main(command)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: argument {said}\n")


def test_a_cluster_does_not_see_this_machine(kfp, profile, capsys, tmp_path):
    path = profile()
    assert main(["submit", "--params", "sample", "--profile", path]) == 2
    err = capsys.readouterr().err
    assert "datasets.rafdb.source: data/sample/rafdb is a path that ingest, crop_faces would not see" in err
    assert len(err.splitlines()) == 3
    assert main(["submit", "--pipeline", "retraining", "--params", "sample", "--profile", path]) == 2
    assert "data/sample/rafdb is a path that fingerprint, ingest, crop_faces would" in capsys.readouterr().err
    assert kfp.requests == []
    volumes = {"volumes": {"/data": "datasets"}}
    path = profile(steps={"ingest": volumes, "crop_faces": volumes})
    sources = [f"datasets.{key}.source" for key in ("rafdb", "expw", "affectnet")]
    places = ["/data/raf", "/data/../expw", "/data/affect"]
    given = [part for pair in zip(sources, places, strict=True) for part in ("--set", "=".join(pair))]
    assert main(["submit", "--params", "sample", "--profile", path, *given]) == 2
    assert "/data/../expw is a path that ingest, crop_faces would not see" in capsys.readouterr().err
    path = profile(steps={"ingest": volumes})
    given[3] = "datasets.expw.source=/data/expw"
    assert main(["submit", "--params", "sample", "--profile", path, *given]) == 2
    assert "/data/expw is a path that crop_faces would not see" in capsys.readouterr().err
    path = profile(steps={"ingest": volumes, "crop_faces": volumes})
    given[3] = "datasets.expw.source=s3://faces/ExpW.zip"
    assert main(["submit", "--params", "sample", "--profile", path, *given]) == 0
    assert json.dumps(kfp.runs[0].runtime_config.parameters["datasets"]).count("/data/") == 2
