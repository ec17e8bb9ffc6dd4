"""Groups of people: by hand."""

import json

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import balanced_accuracy_score

from crossface.measures.predictions import PREDICTION_SCHEMA
from crossface.measures.subgroups import score_subgroups


def face(emotion, said, gender=None, race=None, dataset="rafdb") -> dict:
    return {
        "model": "adapted",
        "dataset": dataset,
        "emotion": emotion,
        "mean": (np.eye(7)[said] * 0.65 + 0.05).tolist(),
        "attributes": {"gender": gender, "race": race, "age": None},
    }


def table(rows) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=PREDICTION_SCHEMA)


# 40 women: 30 happy (24 right), 10 sad (4 right); 30 men: happy, 27 right; 3 unsure; 2 without a word
ROWS = [
    *[face(3, 3, "female")] * 24,
    *[face(3, 6, "female")] * 6,
    *[face(4, 4, "female")] * 4,
    *[face(4, 6, "female")] * 6,
    *[face(3, 3, "male")] * 27,
    *[face(3, 0, "male")] * 3,
    *[face(3, 0, "unsure")] * 3,
    *[face(3, 3)] * 2,
]


def test_groups_by_hand():
    found = score_subgroups(table(ROWS), min_faces=30, seed=0)
    assert list(found) == ["rafdb"]
    assert list(found["rafdb"]) == ["gender"]  # of race and age nothing is published
    gender = found["rafdb"]["gender"]
    women, men = gender["groups"]["female"], gender["groups"]["male"]
    assert (women["n"], women["accuracy"]) == (40, pytest.approx(28 / 40))
    assert women["balanced_accuracy"] == pytest.approx((24 / 30 + 4 / 10) / 2)
    assert (men["n"], men["accuracy"], men["balanced_accuracy"]) == (
        30,
        pytest.approx(0.9),
        pytest.approx(0.9),
    )
    assert gender["gap"] == pytest.approx(0.9 - 0.7)
    # the group of three is named, and would have made a gap of .9
    assert list(gender["groups"]) == ["female", "male"]
    assert (gender["left_out"], gender["unknown"]) == ({"unsure": 3}, 2)
    json.dumps(found, allow_nan=False)


def test_interval_is_that_of_a_share():
    women = score_subgroups(table(ROWS), 30, 0)["rafdb"]["gender"]["groups"]["female"]
    half = 1.96 * np.sqrt(0.7 * 0.3 / 40)
    assert (women["low"], women["high"]) == (
        pytest.approx(0.7 - half, abs=0.03),
        pytest.approx(0.7 + half, abs=0.03),
    )
    assert score_subgroups(table(ROWS), 30, 0) == score_subgroups(table(ROWS), 30, 0)


def test_every_group_too_small_or_alone():
    few = score_subgroups(table(ROWS), min_faces=41, seed=0)["rafdb"]["gender"]
    assert (few["groups"], few["gap"]) == ({}, None)
    assert few["left_out"] == {"female": 40, "male": 30, "unsure": 3}
    one = score_subgroups(table(ROWS), min_faces=31, seed=0)["rafdb"]["gender"]
    assert (list(one["groups"]), one["gap"]) == (["female"], None)


def test_datasets_are_kept_apart_and_silent_ones_are_absent():
    odd = "<b>&/ü"
    rows = [*ROWS, *[face(5, 5, race="asian", dataset=odd)] * 30, *[face(5, 5, dataset="expw")] * 30]
    found = score_subgroups(table(rows), 30, 0)
    assert {name: list(attributes) for name, attributes in found.items()} == {
        "rafdb": ["gender"],
        odd: ["race"],
    }
    assert found[odd]["race"]["groups"]["asian"]["accuracy"] == 1
    nothing = [{**row, "attributes": None} for row in ROWS]
    assert score_subgroups(table(nothing), 30, 0) == {}


@pytest.mark.filterwarnings("error")
def test_balanced_accuracy_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    emotions = rng.integers(0, 7, 400)
    said = np.where(rng.random(400) < 0.7, emotions, rng.integers(0, 7, 400))
    groups = rng.choice(["a", "b", "c"], 400)
    rows = [face(*row) for row in zip(emotions.tolist(), said.tolist(), groups.tolist(), strict=True)]
    found = score_subgroups(table(rows), 30, 0)["rafdb"]["gender"]["groups"]
    for group, scores in found.items():
        mine = groups == group
        assert scores["balanced_accuracy"] == pytest.approx(
            balanced_accuracy_score(emotions[mine], said[mine])
        )
