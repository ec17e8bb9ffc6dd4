"""The gate: every rule by hand, how often it errs, and that a verdict says why."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from crossface.gate.champion import Judged, against_champion
from crossface.gate.floors import floors
from crossface.gate.judge import judge
from crossface.gate.paired import pair_predictions
from crossface.gate.policy import GatePolicy
from crossface.gate.verdict import Verdict
from crossface.measures.predictions import PREDICTION_SCHEMA

POLICY = GatePolicy(min_balanced_accuracy=0.4, max_drop=0.05, max_ece=0.1)


def model(balanced=0.5, probe=0.6, ece=0.05) -> dict:
    interval = probe and {"accuracy": probe, "low": probe - 0.02, "high": probe + 0.02, "chance": 0.5}
    return {
        "average": {"mean": {"balanced_accuracy": balanced}},
        "probe": interval,
        "calibration": {"per_dataset": {"a": {"ece_scaled": ece}, "b": {"ece_scaled": ece}}},
    }


def metrics(before=None, after=None, leakage=None, manifest="same") -> dict:
    """The parts of metrics.json that the gate reads."""
    models = {"baseline": model(**before or {"probe": 0.9}), "adapted": model(**after or {"balanced": 0.52})}
    return {"models": models, "leakage": leakage, "test_manifest": manifest}


def leakage(split: str, reason: str, count: int, dropped: int) -> dict:
    return {
        "leaking": [{"dataset": "a", "split": split, "reason": reason, "count": count}],
        "dropped": dropped,
    }


@pytest.mark.parametrize(
    ("before", "after", "kept", "sentence"),
    [
        ({}, {"balanced": 0.52}, True, "mean balanced accuracy is 52.0%, not below the floor of 40.0%."),
        (
            {"balanced": 0.39},
            {"balanced": 0.39},
            False,
            "mean balanced accuracy is 39.0%, below the floor of 40.0%.",
        ),
        (
            {},
            {"balanced": 0.44},
            False,
            "mean balanced accuracy is 44.0%, 6.0 points below the baseline's 50.0%;",
        ),
        (
            {},
            {"balanced": 0.46},
            True,
            "mean balanced accuracy is 46.0%, 4.0 points below the baseline's 50.0%;",
        ),
        (
            {},
            {"balanced": 0.52},
            True,
            "mean balanced accuracy is 52.0%, 2.0 points above the baseline's 50.0%;",
        ),
        ({"probe": 0.9}, {}, True, "the dataset probe fell from 90.0% to 60.0% (chance 50.0%)."),
        ({"probe": 0.9}, {"probe": 0.92}, False, "the dataset probe did not fall: 90.0% before, 92.0% after"),
        (
            {"probe": 0.50},
            {"probe": 0.51},
            True,
            "the dataset probe did not fall (50.0% before, 51.0% after), but it cannot",
        ),
        ({"probe": None}, {"probe": None}, True, "there is no dataset probe to compare"),
        ({}, {"ece": 0.1}, True, "the calibration error is 10.0%, at most 10.0%."),
        ({}, {"ece": 0.11}, False, "the calibration error is 11.0%, more than 10.0%."),
    ],
)
def test_floors(before, after, kept, sentence):
    rules = floors(metrics({"probe": 0.9, **before}, {"probe": 0.6, **after}), POLICY)
    assert [rule.kept for rule in rules if rule.sentence.startswith(sentence)] == [kept]


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (leakage("train", "twin_in_test", 3, dropped=3), True),
        (leakage("train", "twin_in_test", 3, dropped=0), False),
        (leakage("train", "twin_in_dev", 3, dropped=0), True),  # it biases the choice of an epoch, no test
        (None, True),
    ],
)
def test_a_model_that_saw_test_faces_is_refused(found, kept):
    rules = {rule.name: rule for rule in floors(metrics(leakage=found), POLICY)}
    assert rules["leakage"].kept is kept
    lenient = POLICY.model_copy(update={"allow_leakage": True})
    assert "leakage" not in {rule.name for rule in floors(metrics(leakage=found), lenient)}


def test_the_probe_need_not_fall_where_the_policy_says_so():
    lenient = POLICY.model_copy(update={"probe_must_fall": False})
    names = [{rule.name for rule in floors(metrics(), policy)} for policy in (POLICY, lenient)]
    assert names[0] - names[1] == {"dataset bias"}


def faces(rng, right: dict[str, np.ndarray], emotions: np.ndarray, gender=None) -> pa.Table:
    """Predictions on datasets a and b; ``right`` says by dataset which faces are."""
    rows = []
    for dataset, hits in right.items():
        for index, (label, hit) in enumerate(zip(emotions, hits, strict=True)):
            said = label if hit else (label + 1) % 7
            rows.append(
                {
                    "model": "adapted",
                    "face_id": f"{dataset}/{index}",
                    "dataset": dataset,
                    "emotion": int(label),
                    "mean": (np.eye(7)[said] * 0.65 + 0.05).tolist(),
                    "attributes": {"gender": gender[index] if gender is not None else None},
                }
            )
    order = rng.permutation(len(rows))
    return pa.Table.from_pylist([rows[place] for place in order], schema=PREDICTION_SCHEMA)


def judged(version, right, emotions, gender=None, **changes) -> Judged:
    table = faces(np.random.default_rng(0), right, emotions, gender)
    return Judged(version, metrics(**changes), table)


def test_paired_differences_by_hand():
    rng = np.random.default_rng(0)
    emotions = np.array([0, 0, 0, 0, 1, 1])
    ours = {"a": np.array([1, 1, 1, 0, 1, 0]), "b": np.array([1, 1, 1, 1, 1, 1])}
    theirs = {"a": np.array([1, 0, 0, 0, 1, 1]), "b": np.array([1, 1, 1, 1, 1, 1])}
    gender = ["female", "female", "male", "male", "male", None]
    pairs = pair_predictions(faces(rng, ours, emotions, gender), faces(rng, theirs, emotions, gender))
    observed = pairs.balanced_accuracy_differences(pairs.counts())
    assert {name: float(value[0]) for name, value in observed.items()} == {"a": (2 / 4 - 1 / 2) / 2, "b": 0}
    groups = pairs.group_accuracies(pairs.counts(), 4)
    assert {name: [float(side[0]) for side in sides] for name, sides in groups.items()} == {
        "gender female": [4 / 4, 3 / 4],
        "gender male": [5 / 6, 4 / 6],
    }
    assert "gender male" not in pairs.group_accuracies(pairs.counts(), 7)
    drawn = pairs.resampled(rng)
    assert drawn.sum(1).tolist() == [12] * len(drawn)
    resampled = pairs.balanced_accuracy_differences(drawn)
    assert resampled["b"].tolist() == [0] * len(drawn), "equal models differ in no resample"
    # the standard error of a difference of two recalls, from their cells: 4 and 2 faces
    truth = np.sqrt((np.var([0, 1, 1, 0]) / 4 + np.var([0, -1]) / 2) / 4)
    assert resampled["a"].std() == pytest.approx(truth, rel=0.1)


def test_other_faces_are_no_pairs():
    rng, right = np.random.default_rng(0), {"a": np.ones(4)}
    ours = faces(rng, right, np.zeros(4, int))
    with pytest.raises(ValueError, match="same faces"):
        pair_predictions(ours, faces(rng, {"a": np.ones(3)}, np.zeros(3, int)))


def two_models(rng, gain: float, n: int = 3000) -> tuple[Judged, Judged]:
    """A champion that is right in 70 of 100 cases, and a candidate as like it as another training is."""
    emotions = rng.choice(7, n, p=[0.1, 0.05, 0.08, 0.37, 0.1, 0.1, 0.2])
    theirs, ours = {}, {}
    for dataset in ("a", "b"):
        theirs[dataset] = rng.random(n) < 0.7
        flips = rng.random(n)
        lost, won = theirs[dataset] & (flips < 0.1), ~theirs[dataset] & (flips < (0.07 + gain) / 0.3)
        ours[dataset] = (theirs[dataset] & ~lost) | won
    return judged("", ours, emotions), judged("3", theirs, emotions)


@pytest.mark.parametrize(
    ("gain", "passes"),
    [(0.04, True), (0.0, False), (-0.03, False)],
    ids=["better", "equal", "worse"],
)
def test_better_passes_and_equal_or_worse_does_not(gain, passes):
    candidate, champion = two_models(np.random.default_rng(1), gain)
    verdict = judge(candidate, champion, POLICY)
    assert verdict.passed is passes
    assert verdict.compared_with == "3"
    broken = {rule.name for rule in verdict.rules if not rule.kept}
    if gain == 0:
        assert broken == {"better in something"}, "an equal model is no worse, and no reason to change"
    if gain < 0:
        assert {"not worse on a", "not worse on b"} <= broken
        assert verdict.sentence.startswith("Refused: on a balanced accuracy is")


def test_less_bias_is_an_improvement_too():
    candidate, champion = two_models(np.random.default_rng(1), 0.0)
    less = Judged("", metrics(after={"probe": 0.5}), candidate.predictions)
    assert judge(less, champion, POLICY).passed
    more = Judged("", metrics(after={"probe": 0.63}), candidate.predictions)
    assert not {rule.name: rule.kept for rule in judge(more, champion, POLICY).rules}["no more bias"]
    worse = Judged("", metrics(after={"ece": 0.08}), candidate.predictions)
    kept = {rule.name: rule.kept for rule in judge(worse, champion, POLICY).rules}
    assert (kept["calibration"], kept["no worse calibrated"]) == (True, False)


def test_a_copy_need_not_be_better_than_its_source_and_than_others_it_must():
    equal, champion = two_models(np.random.default_rng(1), 0.0)
    told = "Its dataset bias was measured on version 3, whose copy it is."
    verdict = judge(replace(equal, derived_from="3"), champion, POLICY)
    assert verdict.passed
    assert verdict.sentence == f"It may replace version 3: not worse on any dataset or group. {told}"
    assert not {"better in something", "no more bias"} & {rule.name for rule in verdict.rules}
    other = judge(replace(equal, derived_from="2"), champion, POLICY)
    assert [rule.name for rule in other.rules if not rule.kept] == ["better in something"]
    worse, champion = two_models(np.random.default_rng(1), -0.03)
    verdict = judge(replace(worse, derived_from="3"), champion, POLICY)
    assert verdict.sentence.startswith("Refused: on a balanced accuracy is")
    assert verdict.sentence.endswith(told)


def test_a_group_that_loses_is_a_veto():
    rng = np.random.default_rng(0)
    n = 2000
    emotions, gender = np.zeros(n, int), np.array(["female"] * 200 + ["male"] * 1800)
    theirs = {"a": rng.random(n) < 0.7}
    ours = {"a": theirs["a"] | (rng.random(n) < 0.3)}
    ours["a"][:200] = theirs["a"][:200] & (rng.random(200) > 0.15)  # women lose, all others gain
    candidate, champion = (judged(v, right, emotions, gender) for v, right in (("", ours), ("1", theirs)))
    kept = {rule.name: rule.kept for rule in against_champion(candidate, champion, POLICY, 0)}
    assert (kept["not worse on a"], kept["better in something"]) == (True, True)
    assert (kept["worst group"], kept["every group"]) == (False, False)
    few = POLICY.model_copy(update={"min_group_faces": 201})
    sentences = {rule.name: rule for rule in against_champion(candidate, champion, few, 0)}
    assert sentences["every group"].kept


def test_other_test_faces_cannot_be_compared():
    candidate, champion = two_models(np.random.default_rng(1), 0.04)
    other = Judged("3", metrics(manifest="other"), champion.predictions)
    verdict = judge(candidate, other, POLICY)
    assert not verdict.passed
    assert verdict.sentence.startswith("Refused: version 3 was tested on other faces")


def test_without_a_champion_a_person_promotes():
    candidate, _ = two_models(np.random.default_rng(1), 0.0)
    verdict = judge(candidate, None, POLICY)
    assert (verdict.passed, verdict.compared_with) == (True, "")
    assert "no champion" in verdict.sentence
    assert verdict == judge(candidate, None, POLICY)


def test_a_verdict_names_what_is_broken_first():
    rules = list(floors(metrics(after={"balanced": 0.3, "ece": 0.2}), POLICY))
    verdict = Verdict.of(rules, "", "praise")
    assert [rule.kept for rule in verdict.rules] == sorted(rule.kept for rule in rules)
    assert verdict.sentence.startswith("Refused: mean balanced accuracy is 30.0%, below")
    assert verdict.sentence.endswith("(3 rules are broken.)")
    assert verdict.reasons[0].startswith("Broken: ")
    assert json.loads(json.dumps(verdict.as_dict()))["rules"][0]["name"] == "balanced accuracy"
