"""A study: which models it trains, what they are called, and what their scores say of the datasets."""

import pytest

from crossface.errors import ConfigError
from crossface.evaluate.contenders import contender_name
from crossface.evaluate.cross_dataset import drops
from crossface.evaluate.paper import ALONE, BASELINE, MEAN, is_paper_data
from crossface.train.config import TrainConfig
from crossface_pipelines.benchmark.study import StudyConfig, study_trainings

BASE = TrainConfig(adapt="none", loss="ce", checkpoint={"uri": "s3://runs/checkpoints/baseline"})
CDA = TrainConfig(adapt="cda", loss="ace", lr=0.1, checkpoint={"uri": "s3://runs/checkpoints/adapted/"})
KEYS = ["a", "b", "c"]


def trained(study: StudyConfig, keys=KEYS) -> list[tuple]:
    configs = [TrainConfig.parse(values) for values in study_trainings(study, keys, BASE, CDA)]
    return [(config.adapt, config.datasets, config.loss) for config in configs]


def test_every_dataset_alone_and_left_out_and_every_other_method():
    assert trained(StudyConfig(methods=("heads", "cda"))) == [
        ("none", ("a",), "ce"),
        ("none", ("b",), "ce"),
        ("none", ("c",), "ce"),
        ("none", ("b", "c"), "ce"),
        ("cda", ("b", "c"), "ace"),
        ("none", ("a", "c"), "ce"),
        ("cda", ("a", "c"), "ace"),
        ("none", ("a", "b"), "ce"),
        ("cda", ("a", "b"), "ace"),
        ("heads", (), "ace"),  # and not cda again
    ]


def test_of_two_datasets_the_one_alone_is_the_other_left_out():
    found = trained(StudyConfig(methods=()), ["a", "b"])
    assert found == [
        ("none", ("a",), "ce"),
        ("none", ("b",), "ce"),
        ("cda", ("b",), "ace"),
        ("cda", ("a",), "ace"),
    ]


def test_no_two_trainings_share_a_checkpoint():
    places = [values["checkpoint"]["uri"] for values in study_trainings(StudyConfig(), KEYS, BASE, CDA)]
    assert len(set(places)) == len(places)
    assert not set(places) & {BASE.checkpoint.uri, CDA.checkpoint.uri.rstrip("/")}


@pytest.mark.parametrize(
    ("study", "keys", "fault"),
    [
        (StudyConfig(), ["a"], "datasets: a study needs two or more"),
        (StudyConfig(alone=False, left_out=False, methods=("cda",)), KEYS, "study: asks for nothing"),
    ],
)
def test_nothing_to_study_is_said(study, keys, fault):
    with pytest.raises(ConfigError, match=fault):
        study_trainings(study, keys, BASE, CDA)


@pytest.mark.parametrize(
    ("trained_on", "name"),
    [
        (["c", "b", "a"], "cda"),
        (["b"], "cda on b"),
        (["a", "c"], "cda without b"),
    ],
)
def test_a_model_is_called_by_its_training(trained_on, name):
    assert contender_name("cda", trained_on, KEYS) == name


def test_drops_by_hand():
    by_row, by_column = drops([[0.8, 0.4], [0.6, 0.5]])
    # trained on the first, tested on the second: half of its own .8 is lost, but only a fifth of that of the
    # second's own model, because the second test set is hard
    assert by_row == [[0, pytest.approx(0.5)], [pytest.approx(-0.2), 0]]
    assert by_column == [[0, pytest.approx(0.2)], [pytest.approx(0.25), 0]]
    assert drops([[0.0, 0.0], [0.0, 0.0]]) == ([[0, 0], [0, 0]], [[0, 0], [0, 0]])


def test_the_paper_s_numbers_agree_with_its_own_means():
    means = {name: sum(row.values()) / 3 for name, row in ALONE.items()}
    assert means == pytest.approx({"rafdb": 0.6094, "expw": 0.6266, "affectnet": 0.6632}, abs=2e-4)
    assert sum(BASELINE.values()) / 3 == pytest.approx(MEAN["baseline"]["accuracy"], abs=1e-4)


def test_only_the_paper_s_test_sets_are_the_paper_s():
    theirs = {"rafdb": 3068, "expw": 3500, "affectnet": 3490}
    assert is_paper_data(theirs)
    assert not is_paper_data({**theirs, "rafdb": 300})
    assert not is_paper_data({**theirs, "ours": 3000})
