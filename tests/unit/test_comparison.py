"""Paired comparison: by hand, against scipy, and how often the interval covers the truth."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from crossface.bootstrap import interval
from crossface.measures.comparison import compare, gain, mcnemar, paired_differences
from crossface.measures.predictions import PREDICTION_SCHEMA


def predictions(labels, said: dict[str, list[int]], datasets) -> pa.Table:
    rows = [
        {
            "model": model,
            "face_id": f"{index:05d}",
            "dataset": dataset,
            "emotion": label,
            "mean": (np.eye(7)[word] * 0.65 + 0.05).tolist(),
        }
        for model, words in said.items()
        for index, (label, word, dataset) in enumerate(zip(labels, words, datasets, strict=True))
    ]
    return pa.Table.from_pylist(rows, schema=PREDICTION_SCHEMA)


def discordant(first: int, second: int, both: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Right or wrong: ``first`` faces only for the baseline, ``second`` only for the adapted model."""
    baseline = np.array([True] * first + [False] * second + [True] * both)
    return baseline, np.array([False] * first + [True] * second + [True] * both)


def test_differences_by_hand():
    odd = "b/<i>"
    labels = [0, 0, 0, 1, 2, 2]  # class 1 is a quarter of a, and absent from the other
    said = {"baseline": [0, 0, 3, 3, 2, 3], "adapted": [0, 3, 3, 1, 2, 2]}
    found = compare(predictions(labels, said, ["a"] * 4 + [odd] * 2), seed=0)
    assert list(found) == ["a", odd, "average"]
    assert found["a"]["balanced_accuracy"]["difference"] == pytest.approx((-1 / 3 + 1) / 2)
    assert found["a"]["accuracy"]["difference"] == pytest.approx(0)
    assert found[odd]["accuracy"]["difference"] == pytest.approx(1 / 2)
    assert found["average"]["balanced_accuracy"]["difference"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert found["average"]["accuracy"]["difference"] == pytest.approx(1 / 4)
    assert found["a"]["mcnemar"] == {"only_baseline_right": 1, "only_adapted_right": 1, "p": 1}
    assert "mcnemar" not in found["average"]
    json.dumps(found, allow_nan=False)


def test_gain_and_its_interval():
    labels = [0, 1, 2] * 100
    wrong = [3] * 100 + labels[100:]
    rows = {"baseline": wrong, "adapted": labels}
    table = predictions(labels, rows, ["a"] * 300)
    better = gain(compare(table, seed=0))
    assert better["gain"] == pytest.approx(np.mean([34, 33, 33]) / 100, abs=1e-3)
    assert 0.2 < better["low"] < better["gain"] < better["high"] < 0.5
    shuffled = table.take(np.random.default_rng(0).permutation(600))  # faces are paired by their id
    assert gain(compare(shuffled, seed=0)) == better
    same = compare(predictions(labels, {"baseline": wrong, "adapted": wrong}, ["a"] * 300), seed=0)
    assert gain(same) == {"gain": 0, "low": 0, "high": 0}  # paired: equal models differ in no resample
    assert same["a"]["mcnemar"]["p"] == 1


@pytest.mark.parametrize("measure", ["balanced_accuracy", "accuracy"])
def test_interval_covers_the_truth_at_its_nominal_rate(measure):
    """Classes of 30 to 240 faces; the models' errors go together, as those of real models do."""
    rng = np.random.default_rng(7)
    sizes = np.array([30, 60, 120, 240])
    base, gained, lost = np.array([0.4, 0.6, 0.5, 0.8]), np.array([0.4, 0.3, 0.2, 0.1]), 0.1
    truth = (1 - base) * gained - base * lost
    target = truth.mean() if measure == "balanced_accuracy" else np.average(truth, weights=sizes)
    emotions = np.repeat(np.arange(4), sizes)
    covered, trials = 0, 400
    for _ in range(trials):
        baseline = rng.random(len(emotions)) < base[emotions]
        flip = rng.random(len(emotions)) < np.where(baseline, lost, gained[emotions])
        found = paired_differences(emotions, baseline, baseline ^ flip, rng)[measure]
        low, high = interval(found.resampled)
        covered += low <= target <= high
    assert 0.92 <= covered / trials <= 0.975


@given(st.integers(0, 12), st.integers(0, 12))
def test_mcnemar_is_exact_for_few_pairs(first, second):
    found = mcnemar(*discordant(first, second))
    assert (found["only_baseline_right"], found["only_adapted_right"]) == (first, second)
    expected = binomtest(second, first + second).pvalue if first + second else 1
    assert found["p"] == pytest.approx(expected)


def test_mcnemar_by_hand_for_many_pairs():
    chi_square = (64 - 1) ** 2 / 236
    assert mcnemar(*discordant(86, 150))["p"] == pytest.approx(math.erfc(math.sqrt(chi_square / 2)))
    assert mcnemar(*discordant(25, 25))["p"] == 1
    # near the exact test where the two meet
    assert mcnemar(*discordant(8, 17))["p"] == pytest.approx(binomtest(8, 25).pvalue, abs=0.01)
