"""Presets of the training: what they say, and that an explicit value wins."""

import pytest

from crossface.errors import ConfigError
from crossface.train.config import AdversaryConfig, TrainConfig
from crossface.train.presets import PRESETS


def test_paper_is_literal():
    config = TrainConfig.parse({"preset": "paper", "adapt": "cda"})
    assert (config.backbone, config.feature_dim, config.image_size) == ("resnet50", 1000, 100)
    assert (config.epochs, config.sampling, config.clip_norm) == (120, "natural", 0)
    assert (config.loss, config.ace_alpha, config.ace_normalize) == ("ace", "steps", False)
    assert config.adversary.model_dump() == {
        "lambda_max": 1, "loss": "ace", "ace_alpha": "steps", "smoothing": 0, "normalize": False, "lr": 0,
    }  # fmt: skip
    assert (config.label_extractor.kind, config.label_extractor.lambda_max) == ("shared", 1)


def test_robust_steadies_the_adversary():
    config = TrainConfig.parse({"preset": "robust", "adapt": "cda"})
    assert (config.sampling, config.clip_norm) == ("balanced", 1)
    assert config.adversary.normalize
    assert config.adversary.smoothing == 0.1
    assert 0.1 <= config.adversary.lambda_max <= 0.3
    assert config.label_extractor.lambda_max <= 0.3


@pytest.mark.parametrize("adversary", [{"lambda_max": 0.7}, AdversaryConfig(lambda_max=0.7)])
def test_an_explicit_value_wins_and_leaves_its_neighbours(adversary):
    config = TrainConfig(preset="robust", sampling="natural", adversary=adversary)
    assert config.sampling == "natural"
    assert config.adversary.lambda_max == 0.7
    assert config.adversary.normalize
    assert config.adversary.smoothing == 0.1


def test_an_explicit_default_wins_too():
    config = TrainConfig.parse({"preset": "robust", "clip_norm": 0.0, "adversary": {"normalize": False}})
    assert config.clip_norm == 0
    assert not config.adversary.normalize


def test_without_a_preset_nothing_changes():
    assert TrainConfig.parse({"adapt": "cda"}) == TrainConfig(adapt="cda", preset="")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_can_be_written_down_and_read_again(name):
    config = TrainConfig.parse({"preset": name})
    assert TrainConfig.parse(config.model_dump()) == config


def test_what_is_wrong_is_still_said():
    with pytest.raises(ConfigError, match="preset"):
        TrainConfig.parse({"preset": "best"})
    with pytest.raises(ConfigError, match=r"adversary"):
        TrainConfig.parse({"preset": "robust", "adversary": 3})
