"""Who is champion: after races, after crashes, and after a change of mind; on the real stores."""

import contextlib
import functools
import itertools
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from postgres_server import start_postgres  # noqa: F401  # fixture

from crossface.errors import ConfigError, DataError
from crossface.register import lineage, locking
from crossface.register.judge import judge_versions
from crossface.register.lineage import lineage_tags
from crossface.register.locking import LockError, registry_lock
from crossface.register.names import (
    CHALLENGER,
    CHAMPION,
    COMPARED_WITH_TAG,
    PREVIOUS,
    ROLLED_BACK_TAG,
    VERDICT_SENTENCE_TAG,
    VERDICT_TAG,
    WHY_TAG,
)
from crossface.register.promotion import (
    Move,
    PromotionError,
    PromotionRefusedError,
    promote,
    rollback,
)
from crossface_pipelines.cli import main
from crossface_pipelines.models import HEADER

ROUNDS = 50
NAMES = (f"model-{number}" for number in itertools.count())
"""Tests share stores, which take seconds to make, and so share no model."""

PROCESSES = multiprocessing.get_context("forkserver")  # fork would share connections to the database
PROCESSES.set_forkserver_preload(
    ["crossface.register.promotion", "mlflow.store.model_registry.sqlalchemy_store", "psycopg", "pytest"]
)


class Judgement(NamedTuple):
    passed: bool
    sentence: str


class Model:
    """A registered model, whose versions have scores."""

    def __init__(self, client: MlflowClient, name: str = "") -> None:
        self.client = client
        self.name = name or next(NAMES)
        self.judged: list[tuple[str, str]] = []

    def add(self, score: int = 0, **tags: str) -> str:
        with contextlib.suppress(mlflow.MlflowException):
            self.client.create_registered_model(self.name)
        tags = {f"crossface.{key}": value for key, value in tags.items()} | {"score": str(score)}
        return str(self.client.create_model_version(self.name, "/nowhere", tags=tags).version)

    def judge(self, version: str, champion: str) -> Judgement:
        self.judged.append((version, champion))
        mine, theirs = (int(self.tags(number)["score"]) for number in (version, champion))
        return Judgement(mine > theirs, f"{mine} against {theirs}.")

    def promote(self, version: str, why: str = "") -> Move:
        return promote(self.client, self.name, version, self.judge, why)

    def rollback(self, why: str = "it errs") -> Move:
        return rollback(self.client, self.name, why)

    def add_champions(self, count: int) -> None:
        for score in range(count):
            self.promote(self.add(score))

    def tags(self, version: str) -> dict[str, str]:
        return self.client.get_model_version(self.name, version).tags

    @property
    def aliases(self) -> dict[str, str]:
        aliases = self.client.get_registered_model(self.name).aliases
        return {alias: str(version) for alias, version in aliases.items()}


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory):
    uri = f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"
    MlflowClient(uri).search_registered_models()
    return uri


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def store(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def model(sqlite):
    return Model(MlflowClient(sqlite))


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(locking, "WAIT_S", 60.0)
    for variable in ("CROSSFACE_LOCK_URI", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME"):
        monkeypatch.setenv(variable, "")


# one after another


def test_promotion_moves_the_aliases_and_says_who_and_why(model, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    first, second = model.add(1), model.add(2, verdict="passed", compared_with="1")
    model.client.set_registered_model_alias(model.name, CHALLENGER, second)
    assert model.promote(first) == Move(None, "1")
    assert model.aliases == {CHAMPION: "1", CHALLENGER: "2"}
    assert model.promote(second, "fairer") == Move("1", "2")
    assert model.aliases == {CHAMPION: "2", PREVIOUS: "1"}
    tags = model.tags("2")
    assert (tags["crossface.why"], tags["crossface.promoted_by"]) == ("fairer", "ada")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", tags["crossface.promoted_at"])
    assert model.judged == []  # its verdict is about this very champion


def test_the_champion_is_promoted_once(model):
    model.add_champions(2)
    before = model.aliases, model.tags("2")
    assert model.promote("2", "again") == Move("2", "2")
    assert (model.aliases, model.tags("2")) == before


def test_a_verdict_about_another_champion_is_not_enough(model):
    model.add_champions(1)
    better, worse = (model.add(score, verdict="passed", compared_with="") for score in (5, -5))
    with pytest.raises(PromotionRefusedError, match=r"version 3 may not follow version 1: -5 against 0\."):
        model.promote(worse)
    assert model.aliases == {CHAMPION: "1"}
    model.promote(better)
    assert model.judged == [(worse, "1"), (better, "1")]
    tags = model.tags(better)
    found = [tags[tag] for tag in (VERDICT_TAG, COMPARED_WITH_TAG, VERDICT_SENTENCE_TAG)]
    assert found == ["passed", "1", "5 against 0."]


def test_what_was_held_against_floors_alone_may_be_the_first(model):
    version = model.add(verdict="passed", compared_with="")
    assert model.promote(version) == Move(None, version)
    assert model.judged == []


def test_what_cannot_be_promoted(model):
    model.add_champions(1)
    refused = model.add(9, verdict="refused", verdict_sentence="Anger is lost.", compared_with="1")
    deleted = model.add(9)
    model.client.delete_model_version(model.name, deleted)
    with pytest.raises(PromotionRefusedError, match=r"version 2 was refused: Anger is lost\.$"):
        model.promote(refused, "I insist")
    for number in (deleted, "9", "latest"):
        with pytest.raises(PromotionError, match=f"has no version {number}: it was never registered, or has"):
            model.promote(number)
    with pytest.raises(PromotionError, match="there is no registered model of-no-one"):
        promote(model.client, "of-no-one", "1", model.judge)
    assert model.aliases == {CHAMPION: "1"}
    assert model.judged == []


def test_rollbacks_go_back_one_by_one(model):
    model.add_champions(3)
    assert model.rollback("it errs at night") == Move("3", "2")
    assert model.aliases == {CHAMPION: "2", PREVIOUS: "1"}
    assert model.tags("3")[ROLLED_BACK_TAG] == "it errs at night"
    assert model.rollback() == Move("2", "1")
    assert model.aliases == {CHAMPION: "1"}
    with pytest.raises(PromotionError, match="has no champion before version 1"):
        model.rollback()
    assert ROLLED_BACK_TAG not in model.tags("1")
    model.promote(model.add(9))
    assert model.aliases == {CHAMPION: "4", PREVIOUS: "1"}
    assert model.rollback() == Move("4", "1")


def test_what_was_rolled_back_returns_only_with_a_reason(model):
    model.add_champions(2)
    model.rollback("it errs")
    with pytest.raises(PromotionRefusedError, match=r"was rolled back \(it errs\), and returns only with a"):
        model.promote("2")
    model.promote("2", "it was the camera")
    assert model.aliases == {CHAMPION: "2", PREVIOUS: "1"}
    assert ROLLED_BACK_TAG not in model.tags("2")


def test_a_rollback_never_returns_to_what_was_rolled_back(model):
    model.add_champions(2)
    model.judge = lambda version, champion: Judgement(True, "")
    model.promote("1")
    assert model.rollback("worse") == Move("1", "2")
    assert model.aliases == {CHAMPION: "2"}
    with pytest.raises(
        PromotionError, match="version 1, the champion before version 2, was rolled back itself: worse"
    ):
        model.rollback()
    assert model.aliases == {CHAMPION: "2"}


def test_a_champion_of_other_hands_is_rolled_back_too(model):
    for score in range(3):
        model.add(score)
    for alias, version in ((CHAMPION, "3"), (PREVIOUS, "2")):
        model.client.set_registered_model_alias(model.name, alias, version)
    assert model.rollback() == Move("3", "2")
    assert model.aliases == {CHAMPION: "2"}


def test_what_cannot_be_rolled_back(model):
    model.add()
    with pytest.raises(PromotionError, match="has no champion to roll back"):
        model.rollback()
    model.add_champions(2)
    model.client.delete_model_version(model.name, "2")
    with pytest.raises(
        PromotionError, match="has no version 2: it was never registered, or has been deleted"
    ):
        model.rollback()
    assert model.aliases == {CHAMPION: "3"}


def test_someone_without_the_lock_is_noticed(model, monkeypatch):
    model.add_champions(1)
    version = model.add(1)
    move = model.client.set_registered_model_alias

    def cross(name, alias, number):
        move(name, alias, number)
        if alias == CHAMPION:
            move(name, alias, "1")

    monkeypatch.setattr(model.client, "set_registered_model_alias", cross)
    with pytest.raises(PromotionError, match="version 1 is champion, not 2: someone moves the alias without"):
        model.promote(version)


CONSTANT = """
import mlflow

class Constant(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return {answer}

mlflow.models.set_model(Constant())
"""


def test_a_rollback_restores_the_answers_exactly(model, tmp_path, monkeypatch):
    uri = model.client.tracking_uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    try:
        experiment = model.client.create_experiment(model.name, tmp_path.as_uri())
        rng, answers = np.random.default_rng(0), []
        model.client.create_registered_model(model.name)
        for number in ("1", "2"):
            code = tmp_path / f"constant{number}.py"
            code.write_text(CONSTANT.format(answer=rng.random(7).tolist()))
            with mlflow.start_run(experiment_id=experiment):
                logged = mlflow.pyfunc.log_model(name="model", python_model=code, pip_requirements=[])
            model.client.create_model_version(model.name, logged.model_uri, model_id=logged.model_id)
            promote(model.client, model.name, number, lambda *_: Judgement(True, ""))
            answers.append(mlflow.pyfunc.load_model(f"models:/{model.name}@champion").predict([0]))
        model.rollback()
        restored = mlflow.pyfunc.load_model(f"models:/{model.name}@champion").predict([0])
    finally:
        mlflow.set_tracking_uri(None)
    assert restored == answers[0] != answers[1]


# several at once


def run_gates(uri, names, mine, barrier):
    """Promote one version of each model, at the same moment as another process promotes another."""
    for name in names:
        model = Model(MlflowClient(uri), name)
        champion = model.aliases[CHAMPION]
        assert model.judge(mine, champion).passed
        model.client.set_model_version_tag(name, mine, COMPARED_WITH_TAG, champion)
        barrier.wait(60)
        with contextlib.suppress(PromotionRefusedError):
            model.promote(mine)
        barrier.wait(60)


def test_of_two_racing_gates_the_better_model_wins(postgres):
    rng, names = random.Random(0), [f"race-{number}" for number in range(ROUNDS)]
    for name in names:
        model = Model(MlflowClient(postgres), name)
        model.add_champions(2)  # so that both aliases are there, and no request fails by itself
        for score in rng.sample((2, 3), 2):
            model.add(score)
    barrier = PROCESSES.Barrier(2)
    gates = [
        PROCESSES.Process(target=run_gates, args=(postgres, names, version, barrier))
        for version in ("3", "4")
    ]
    for gate in gates:
        gate.start()
    for gate in gates:
        gate.join(900)
    assert [gate.exitcode for gate in gates] == [0, 0]
    won = [Model(MlflowClient(postgres), name) for name in names]
    scores = [int(model.tags(model.aliases[CHAMPION])["score"]) for model in won]
    assert scores == [3] * ROUNDS
    assert {model.aliases[PREVIOUS] for model in won} <= {"2", "3", "4"}


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


class Fuse:
    """A client that crashes instead of making the request after so many."""

    def __init__(self, client: MlflowClient, requests: int, crash: Callable[[], object] = kill) -> None:
        self._client, self._left, self._crash = client, requests, crash

    def __getattr__(self, name):
        found = getattr(self._client, name)
        return functools.partial(self._request, found) if callable(found) else found

    def _request(self, method, *args, **kwargs):
        if not self._left:
            self._crash()
        self._left -= 1
        return method(*args, **kwargs)


def run_with_fuse(uri, name, command, requests):
    run(Model(Fuse(MlflowClient(uri), requests), name), command)


def run(model, command):
    return model.promote("4", "fairer") if command == "promote" else model.rollback()


def add_four(client, command):
    """Three champions and, to be promoted, a version that was compared with the first of them."""
    model = Model(client)
    model.add_champions(3)
    if command == "promote":
        client.set_registered_model_alias(model.name, CHALLENGER, model.add(4, compared_with="1"))
    return model


AFTER = {"promote": {CHAMPION: "4", PREVIOUS: "3"}, "rollback": {CHAMPION: "2", PREVIOUS: "1"}}
REASONS = {"promote": ("4", WHY_TAG, "fairer"), "rollback": ("3", ROLLED_BACK_TAG, "it errs")}


@pytest.mark.parametrize("command", ["promote", "rollback"])
def test_killed_at_any_request_it_leaves_a_champion_and_can_be_finished(postgres, command):
    for requests in itertools.count():
        model = add_four(MlflowClient(postgres), command)
        process = PROCESSES.Process(target=run_with_fuse, args=(postgres, model.name, command, requests))
        process.start()
        process.join(120)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        assert model.aliases[CHAMPION] in {"3", AFTER[command][CHAMPION]}
        run(model, command)
        assert model.aliases == AFTER[command]
        version, tag, why = REASONS[command]
        assert model.tags(version)[tag] == why
        assert model.rollback().after == {"promote": "3", "rollback": "1"}[command]
    assert requests >= 10
    assert model.aliases == AFTER[command]


@pytest.mark.parametrize("command", ["promote", "rollback"])
def test_after_a_crash_one_may_change_ones_mind(sqlite, command):
    back = {"4": "3", "3": "2", "2": "1"}
    for requests in itertools.count():
        model = add_four(MlflowClient(sqlite), command)
        try:
            run(Model(Fuse(model.client, requests, crash=sys.exit), model.name), command)
            break
        except SystemExit:
            champion = model.aliases[CHAMPION]
        if command == "rollback":  # the one that is champion now is to stay
            model.promote(champion, "after all")
            assert ROLLED_BACK_TAG not in model.tags(champion)
        assert model.rollback() == Move(champion, back[champion])
        assert model.aliases[CHAMPION] == back[champion]
    assert requests >= 10


def hold(uri, name, held, release):
    with registry_lock(name, uri):
        held.set()
        release.wait(60)


@pytest.mark.parametrize("end", ["release", "kill"])
def test_the_lock_is_waited_for_and_ends_with_its_holder(store, end, monkeypatch):
    name, (held, release) = next(NAMES), (PROCESSES.Event(), PROCESSES.Event())
    holder = PROCESSES.Process(target=hold, args=(store, name, held, release))
    holder.start()
    assert held.wait(60)
    monkeypatch.setattr(locking, "WAIT_S", 0.3)
    with (
        pytest.raises(LockError, match=f"another promotion or rollback of {name} has held the lock"),
        registry_lock(name, store),
    ):
        pass
    monkeypatch.setattr(locking, "WAIT_S", 60.0)
    taken = threading.Event()

    def take():
        with registry_lock(name, store):
            taken.set()

    waiting = threading.Thread(target=take)
    waiting.start()
    assert not taken.wait(0.5)
    release.set() if end == "release" else holder.kill()
    assert taken.wait(10)
    waiting.join()
    holder.join(10)
    assert holder.exitcode == (0 if end == "release" else -signal.SIGKILL)


def test_the_lock_is_given_back_after_an_error(store):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), registry_lock("model", store):
            raise ZeroDivisionError


def test_a_server_needs_to_be_told_where_the_lock_is(tmp_path, monkeypatch, postgres):
    server = "https://ada:secret@mlflow.example"
    told = r"^CROSSFACE_LOCK_URI: required with a registry at https://, or two promotions may cross"
    with pytest.raises(ConfigError, match=told) as found, registry_lock("model", server):
        pass
    assert "secret" not in str(found.value)
    for uri in (f"sqlite:///{tmp_path / 'any'}", postgres, postgres.replace("+psycopg", "")):
        monkeypatch.setenv("CROSSFACE_LOCK_URI", uri)
        with registry_lock("model", server):
            pass


@pytest.mark.parametrize("host", ["127.0.0.1:1", "sec ret@127.0.0.1", "["])
def test_a_password_is_never_repeated(host, monkeypatch):
    monkeypatch.setenv("CROSSFACE_LOCK_URI", f"postgresql+psycopg://ada:secret@{host}/mlflow")
    told = r"^PostgreSQL, which keeps the lock, cannot be used \(\w+Error\)$"
    with pytest.raises(LockError, match=told) as found, registry_lock("model", "http://mlflow.example"):
        pass
    assert found.value.__suppress_context__


def test_a_lock_file_that_cannot_be_made_is_named():
    lock = registry_lock("model", "sqlite:////dev/null/mlflow.db")
    with pytest.raises(LockError, match=r"^/dev/null/mlflow\.db\.lock: cannot be locked: "), lock:
        pass


# from a shell


@pytest.fixture
def shell(model, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", model.client.tracking_uri)
    monkeypatch.setattr(
        "crossface.register.judge.judge_versions", lambda client, name, *two: model.judge(*two)
    )

    def run(*command: str, name: str = model.name) -> tuple[int, str]:
        code = main([*command, "--name", name])
        out, err = capsys.readouterr()
        return code, (err if code else out).strip()

    return run


def test_commands(model, shell):
    for score in (1, 2, 0):
        model.add(score)
    assert shell("promote", "1") == (0, f"{model.name} version 1 is the champion; before: none")
    assert shell("promote", "2", "--why", "better") == (
        0,
        f"{model.name} version 2 is the champion; before: 1",
    )
    assert shell("promote", "2") == (0, f"{model.name} version 2 is the champion already")
    refused = f"crossface: {model.name} version 3 may not follow version 2: 0 against 2."
    assert shell("promote", "3") == (1, refused)
    back = f"{model.name} version 1 is the champion again; rolled back: 2"
    assert shell("rollback", "--why", "it errs") == (0, back)
    assert shell("rollback", "--why", "it errs")[0] == 1
    for command in (["rollback"], ["rollback", "--why", " "], ["promote"]):
        with pytest.raises(SystemExit):
            shell(*command)


def test_table(model, shell, monkeypatch):
    run = model.client.create_run("0").info.run_id
    model.add(1)
    tags = {
        "crossface.precision": "int8",
        "datasets": "rafdb,expw",
        "balanced_accuracy.rafdb": "0.75",
        "balanced_accuracy.expw": "0.5",
        "crossface.commit": "0123456789" * 4 + "-dirty",
        "crossface.verdict": "passed",
        "crossface.compared_with": "1",
        "crossface.verdict_sentence": "It is better.\n" * 9,
    }
    model.client.create_model_version(model.name, "/nowhere", run, tags=tags)
    for version in "12":
        model.promote(version)
    model.rollback("it errs")
    monkeypatch.setenv("COLUMNS", "120")
    code, text = shell("models")
    header, second, first = text.splitlines()
    assert code == 0
    assert header.split() == list(HEADER)
    assert second.split()[0] == "2"
    assert second.split()[4:] == [
        "int8",
        "rafdb,expw",
        "0.625",
        run[:8],
        "01234567*",
        "rolled",
        "back:",
        "it",
        "errs",
    ]
    assert first.split()[:2] == ["1", "champion"]
    assert first.split()[4:] == ["-", "-", "-", "-", "-", "unjudged"]
    model.promote("2", "after all")
    second = shell("models")[1].splitlines()[1]
    assert len(second) == 120
    assert second.endswith("…")
    documents = json.loads(shell("models", "--json")[1])
    assert [document["version"] for document in documents] == ["2", "1"]
    assert documents[0]["aliases"] == ["champion"]
    assert documents[0]["tags"].items() >= tags.items()


def test_more_versions_than_a_page(model, shell, monkeypatch):
    search = model.client.search_model_versions
    for _ in range(5):
        model.add()
    monkeypatch.setattr(
        MlflowClient,
        "search_model_versions",
        lambda self, query, page_token: search(query, 2, page_token=page_token),
    )
    assert [line.split()[0] for line in shell("models")[1].splitlines()[1:]] == list("54321")


def test_errors_of_the_shell(model, shell, tmp_path, monkeypatch):
    model.add()
    code, said = shell("models", name="of-no-one")
    assert (code, said.partition(";")[0]) == (2, "crossface: --name: no registered model of-no-one")
    assert model.name in said
    assert shell("promote", "7")[1].startswith(f"crossface: {model.name} has no version 7: it was never")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'new.db'}")
    assert shell("models") == (0, "the registry is empty")
    assert shell("models", "--json") == (0, "[]")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    code, said = shell("models")
    assert code == 1
    assert said.splitlines()[-1].startswith("crossface: MLflow: ")
    assert shell("promote", "1")[1].startswith(
        "crossface: CROSSFACE_LOCK_URI: required with a registry at http://"
    )
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(tmp_path)
    code, said = shell("models")
    assert (code, said) == (
        2,
        "crossface: MLFLOW_TRACKING_URI: required where runs/mlflow.db is not; `crossface run` makes it",
    )
    (tmp_path / "runs").mkdir()
    (tmp_path / "new.db").rename(tmp_path / "runs" / "mlflow.db")
    assert shell("models") == (0, "the registry is empty")


# what a version is made of


def git(folder: Path, *command: str) -> str:
    named = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", *command]
    return subprocess.run(named, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_commit_of_the_code(tmp_path, monkeypatch):
    code, installed = tmp_path / "code.py", tmp_path / "site-packages" / "code.py"
    installed.parent.mkdir()
    for file in (code, installed):
        file.write_text("1")
    assert lineage._checked_out(code) == ""
    git(tmp_path, "init")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "--message", "first")
    git(tmp_path, "tag", "v1")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert len(commit) == 40
    assert lineage._checked_out(code) == commit
    assert lineage._checked_out(installed) == ""  # in someone else's repository
    code.write_text("2")
    assert lineage._checked_out(code) == f"{commit}-dirty"
    monkeypatch.setenv("PATH", "")
    assert lineage._checked_out(code) == ""


def test_lineage_is_complete(model, monkeypatch):
    for variable in ("CROSSFACE_COMMIT", "KFP_RUN_ID"):
        monkeypatch.setenv(variable, variable)
    monkeypatch.delenv("CROSSFACE_IMAGE_DIGEST", raising=False)
    tags = lineage_tags("run", "digest")
    assert tags == {
        "crossface.mlflow_run": "run",
        "crossface.model_sha256": "digest",
        "crossface.commit": "CROSSFACE_COMMIT",
        "crossface.image_digest": "",
        "crossface.kfp_run": "KFP_RUN_ID",
    }
    model.client.create_registered_model(model.name)
    model.client.create_model_version(model.name, "/nowhere", tags=tags)
    assert model.tags("1") == tags


def test_what_was_not_evaluated_cannot_be_judged(model, tmp_path):
    experiment = model.client.create_experiment(model.name, tmp_path.as_uri())
    run = model.client.create_run(experiment).info.run_id
    model.client.create_registered_model(model.name)
    model.client.create_model_version(model.name, "/nowhere", run)
    with pytest.raises(DataError, match=rf"version 1: its run {run} has no evaluation/\w+\.\w+ to compare"):
        judge_versions(model.client, model.name, "1", "1")
