"""Drift: values by hand, scipy on the whole samples, and how often nothing is taken for something."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from crossface.data.crops import CAPTURE, CROP_SCHEMA, ShardWriter
from crossface.data.emotions import EMOTIONS
from crossface.data.reference import (
    QUANTILES,
    REFERENCE_FILE,
    STATISTICS,
    Reference,
    capture_statistics_of,
    expression_counts,
    make_reference,
    quantiles,
    read_reference,
    write_reference,
)
from crossface.errors import DataError
from crossface.model.images import encode_png
from crossface.score.drift import (
    FALSE_ALARMS,
    SOME,
    STRONG,
    Drift,
    Verdict,
    in_words,
    measure_drift,
    population_stability_index,
    worst,
)

MIX = np.array([0.1, 0.05, 0.08, 0.37, 0.1, 0.1, 0.2])


def reference_of(emotions: np.ndarray, statistics: dict[str, np.ndarray]) -> Reference:
    counts = expression_counts(emotions)
    found = {name: quantiles(values) for name, values in statistics.items()}
    return Reference(crop_size=100, labels=counts, answers=counts, quantiles=found)


def drawn(rng: np.random.Generator, faces: int, shift: float = 0.0) -> tuple[np.ndarray, dict]:
    """Faces of one distribution; skewed, in whole numbers, or with a lump at zero, as the real ones are."""
    statistics = {name: rng.normal(shift, 1, faces) for name in STATISTICS}
    statistics["sharpness"] = rng.lognormal(shift, 2, faces)
    statistics["face_px"] = rng.integers(60, 70, faces) + 5.0 * shift
    statistics["jpeg_quantisation"] = np.where(rng.random(faces) < 0.5, 0, rng.integers(1, 4, faces) + shift)
    return rng.choice(7, faces, p=MIX), statistics


# ---------------------------------------------------------------- distances


def test_stability_index_by_hand():
    """Shares (9.5/21, 11.5/21) and (1.5/21, 19.5/21) of 20 faces each, with half a face more in each cell."""
    p, q = np.array([9.5, 11.5]) / 21, np.array([1.5, 19.5]) / 21
    by_hand = (p[0] - q[0]) * math.log(p[0] / q[0]) + (p[1] - q[1]) * math.log(p[1] / q[1])
    assert by_hand == pytest.approx(0.9044, abs=1e-4)
    assert population_stability_index(np.array([9, 11]), np.array([1, 19])) == pytest.approx(by_hand)
    assert population_stability_index(np.array([3, 4, 5]), np.array([3, 4, 5])) == 0
    assert math.isfinite(population_stability_index(np.array([0, 50]), np.array([50, 0])))


@given(
    st.lists(st.integers(-3, 12), min_size=1, max_size=400),
    st.lists(st.integers(-3, 12), min_size=1, max_size=3000),
)
def test_distance_is_scipys_of_the_whole_samples(scored, trained):
    """Ties and all: the quantiles that travel are off by half of one share, and by one face."""
    values, whole = np.array(scored, float), np.array(trained, float)
    reference = reference_of(np.arange(7), dict.fromkeys(STATISTICS, whole))
    found = measure_drift(dict.fromkeys(EMOTIONS, 1), dict.fromkeys(STATISTICS, values), reference)
    exact = ks_2samp(values, whole).statistic
    assert all(abs(drift.distance - exact) <= 0.5 / QUANTILES + 1 / len(whole) + 1e-9 for drift in found[1:])


def test_quantiles_are_the_middles_of_equal_shares():
    whole = np.random.default_rng(0).permutation(100_000).astype(float)
    assert quantiles(whole)[:2] == (249, 749)  # the 250th and the 750th
    assert ks_2samp(whole, quantiles(whole)).statistic == pytest.approx(0.5 / QUANTILES, abs=2e-5)
    assert set(quantiles(np.array([0.0, 0.0, 4.0]))) == {0, 4}


def test_chance_by_hand():
    """At a probability of 0.05 / 8 each; K = sqrt(-ln(a / 2) / 2) in the tail, chi-square of 6 degrees."""
    emotions, statistics = drawn(np.random.default_rng(0), 400)
    reference = reference_of(emotions, statistics)
    mix, confidence, *_ = measure_drift(expression_counts(emotions[:100]), statistics, reference)
    assert mix.chance == pytest.approx(18.00 * (1 / 100 + 1 / 400), rel=0.01)
    in_the_tail = math.sqrt(-math.log(0.05 / 8 / 2) / 2)
    assert confidence.chance == pytest.approx(in_the_tail * math.sqrt(2 / 400) + 0.0025, rel=1e-3)


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("distance", "chance", "verdict"),
    [
        (0.0, 0.01, Verdict.NONE),
        (0.09, 0.01, Verdict.NONE),  # no chance, and too little to matter
        (SOME, 0.01, Verdict.SOME),
        (0.2, 0.21, Verdict.NONE),
        (0.2499, 0.2, Verdict.SOME),
        (STRONG, 0.2, Verdict.STRONG),
        (0.3, 0.4, Verdict.UNKNOWN),
        (0.05, 0.26, Verdict.UNKNOWN),
        (0.5, 0.4, Verdict.STRONG),  # few faces, and yet
    ],
)
def test_verdict(distance, chance, verdict):
    assert Drift("brightness", distance, chance).verdict == verdict


def test_words_name_what_drifted_most():
    drifts = [Drift("contrast", 0.15, 0.01), Drift("sharpness", 0.3, 0.01), Drift("face_px", 0.4, 0.01)]
    assert in_words(drifts) == "strong drift: sharpness, face_px; some drift: contrast"
    assert in_words(drifts[:1]) == "some drift: contrast"
    assert in_words([Drift("contrast", 0.0, 0.01)]) == "no drift"
    assert worst([Drift("a", 0, 0.9), Drift("b", 0, 0.1)]) == Verdict.UNKNOWN
    assert worst([Drift("a", 0, 0.9), Drift("b", 0.1, 0.01)]) == Verdict.SOME


@pytest.mark.parametrize(("trained", "scored"), [(1000, 60), (5000, 400), (400, 5000)])
def test_what_did_not_drift_is_rarely_taken_for_drift(trained, scored):
    """As often as it is said to be, or less; by chance alone, and so always by verdict too."""
    rng, runs, alarms = np.random.default_rng(7), 300, 0
    for _ in range(runs):
        reference = reference_of(*drawn(rng, trained))
        emotions, statistics = drawn(rng, scored)
        found = measure_drift(expression_counts(emotions), statistics, reference)
        alarms += any(drift.distance > drift.chance for drift in found)
    assert alarms / runs <= FALSE_ALARMS + 2 * math.sqrt(FALSE_ALARMS * (1 - FALSE_ALARMS) / runs)


def test_what_drifted_is_found_where_it_is():
    rng = np.random.default_rng(1)
    emotions, statistics = drawn(rng, 5000)
    reference = reference_of(emotions, statistics)
    _, later = drawn(rng, 1000)
    later["brightness"] = later["brightness"] + 1
    later["jpeg_quantisation"] = np.zeros(1000)  # no JPEG any more, of which half were
    happier = rng.choice(7, 1000, p=[0.02, 0.02, 0.02, 0.8, 0.02, 0.02, 0.1])
    found = {drift.name: drift for drift in measure_drift(expression_counts(happier), later, reference)}
    assert {name for name, drift in found.items() if drift.verdict == Verdict.STRONG} == {
        "expressions", "brightness", "jpeg_quantisation",
    }  # fmt: skip
    assert {drift.verdict for drift in found.values()} == {Verdict.STRONG, Verdict.NONE}
    assert found["brightness"].distance == pytest.approx(0.383, abs=0.04)  # 2 Phi(1/2) - 1
    assert found["jpeg_quantisation"].distance == pytest.approx(0.5, abs=0.03)


# ---------------------------------------------------------------- the reference


def write_crops(folder, splits):
    folder.mkdir()
    writer = ShardWriter(folder)
    for number, split in enumerate(splits):
        capture = {name: float(number) for name in CAPTURE.names}
        writer.write(
            {
                "face_id": str(number),
                "dataset": "a",
                "split": split,
                "emotion": number % 7,
                "image": {"bytes": encode_png(np.zeros((24, 24, 3), np.uint8)), "path": None},
                "capture": capture | {"jpeg_quantisation": None if number % 2 else 4.0},
            }
        )
    writer.close()
    return folder


def test_reference_is_of_train_faces_and_of_what_is_said_of_dev(tmp_path):
    folders = [
        write_crops(tmp_path / "a", ["train"] * 20 + ["dev"] * 4 + ["test"] * 9),
        write_crops(tmp_path / "b", ["train"] * 8 + ["dev"] * 2),
    ]
    said = np.full((6, 7), 0.05)
    said[:4, 3], said[4:, 6] = 0.7, 0.9
    made = make_reference(folders, said)
    assert made.crop_size == 24
    assert sum(made.labels.values()) == 28
    assert made.labels["surprise"] == 3 + 2  # 0, 7, 14 and 0, 7
    assert made.answers == {**dict.fromkeys(EMOTIONS, 0), "happiness": 4, "neutral": 2}
    assert (made.faces("brightness"), made.faces("confidence")) == (28, 6)
    assert max(made.quantiles["brightness"]) == 19
    assert set(made.quantiles["jpeg_quantisation"]) == {0, 4}
    assert np.mean(np.array(made.quantiles["confidence"]) == 0.7) == pytest.approx(4 / 6, abs=0.006)
    write_reference(made, tmp_path)
    assert read_reference(tmp_path / REFERENCE_FILE) == made
    with pytest.raises(DataError, match="needs train faces and dev faces"):
        make_reference(folders, said[:0])


@pytest.mark.parametrize("harm", [{"crop_size": "x"}, {"labels": {}}, {"quantiles": {}}, {"more": 1}])
def test_damaged_reference_is_refused(tmp_path, harm):
    made = reference_of(*drawn(np.random.default_rng(0), 50))
    (tmp_path / REFERENCE_FILE).write_text(made.model_copy(update=harm).model_dump_json(warnings=False))
    if "more" in harm:
        (tmp_path / REFERENCE_FILE).write_text(made.model_dump_json()[:-1] + ', "more": 1}')
    with pytest.raises(DataError, match=r"reference\.json: not a reference: "):
        read_reference(tmp_path / REFERENCE_FILE)


def test_capture_without_a_jpeg_is_zero():
    rows = [{**dict.fromkeys(CAPTURE.names, 1.5), "jpeg_quantisation": value} for value in (None, 3.0)]
    table = pa.Table.from_pylist([{"capture": row} for row in rows], schema=pa.schema([("capture", CAPTURE)]))
    found = capture_statistics_of(table["capture"])
    assert found["jpeg_quantisation"].tolist() == [0, 3]
    assert found["brightness"].tolist() == [1.5, 1.5]
    assert set(found) == set(STATISTICS) - {"confidence"}
    assert CROP_SCHEMA.field("capture").type == CAPTURE
