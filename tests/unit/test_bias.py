"""Measures of dataset bias against values worked by hand, planted signals and known controls."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from crossface.bias.a_distance import a_distances, distance_of_error
from crossface.bias.config import ProbeSettings
from crossface.bias.features import measure_features
from crossface.bias.mmd import discrepancies, mmd2_unbiased
from crossface.bias.probe import (
    folds_of,
    group_interval,
    held_out,
    label_only_rate,
    probe_dataset,
    random_parts_control,
)
from crossface.bias.sampling import bounded_cells, draw_sample, equal_cells, one_face_a_group
from crossface.bias.shift import (
    class_counts,
    jensen_shannon_divergence,
    mutual_information,
    prior_distances,
    total_variation,
)
from crossface.bias.within_emotion import probe_within_emotions
from crossface.data.emotions import EMOTIONS

SETTINGS = ProbeSettings(max_per_cell=40, folds=4, permutations=4)


def faces(seed: int, n: int = 900):
    """Datasets with different class priors, three faces a group, features that know the emotion alone."""
    rng = np.random.default_rng(seed)
    dataset = np.repeat(["a", "b", "c"], n // 3)
    priors = {"a": [0.6, 0.3, 0.1], "b": [0.1, 0.6, 0.3], "c": [0.3, 0.1, 0.6]}
    emotion = np.array([rng.choice(3, p=priors[name]) for name in dataset])
    group = np.array([f"{name}/{index // 3}" for index, name in enumerate(dataset)])
    features = rng.normal(size=(n, 12))
    features[:, 0] += 4 * emotion
    return features, dataset, emotion, group


def test_features_that_know_only_the_emotion_probe_at_chance_although_priors_differ():
    features, dataset, emotion, group = faces(0)
    probe = probe_dataset(features, dataset, emotion, group, SETTINGS, seed=0)
    assert probe.chance == pytest.approx(1 / 3)
    assert probe.low <= probe.chance <= probe.high
    assert abs(probe.null_mean - probe.chance) < 0.05
    assert probe.null_mean <= probe.null_high
    assert label_only_rate(dataset, emotion) > 0.5  # which the natural mix would have given away


def test_a_planted_signal_is_found_and_named():
    features, dataset, emotion, group = faces(1)
    features[:, 5] += 6 * (dataset == "b")
    features[:, 6] += 6 * (dataset == "c")
    probe = probe_dataset(features, dataset, emotion, group, SETTINGS, seed=0)
    assert probe.accuracy > 0.95
    assert probe.low > probe.null_high
    assert probe.datasets == ("a", "b", "c")
    assert np.diag(probe.confusion).min() > 0.9
    assert np.sum(probe.confusion, axis=1) == pytest.approx(np.ones(3))
    assert probe == probe_dataset(features, dataset, emotion, group, SETTINGS, seed=0)


def test_a_signal_of_the_group_is_not_mistaken_for_one_of_the_dataset():
    """Every group has a code of its own: whoever sees a group in training can name its dataset."""
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(60), 8)
    dataset = np.where(group % 2, "a", "b")
    features = rng.normal(size=(60, 40))[group] * 5 + rng.normal(size=(480, 40)) * 0.1
    probe = probe_dataset(features, dataset, np.zeros(480, int), group, ProbeSettings(), seed=0)
    assert probe.low <= 0.5 <= probe.high
    # groups, not faces, are what is independent: 60 of them leave an interval of about +-0.13
    assert probe.high - probe.low > 0.18


def test_one_dataset_in_random_parts_probes_at_chance():
    features, dataset, emotion, group = faces(3)
    features[:, 5] += np.linspace(0, 30, len(dataset))  # a collection that changed while it grew
    one = dataset == "b"
    control = random_parts_control(features[one], emotion[one], group[one], 3, SETTINGS, seed=0)
    assert control.chance == pytest.approx(1 / 3)
    assert control.low <= control.chance <= control.high


@pytest.mark.parametrize("dataset", [["a"] * 40, ["a"] * 38 + ["b"] * 2], ids=["one", "too few"])
def test_nothing_to_probe(dataset):
    features = np.random.default_rng(0).normal(size=(40, 3))
    assert probe_dataset(features, np.array(dataset), np.zeros(40, int), np.arange(40), SETTINGS, 0) is None


def test_datasets_without_a_common_emotion_have_nothing_to_probe():
    dataset = np.repeat(["a", "b"], 20)
    emotion = np.repeat([0, 1], 20)
    assert probe_dataset(np.ones((40, 2)), dataset, emotion, np.arange(40), SETTINGS, 0) is None


cells = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 6), st.integers(0, 30)), min_size=1, max_size=120
)


@given(cells, st.integers(2, 9), st.integers(0, 3))
def test_cells_are_equal_within_an_emotion_and_bounded(rows, bound, seed):
    dataset, emotion = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    chosen = equal_cells(dataset, emotion, bound, seed)
    assert len(set(chosen.tolist())) == len(chosen)
    for label in range(7):
        sizes = {int(((dataset == name) & (emotion == label))[chosen].sum()) for name in set(dataset)}
        smallest = min(int(((dataset == name) & (emotion == label)).sum()) for name in set(dataset))
        assert sizes == {min(bound, smallest)}
    bounded = bounded_cells(dataset, emotion, bound, seed)
    for name in set(dataset):
        for label in range(7):
            cell = (dataset == name) & (emotion == label)
            assert cell[bounded].sum() == min(bound, cell.sum())


@settings(max_examples=50)
@given(
    st.lists(st.integers(0, 6), min_size=5, max_size=40),
    st.integers(1, 4),
    st.integers(2, 5),
    st.integers(0, 3),
)
def test_no_group_is_in_two_folds_and_every_face_is_held_out_once(labels, per_group, folds, seed):
    """Three datasets with as many groups as labels, each group with up to four faces."""
    emotion = np.tile(np.repeat(labels, per_group), 3)
    truth = np.repeat([0, 1, 2], len(labels) * per_group)
    group = np.repeat(np.arange(3 * len(labels)), per_group)
    held = np.zeros(len(truth), int)
    for train, test in folds_of(truth, emotion, group, folds, seed):
        assert not set(group[train]) & set(group[test])
        assert set(truth[train]) == {0, 1, 2}
        held[test] += 1
    assert (held == 1).all()


def test_label_only_rate_by_hand():
    # emotion 0: 3 of a, 1 of b; emotion 1: 1 of a, 5 of b -> (3 + 5) / 10
    dataset = np.array(["a"] * 3 + ["b"] + ["a"] + ["b"] * 5)
    assert label_only_rate(dataset, np.array([0] * 4 + [1] * 6)) == pytest.approx(0.8)


def test_distances_of_priors_by_hand():
    p, q = np.array([1, 1, 0, 0]), np.array([0, 2, 0, 2])
    # m = (1/4, 1/2, 0, 1/4): KL(p||m) = 1/2 log2 2 + 1/2 log2 1 = 1/2, and the same for q
    assert jensen_shannon_divergence(p, q) == pytest.approx(0.5)
    assert total_variation(p, q) == pytest.approx(0.5)
    assert jensen_shannon_divergence(p, 3 * p) == pytest.approx(0)
    assert jensen_shannon_divergence(np.array([1, 0]), np.array([0, 5])) == pytest.approx(1)
    assert total_variation(np.array([1, 0]), np.array([0, 5])) == pytest.approx(1)


def test_mutual_information_by_hand():
    assert mutual_information(np.array([[5, 0], [0, 5]])) == pytest.approx(1)  # the label is the dataset
    assert mutual_information(np.array([[2, 6], [1, 3]])) == pytest.approx(0)  # equal priors
    # p = 1/2, 1/4, 0, 1/4: 1/2 log2(4/3) + 1/4 log2(2/3) + 1/4 log2 2
    expected = 0.5 * np.log2(4 / 3) + 0.25 * np.log2(2 / 3) + 0.25
    assert mutual_information(np.array([[2, 1], [0, 1]])) == pytest.approx(expected)


def test_every_pair_of_datasets_with_faces():
    counts = {
        "a": class_counts(np.array([0, 0, 6])),
        "empty": class_counts(np.array([], int)),
        "b": class_counts(np.array([6])),
    }
    (pair,) = prior_distances(counts)
    assert (pair.first, pair.second) == ("a", "b")
    assert pair.total_variation == pytest.approx(2 / 3)


def test_the_interval_of_the_probe_covers_the_truth_at_its_nominal_rate():
    """Groups of one to five faces, each named rightly with a chance of its group's own, .7 on average."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        group = np.repeat(np.arange(60), rng.integers(1, 6, 60))
        hits = rng.random(len(group)) < rng.beta(1.4, 0.6, 60)[group]
        low, high = group_interval(hits, group, rng)
        covered.append(low <= 0.7 <= high)
    assert 0.91 < np.mean(covered) < 0.98


@pytest.mark.parametrize("shift", [0, 1.5], ids=["nothing to find", "signal"])
def test_the_interval_covers_what_cross_validation_finds_on_average(shift):
    dataset, emotion, group = np.repeat(["a", "b"], 40), np.zeros(80, int), np.arange(80)
    found = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        features = rng.normal(size=(80, 4))
        features[:, 0] += shift * (dataset == "b")
        sample = draw_sample(features, dataset, emotion, group, max_per_cell=40, least=10, seed=seed)
        hits = held_out(sample, sample.truth, folds=4, seed=seed) == sample.truth
        found.append((hits.mean(), *group_interval(hits, sample.groups, rng)))
    truth = np.mean([accuracy for accuracy, _, _ in found]) if shift else 0.5
    assert 0.85 < np.mean([low <= truth <= high for _, low, high in found]) < 0.99


def test_within_emotions_a_signal_is_found_in_its_emotion_alone():
    features, dataset, emotion, group = faces(4)
    features[:, 5] += 8 * (dataset == "b") * (emotion == 1)
    features[:, 6] += 8 * (dataset == "c") * (emotion == 1)
    found = {
        within.emotion: within
        for within in probe_within_emotions(features, dataset, emotion, group, SETTINGS, seed=0)
    }
    assert list(found) == list(EMOTIONS)
    assert found["fear"].probe.accuracy > 0.95
    assert found["fear"].probe.low > found["fear"].probe.chance == pytest.approx(1 / 3)
    for name in ("surprise", "disgust"):
        assert found[name].probe.low <= found[name].probe.chance
    for name in EMOTIONS[3:]:
        assert found[name].probe is None
        assert found[name].reason == "fewer than two datasets have 10 groups"


def test_within_emotions_a_dataset_with_few_faces_is_left_out_and_chance_follows():
    features, dataset, emotion, group = faces(5)
    few = np.flatnonzero((dataset == "a") & (emotion == 2))[:-4]
    features, dataset, emotion, group = (
        np.delete(column, few, axis=0) for column in (features, dataset, emotion, group)
    )
    probe = probe_within_emotions(features, dataset, emotion, group, SETTINGS, seed=0)[2].probe
    assert probe.datasets == ("b", "c")
    assert probe.chance == 0.5
    assert probe.n == 2 * 40  # not 2 * 4
    assert probe.low <= 0.5 <= probe.high


def test_distance_of_an_error_by_hand():
    assert [distance_of_error(error) for error in (0, 0.25, 0.5, 0.7)] == [2, 1, 0, 0]


def test_a_distance_is_that_of_the_probe_of_two_datasets():
    features, dataset, emotion, group = faces(6)
    features[:, 5] += 1.5 * (dataset == "b")
    features[:, 6] += 99.0 * (dataset == "c")
    pairs = a_distances(features, dataset, emotion, group, SETTINGS, seed=0)
    assert [(pair.first, pair.second, pair.reason) for pair in pairs] == [
        ("a", "b", None),
        ("a", "c", None),
        ("b", "c", None),
    ]
    some, full, also_full = (pair.found for pair in pairs)
    two = dataset != "c"
    probe = probe_dataset(features[two], dataset[two], emotion[two], group[two], SETTINGS, seed=0)
    assert some.error == pytest.approx(1 - probe.accuracy)
    assert some.distance == pytest.approx(4 * probe.accuracy - 2)
    assert (some.low, some.high) == pytest.approx((4 * probe.low - 2, 4 * probe.high - 2), abs=0.08)
    assert some.chance == 0 < some.low < some.distance < some.high < 2
    assert some.n == probe.n
    assert [full.distance, full.low, full.high, also_full.distance] == [2, 2, 2, 2]


def test_datasets_that_differ_in_their_priors_alone_are_no_distance_apart():
    found = measure_features(*faces(7), SETTINGS, seed=0, label="features")
    assert found.probe.low <= found.probe.chance <= found.probe.high
    for pair in found.a_distance:
        assert pair.found.low == 0 <= pair.found.distance < 0.4
    for pair in found.mmd:
        assert pair.found.low <= pair.found.chance == 0 <= pair.found.high
        assert pair.found.p_value > 0.05
        assert pair.found.mmd2 <= pair.found.null_high


def test_mmd_by_hand():
    # faces x1 x2 | y1 y2: k(x1, x2) = 1/2, k(y1, y2) = 1/4, between the sets 0.1, 0.2, 0.3 and 0.4
    kernel = np.array([[0, 0.5, 0.1, 0.2], [0.5, 0, 0.3, 0.4], [0.1, 0.3, 0, 0.25], [0.2, 0.4, 0.25, 0]])
    first = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    # x x | y y: 1/2 + 1/4 - 2 (1.0 / 4), and x1 y1 | x2 y2: 0.1 + 0.4 - 2 (0.5 + 0.2 + 0.3 + 0.25) / 4
    assert mmd2_unbiased(kernel, first, 1 - first) == pytest.approx([0.25, -0.125])


@given(st.lists(st.integers(0, 4), min_size=4, max_size=10), st.integers(0, 9))
def test_mmd_of_resamples_equals_a_double_loop_without_copies(times, seed):
    half = len(times) // 2
    first, second = np.array(times, float), np.array(times, float)
    first[half:], second[:half] = 0, 0
    first[:2] += 1  # two faces at least
    second[-2:] += 1
    points = np.random.default_rng(seed).normal(size=(len(times), 2))
    kernel = np.exp(-((points[:, None] - points[None]) ** 2).sum(axis=2))
    drawn = [np.repeat(np.arange(len(times)), weights.astype(int)) for weights in (first, second)]

    def mean(a, b):
        return np.mean([kernel[i, j] for i, j in product(a, b) if i != j])

    expected = mean(drawn[0], drawn[0]) + mean(drawn[1], drawn[1]) - 2 * mean(*drawn)
    np.fill_diagonal(kernel, 0)
    assert mmd2_unbiased(kernel, first[:, None], second[:, None]) == pytest.approx([expected])


def test_mmd_of_datasets_equals_a_double_loop():
    """Two emotions of different size; the third has too few faces to be compared."""
    rng = np.random.default_rng(8)
    emotion = np.repeat([0, 2, 6], [24, 40, 8])
    dataset = np.where(np.arange(72) % 2, "a", "b")
    features = rng.normal(size=(72, 3)) * [1, 10, 100] + (dataset == "a")[:, None]
    (pair,) = discrepancies(features, dataset, emotion, np.arange(72), SETTINGS, seed=0)
    assert (pair.found.emotions, pair.found.n) == (("surprise", "disgust"), 64)

    points = (features - features.mean(axis=0)) / features.std(axis=0)
    sets = [[points[(dataset == name) & (emotion == label)] for name in "ab"] for label in (0, 2)]
    within = [np.linalg.norm(p - q) for a, b in sets for p, q in combinations([*a, *b], 2)]
    width = np.median(within)
    assert pair.found.width == pytest.approx(width)

    def mean(pairs):
        return np.mean([np.exp(-(np.linalg.norm(p - q) ** 2) / (2 * width**2)) for p, q in pairs])

    each = [mean(combinations(a, 2)) + mean(combinations(b, 2)) - 2 * mean(product(a, b)) for a, b in sets]
    assert pair.found.mmd2 == pytest.approx((24 * each[0] + 40 * each[1]) / 64)


def test_p_values_of_mmd_are_uniform_when_only_labels_and_groups_differ():
    """Faces of a group are nearly one, and the datasets have different priors: both must not count."""
    p_values = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(80), 3)
        dataset = np.where(group % 2, "a", "b")
        emotion = np.where(rng.random(80) < np.where(np.arange(80) % 2, 0.65, 0.4), 3, 4)[group]
        features = rng.normal(size=(80, 4))[group] + 0.1 * rng.normal(size=(240, 4))
        features[:, 0] += 3 * emotion
        (pair,) = discrepancies(features, dataset, emotion, group, SETTINGS, seed=seed)
        p_values.append(pair.found.p_value)
    assert kstest(p_values, "uniform").pvalue > 0.05
    assert 0.02 <= np.mean(np.array(p_values) <= 0.05) <= 0.09


def test_the_interval_of_mmd_covers_the_truth():
    """Two normal distributions; the truth is what samples of the greatest size come to on average."""

    def compare(n, seed):
        rng = np.random.default_rng(seed)
        dataset = np.repeat(["a", "b"], n)
        features = rng.normal(size=(2 * n, 3)) + 1.2 * (dataset == "b")[:, None]
        labels = np.zeros(2 * n, int), np.arange(2 * n)
        (pair,) = discrepancies(features, dataset, *labels, ProbeSettings(max_per_cell=500), seed=seed)
        return pair.found

    truth = np.mean([compare(400, seed).mmd2 for seed in range(4)])
    found = [compare(40, seed) for seed in range(100, 220)]
    assert 0.9 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.99
    assert np.mean([one.mmd2 for one in found]) == pytest.approx(truth, rel=0.08)
    assert max(one.p_value for one in found) == 0.001


def test_mmd_sees_what_no_line_can_tell_apart():
    rng = np.random.default_rng(9)
    dataset = np.repeat(["a", "b"], 120)
    features = rng.normal(size=(240, 4)) * np.where(dataset == "a", 0.5, 1.5)[:, None]
    found = measure_features(
        features, dataset, np.zeros(240, int), np.arange(240), ProbeSettings(), seed=0, label="features"
    )
    (apart,), (mmd,) = found.a_distance, found.mmd
    assert apart.found.error > 0.4
    assert mmd.found.p_value == 0.001
    assert mmd.found.low > mmd.found.null_high


def test_equal_features_are_no_discrepancy():
    dataset, same = np.repeat(["a", "b"], 20), np.zeros(40, int)
    (pair,) = discrepancies(np.ones((40, 3)), dataset, same, np.arange(40), SETTINGS, seed=0)
    assert (pair.found.mmd2, pair.found.low, pair.found.high, pair.found.p_value) == (0, 0, 0, 1)


def test_one_dataset_is_no_pair_and_too_few_faces_are_a_reason():
    features, same, group = np.zeros((40, 2)), np.zeros(40, int), np.arange(40)
    one = measure_features(features, np.array(["a"] * 40), same, group, SETTINGS, 0, "features")
    assert (one.probe, one.a_distance, one.mmd) == (None, [], [])
    assert all(within.probe is None and within.reason for within in one.within_emotion)
    two = np.array(["a"] * 37 + ["b"] * 3)
    found = measure_features(features, two, same, group, SETTINGS, 0, "features")
    for (pair,) in (found.a_distance, found.mmd):
        assert pair.found is None
        assert pair.reason == "the sample has 3 groups of a, 10 are needed"
    apart = a_distances(features, np.repeat(["a", "b"], 20), np.repeat([0, 1], 20), group, SETTINGS, 0)
    assert apart[0].reason == "the datasets have no emotion in common"


def test_one_face_of_every_group_each_as_likely():
    group = np.array(["x", "y", "x", "x"])
    drawn = [one_face_a_group(group, seed).tolist() for seed in range(60)]
    assert {tuple(rows) for rows in drawn} == {(0, 1), (1, 2), (1, 3)}
