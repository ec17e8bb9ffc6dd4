"""Calibration: by hand, against torchmetrics, and on labels drawn from known probabilities."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from crossface.measures.calibration import (
    BINS,
    calibrate,
    expected_calibration_error,
    fit_temperature,
    reliability,
    scale,
)
from crossface.measures.predictions import PREDICTION_SCHEMA


def top(confidences, said) -> np.ndarray:
    """Probabilities of seven classes with the given top one."""
    confidences = np.asarray(confidences, np.float64)
    rows = np.repeat((1 - confidences)[:, None] / 6, 7, axis=1)
    rows[np.arange(len(rows)), said] = confidences
    return rows


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and labels that follow them."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(7, 0.4), count)
    labels = (rng.random((count, 1)) > probabilities.cumsum(1)).sum(1).clip(max=6)
    return labels, probabilities


def test_calibration_error_by_hand():
    # bins of 1/15: .5 and .52 share (7/15, 8/15], .95 and 1 the last; right, wrong, right, right
    probabilities = top([0.5, 0.52, 0.95, 1.0], [3, 3, 0, 0])
    bins = reliability(np.array([3, 1, 0, 0]), probabilities)
    assert [found.count for found in bins] == [0] * 7 + [2] + [0] * 6 + [2]
    assert (bins[7].confidence, bins[7].accuracy) == (pytest.approx(0.51), 0.5)
    assert (bins[14].confidence, bins[14].accuracy) == (pytest.approx(0.975), 1)
    assert (bins[0].confidence, bins[0].accuracy) == (None, None)
    assert expected_calibration_error(bins) == pytest.approx(2 / 4 * 0.01 + 2 / 4 * 0.025)


def test_a_bin_has_its_upper_edge():
    bins = reliability(np.zeros(1, np.int64), top([0.6], [0]))  # .6 = 9/15
    assert [found.count for found in bins].index(1) == 8


@pytest.mark.parametrize("sharpness", [0.5, 1, 3])
def test_calibration_error_agrees_with_torchmetrics(sharpness):
    labels, probabilities = drawn(500, 1)
    probabilities = scale(probabilities, 1 / sharpness)
    theirs = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(labels), num_classes=7, n_bins=BINS, norm="l1"
    )
    ours = expected_calibration_error(reliability(labels, probabilities))
    assert ours == pytest.approx(float(theirs), abs=1e-6)  # theirs is float32


@pytest.mark.parametrize("sharpness", [0.4, 1, 2.5])
def test_temperature_undoes_a_sharpening(sharpness):
    labels, probabilities = drawn(4000, 2)
    said = scale(probabilities, 1 / sharpness)
    temperature = fit_temperature(labels, said)
    assert temperature == pytest.approx(sharpness, rel=0.06)
    assert expected_calibration_error(reliability(labels, scale(said, temperature))) < 0.03


@given(st.floats(0.05, 20), st.integers(0, 1000))
def test_scaling_keeps_the_order_of_the_classes(temperature, seed):
    _, probabilities = drawn(5, seed)
    scaled = scale(probabilities, temperature)
    assert scaled.sum(1) == pytest.approx(1)
    assert (np.diff(np.take_along_axis(scaled, probabilities.argsort(1), 1)) >= 0).all()
    assert scale(probabilities, 1.0) == pytest.approx(probabilities)


def table(labels, probabilities, dataset) -> pa.Table:
    rows = [
        {"model": "adapted", "dataset": name, "emotion": int(label), "mean": row.tolist()}
        for label, row, name in zip(labels, probabilities, dataset, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=PREDICTION_SCHEMA)


def test_one_temperature_from_dev_for_every_dataset():
    labels, probabilities = drawn(600, 3)
    sure = scale(probabilities, 0.5)
    odd = 'a/"b" <c>'
    test = table(labels, sure, [odd] * 300 + ["b"] * 300)
    found = calibrate(table(labels, sure, ["b"] * 600), test)
    assert found["temperature"] == pytest.approx(fit_temperature(labels, sure.astype(np.float32)))
    assert list(found["per_dataset"]) == [odd, "b"]
    for numbers in found["per_dataset"].values():
        assert numbers["ece_scaled"] < numbers["ece"]
        assert sum(row["count"] for row in numbers["bins"]) == 300
    # the bins are those of what is deployed, before scaling
    first = found["per_dataset"][odd]
    unscaled = reliability(labels[:300], sure[:300].astype(np.float32))
    assert [row["confidence"] for row in first["bins"]] == [row.confidence for row in unscaled]
    # dev decides, not test
    elsewhere = calibrate(table(labels, probabilities, ["b"] * 600), test)
    assert elsewhere["temperature"] == pytest.approx(1, abs=0.1)
    assert elsewhere["per_dataset"][odd]["ece"] == first["ece"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("right", [True, False])
def test_certainty_has_finite_numbers(right):
    sure = np.eye(7, dtype=np.float32)[[0, 1, 2]]  # zeros have no logarithm
    found = calibrate(*[table([0, 1, 2] if right else [3, 3, 3], sure, "aaa")] * 2)
    json.dumps(found, allow_nan=False)
    assert 0.05 <= found["temperature"] <= 20
    assert found["per_dataset"]["a"]["ece"] == (0 if right else 1)
