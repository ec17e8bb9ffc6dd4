"""Whether there is anything to train for: by hand, and against a real store."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from crossface import tracking
from crossface.data.digest import values_digest
from crossface.detect_changes.detect_changes import inputs_digest
from crossface.errors import DataError
from crossface.fingerprint.fingerprint import with_revisions

RAF = {"key": "rafdb", "source": "s3://b/raf", "revision": "1"}
EXPW = {"key": "expw", "source": "s3://b/expw", "revision": "1"}
SETTINGS = {"adapted": {"epochs": 3, "lr": 0.1, "weights": "none", "augment": True}}


def test_digest_is_blind_to_order_and_to_how_numbers_are_written():
    as_kfp = {"adapted": {"weights": "none", "augment": True, "lr": 0.1, "epochs": 3.0}}
    assert values_digest(SETTINGS) == values_digest(as_kfp)
    as_kfp = [{**EXPW, "seed": 1.0}, RAF]
    assert inputs_digest([RAF, {**EXPW, "seed": 1}], "s") == inputs_digest(as_kfp, "s")


@pytest.mark.parametrize(
    ("datasets", "settings"),
    [
        ([{**RAF, "revision": "2"}, EXPW], SETTINGS),
        ([RAF], SETTINGS),
        ([RAF, EXPW], {"adapted": {**SETTINGS["adapted"], "epochs": 4}}),
        ([RAF, EXPW], {"adapted": {**SETTINGS["adapted"], "augment": 1}}),
    ],
)
def test_digest_sees_every_change(datasets, settings):
    now, then = values_digest(settings), values_digest(SETTINGS)
    assert inputs_digest(datasets, now) != inputs_digest([RAF, EXPW], then)


@given(st.dictionaries(st.text(max_size=3), st.integers(-9, 9) | st.text(max_size=3), max_size=4))
def test_digest_of_the_same_settings_is_the_same(settings):
    assert values_digest(settings) == values_digest(dict(reversed(settings.items())))


def test_only_datasets_without_a_revision_get_one(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"one")
    mine = {"key": "ours", "source": str(tmp_path), "format": "csv"}
    (found, named) = with_revisions([mine, RAF])
    assert named == RAF
    assert {key: found[key] for key in mine} == mine
    (tmp_path / "b.jpg").write_bytes(b"two")
    assert with_revisions([mine])[0]["revision"] != found["revision"]


def test_a_source_that_is_not_there_has_no_revision(tmp_path):
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "none", tmp_path / "empty", tmp_path / "none.zip"):
        with pytest.raises(DataError, match="no such file or folder"):
            with_revisions([{"key": "ours", "source": str(source)}])


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Put a run of the step, under a parent that ended in some way, into a store of its own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'm.db'}")
    client = MlflowClient()
    experiment = client.create_experiment("crossface")

    def record_(status, **tags):
        parent = client.create_run(experiment)
        tags |= {tracking.STEP_TAG: "detect_changes", tracking.PARENT_TAG: parent.info.run_id}
        client.create_run(experiment, tags=tags)
        client.set_terminated(parent.info.run_id, status)

    return record_


def test_the_newest_good_end_for_this_model_counts(record):
    assert tracking.last_finished("detect_changes", {"model": "faces"}) is None
    record("FINISHED", model="faces", inputs="a")
    record("FINISHED", model="faces", inputs="b")
    record("FAILED", model="faces", inputs="c")
    record("FINISHED", model="others", inputs="d")
    assert tracking.last_finished("detect_changes", {"model": "faces"}).data.tags["inputs"] == "b"
