"""Measures of dataset bias against values worked by hand, planted signals and known controls."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.bias.config import ProbeSettings
from crossface.bias.probe import folds_of, label_only_rate, probe_dataset, random_parts_control
from crossface.bias.sampling import bounded_cells, equal_cells
from crossface.bias.shift import (
    class_counts,
    jensen_shannon_divergence,
    mutual_information,
    prior_distances,
    total_variation,
)

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
