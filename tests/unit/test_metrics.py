"""Scores and the sentences of the report, against scikit-learn and by hand."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from crossface.evaluate.findings import findings, signed_points
from crossface.gate.floors import floors
from crossface.gate.policy import GatePolicy
from crossface.gate.verdict import Verdict
from crossface.measures.metrics import MODELS, flat_metrics, measure, score
from crossface.measures.predictions import PREDICTION_SCHEMA


def says(labels) -> np.ndarray:
    """Probabilities whose greatest is at the labels."""
    return np.eye(7, dtype=np.float32)[labels] * 0.65 + 0.05


def test_scores_by_hand_with_absent_classes():
    # label 0 three times: 0, 0, 1; label 1 once: 1; label 6 twice: 6, 2. Never a label: 2, 3, 4, 5.
    found = score(np.array([0, 0, 0, 1, 6, 6]), says([0, 0, 1, 1, 6, 2]))
    assert found.n == 6
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.recall == pytest.approx([2 / 3, 1, None, None, None, None, 1 / 2])
    assert found.precision == pytest.approx([1, 1 / 2, 0, None, None, None, 1])
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert found.recall_std == pytest.approx(np.std([2 / 3, 1, 1 / 2]))
    assert found.precision_mean == pytest.approx((1 + 1 / 2 + 0 + 1) / 4)
    assert found.macro_f1 == pytest.approx((4 / 5 + 2 / 3 + 2 / 3) / 3)  # F1 of 0, 1 and 6
    assert found.recall_matrix[0] == pytest.approx([2 / 3, 1 / 3, 0, 0, 0, 0, 0])
    assert found.recall_matrix[3] == [None] * 7


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60))
def test_scores_agree_with_scikit_learn(pairs):
    labels, said = np.array(pairs).T
    found = score(labels, says(said))
    assert found.accuracy == pytest.approx(accuracy_score(labels, said))
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, said))
    assert found.macro_f1 == pytest.approx(
        f1_score(labels, said, labels=np.unique(labels), average="macro", zero_division=0)
    )
    for label, (recall, row) in enumerate(zip(found.recall, found.recall_matrix, strict=True)):
        assert row[label] == recall
        assert recall is None or sum(row) == pytest.approx(1)
    json.dumps(found.__dict__, allow_nan=False)


def predictions(said: dict[str, list[int]], labels=(0, 0, 1, 1, 2, 2), dataset=None) -> pa.Table:
    """A table in which the mean head says ``said`` and the own head is always right."""
    rows = [
        {
            "model": model,
            "face_id": f"face {index}",
            "dataset": (dataset or ["a"] * len(labels))[index],
            "emotion": label,
            "own": says(label).tolist(),
            "mean": says(word).tolist(),
        }
        for model, words in said.items()
        for index, (label, word) in enumerate(zip(labels, words, strict=True))
    ]
    return pa.Table.from_pylist(rows, schema=PREDICTION_SCHEMA)


def test_measure_keeps_models_heads_and_datasets_apart():
    table = predictions(
        {"baseline": [0, 0, 1, 3, 3, 3], "adapted": [0, 0, 1, 1, 2, 3]},
        dataset=["a", "a", "a", "a", "b", "b"],
    )
    baseline, adapted = (measure(table.filter(pc.field("model") == name)) for name in MODELS)
    assert baseline["per_dataset"]["a"]["mean"]["accuracy"] == pytest.approx(3 / 4)
    assert baseline["per_dataset"]["b"]["mean"]["accuracy"] == 0
    assert adapted["per_dataset"]["b"]["mean"]["accuracy"] == pytest.approx(1 / 2)
    assert baseline["per_dataset"]["b"]["own"]["accuracy"] == 1
    # the mean over datasets, not over faces
    assert baseline["average"]["mean"]["accuracy"] == pytest.approx(3 / 8)
    assert adapted["average"]["mean"]["balanced_accuracy"] == pytest.approx((1 + 1 / 2) / 2)


def document(
    before=0.5, after=0.52, probe_before=0.9, probe_after=0.6, low=0.01, high=0.03, datasets=("a", "b")
):
    """metrics.json with given numbers."""

    def model(balanced, probe):
        scores = {"accuracy": balanced, "balanced_accuracy": balanced, "macro_f1": balanced}
        interval = probe and {"accuracy": probe, "low": probe - 0.02, "high": probe + 0.02, "chance": 0.5}
        return {
            "per_dataset": {name: {"mean": scores, "own": scores} for name in datasets},
            "average": {"mean": scores, "own": scores},
            "probe": interval,
            "calibration": {"per_dataset": {name: {"ece_scaled": 0.05} for name in datasets}},
        }

    metrics = {
        "datasets": list(datasets),
        "models": {"baseline": model(before, probe_before), "adapted": model(after, probe_after)},
        "gain": {"gain": after - before, "low": low, "high": high},
        "leakage": None,
    }
    rules = floors(metrics, GatePolicy(min_balanced_accuracy=0.4, max_drop=0.05))
    return metrics | {"verdict": Verdict.of(list(rules), "", "It reaches every floor.").as_dict()}


@pytest.mark.parametrize(
    ("numbers", "answers", "states"),
    [
        ({}, ["Yes, by 2.0 points", "Yes, the probe falls by 30.0 points", "Yes"], ["good", "good", "good"]),
        (
            {"after": 0.4, "low": -0.15, "high": -0.05, "probe_after": 0.95},
            ["No, it is worse by 10.0 points", "No, the probe rises by 5.0 points", "No"],
            ["bad", "bad", "bad"],
        ),
        (
            {"after": 0.49, "low": -0.03, "high": 0.01, "probe_after": 0.89},
            [
                "No clear difference (\N{MINUS SIGN}1.0 points)",
                "No clear difference (\N{MINUS SIGN}1.0 points)",
                "Yes",
            ],
            ["open", "open", "good"],
        ),
        (
            {"probe_before": 0.51, "probe_after": 0.5},
            ["Yes, by 2.0 points", "There is no bias to remove", "Yes"],
            ["good", "open", "good"],
        ),
        (
            {"probe_before": None, "probe_after": None, "datasets": ("a",)},
            ["Yes, by 2.0 points", "Cannot be said", "Yes"],
            ["good", "open", "good"],
        ),
    ],
    ids=["better", "worse", "unclear", "no bias", "one dataset"],
)
def test_findings_say_what_the_numbers_say(numbers, answers, states):
    found = findings(document(**numbers))
    assert [finding.answer for finding in found] == answers
    assert [finding.state for finding in found] == states


def test_findings_name_numbers_and_datasets():
    better, biased, _ = findings(document())
    assert "averaged over 2 datasets, is 52.0%; the baseline has 50.0%" in better.detail
    assert "+1.0 to +3.0 points" in better.detail
    assert "It is higher on a and b." in better.detail
    assert "75% of the excess over chance is gone" in biased.detail  # (.9 - .6) / (.9 - .5)
    one = findings(document(probe_before=None, probe_after=None, datasets=("a",)))
    assert "only one dataset" in one[1].detail
    few = findings(document(probe_before=None, probe_after=None))
    assert "too few faces" in few[1].detail


def test_signed_points():
    texts = [signed_points(value) for value in (0.0312, -0.0312, 0.0001, -0.0001)]
    assert texts == ["+3.1", "\N{MINUS SIGN}3.1", "0.0", "0.0"]


def test_flat_metrics_are_finite_floats_of_the_mean_head():
    table = predictions({"baseline": [0, 0, 1, 3, 3, 3], "adapted": [0, 0, 1, 1, 2, 3]})
    metrics = {
        "datasets": ["a"],
        "models": {name: measure(table.filter(pc.field("model") == name)) for name in MODELS},
        "others": {},
        "gain": {"gain": 0.1, "low": 0.0, "high": 0.2},
        "comparison": {"a": {"mcnemar": {"p": 0.25}}},
    }
    for model in metrics["models"].values():
        model["probe"] = None
        model["calibration"] = {"temperature": 1.5, "per_dataset": {"a": {"ece": 0.04, "ece_scaled": 0.02}}}
        model["subgroups"] = {}
    adapted = metrics["models"]["adapted"]
    adapted["probe"] = {"accuracy": 0.6, "low": 0.5, "high": 0.7, "chance": 1 / 3}
    adapted["subgroups"] = {"a": {"gender": {"gap": 0.12}, "race": {"gap": None}}}
    flat = flat_metrics(metrics)
    assert flat["baseline/a/accuracy"] == pytest.approx(1 / 2)
    assert flat["adapted/average/balanced_accuracy"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert flat["adapted/probe/accuracy"] == 0.6
    assert "baseline/probe/accuracy" not in flat
    assert (flat["adapted/temperature"], flat["adapted/a/ece"], flat["mcnemar_p/a"]) == (1.5, 0.04, 0.25)
    assert {key: value for key, value in flat.items() if "/gap/" in key} == {"adapted/a/gap/gender": 0.12}
    assert all(type(value) is float and np.isfinite(value) for value in flat.values())
