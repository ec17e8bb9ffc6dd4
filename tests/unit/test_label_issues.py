"""Labels to look at again: planted faults are found, the word of the other datasets counts, odd sets work."""

import json

import numpy as np
import pyarrow as pa
import pytest

from crossface.data.emotions import EMOTIONS
from crossface.evaluate.label_issues import LABEL_ISSUE_SCHEMA, review_labels
from crossface.measures.predictions import PREDICTION_SCHEMA

HAPPY, ANGER = EMOTIONS.index("happiness"), EMOTIONS.index("anger")


def opinions(truth: np.ndarray, seed: int = 0) -> np.ndarray:
    """What a good model says: .7 for the truth, the rest anyhow."""
    rows = np.random.default_rng(seed).dirichlet(np.ones(7), len(truth))
    rows[np.arange(len(truth)), truth] = 0
    rows *= 0.3 / rows.sum(1, keepdims=True)
    rows[np.arange(len(truth)), truth] = 0.7
    return rows


def table(labels, dataset="a", mean=None, others=None) -> pa.Table:
    rows = [
        {
            "model": "adapted",
            "face_id": f"{dataset}/{index}",
            "dataset": dataset,
            "emotion": int(label),
            "mean": mean[index].tolist() if mean is not None else [1 / 7] * 7,
            "others": others[index].tolist() if others is not None else None,
        }
        for index, label in enumerate(labels)
    ]
    return pa.Table.from_pylist(rows, schema=PREDICTION_SCHEMA)


TRUTH = np.repeat(np.arange(7), 40)
WRONG = np.flatnonzero(TRUTH == HAPPY)[:10]  # ten happy faces are labelled as angry
LABELS = TRUTH.copy()
LABELS[WRONG] = ANGER


def test_planted_faults_are_found_and_the_list_is_ordered():
    probabilities = opinions(TRUTH)
    found, faces = review_labels(table(LABELS, mean=probabilities), most=100)
    assert (found["a"]["faces"], found["a"]["suspicious"], found["a"]["head"]) == (280, 10, "mean")
    assert faces.schema == LABEL_ISSUE_SCHEMA
    assert sorted(faces["face_id"].to_pylist()) == sorted(f"a/{index}" for index in WRONG)
    assert set(faces["label"].to_pylist()) == {"anger"}
    assert set(faces["said"].to_pylist()) == {"happiness"}
    ordered = np.sort(probabilities[WRONG, ANGER])
    assert np.asarray(faces["self_confidence"]) == pytest.approx(ordered, abs=1e-6)
    joint = np.array(found["a"]["joint"])
    assert joint.shape == (7, 7)
    assert joint.sum() == pytest.approx(1)
    assert joint.sum(1) == pytest.approx(np.bincount(LABELS) / 280)  # row: the label
    assert joint[ANGER, HAPPY] == pytest.approx(10 / 280)
    assert joint[HAPPY, ANGER] == 0


def test_the_list_is_bounded_and_the_number_is_not():
    found, faces = review_labels(table(LABELS, mean=opinions(TRUTH)), most=3)
    everything = review_labels(table(LABELS, mean=opinions(TRUTH)), most=100)[1]
    assert found["a"]["suspicious"] == 10
    assert faces.equals(everything.slice(0, 3))
    assert review_labels(table(LABELS, mean=opinions(TRUTH)), most=0)[1].num_rows == 0


def test_the_word_of_the_other_datasets_counts():
    habit = opinions(LABELS)  # the mean has the own head in it, which has learnt the dataset's faults
    found, faces = review_labels(table(LABELS, mean=habit, others=opinions(TRUTH)), most=100)
    assert (found["a"]["suspicious"], found["a"]["head"]) == (10, "others")
    assert review_labels(table(LABELS, mean=habit), most=100)[0]["a"]["suspicious"] == 0
    assert faces.num_rows == 10


@pytest.mark.filterwarnings("error")
def test_absent_classes_one_class_and_odd_names():
    some = np.isin(TRUTH, (2, HAPPY, ANGER))
    odd = "<i>/ü &"
    parts = [
        table(LABELS[some], odd, mean=opinions(TRUTH[some])),
        table([HAPPY] * 5, "one", mean=opinions(np.full(5, ANGER))),
        table([0, 1], "two", mean=opinions(np.array([1, 0]))),
    ]
    found, faces = review_labels(pa.concat_tables(parts), most=100)
    assert list(found) == [odd, "one", "two"]
    assert [numbers["faces"] for numbers in found.values()] == [120, 5, 2]
    assert found[odd]["suspicious"] == 10
    assert found["one"]["suspicious"] == 0
    assert set(faces["dataset"].to_pylist()) <= {odd, "two"}
    for numbers in found.values():
        assert np.sum(numbers["joint"]) == pytest.approx(1)
    assert np.array(found[odd]["joint"])[0] == pytest.approx(0)  # nobody is surprised here
    json.dumps(found, allow_nan=False)
