"""Training on small drawn problems: it learns, it is repeatable, it stops when it must."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from stripes import SIZE, config, stripes, write_crops

from crossface.data.leakage import DROPPED_SCHEMA, PAIR_SCHEMA, write_leakage
from crossface.errors import DataError
from crossface.model.config import NetConfig
from crossface.model.inference import predict
from crossface.model.networks import CrossfaceNet
from crossface.model.saving import load_model, save_model
from crossface.train.config import AdversaryConfig, LabelExtractorConfig
from crossface.train.data import load_faces
from crossface.train.epoch import DivergenceError
from crossface.train.train import train
from crossface.train.trainer import Trainer


@pytest.mark.parametrize(
    ("adapt", "loss"),
    [
        *(("none", loss) for loss in ("ce", "focal", "class_balanced", "weighted_cluster")),
        *((adapt, "ace") for adapt in ("heads", "dann", "coral", "cda")),
    ],
)
def test_learns_a_problem_that_can_be_learned(adapt, loss):
    dev = stripes(6, 1)
    trained = Trainer(config(adapt=adapt, loss=loss), stripes(12, 0), dev).fit(lambda metrics, epoch: None)
    assert trained.kept["dev_balanced_accuracy"] > 0.8
    outputs = predict(trained.net, dev.images, [dev.datasets[key] for key in dev.dataset])
    assert (outputs.own.argmax(1) == dev.emotion.numpy()).mean() > 0.8
    np.testing.assert_allclose(outputs.mean.sum(1), 1, atol=1e-5)
    assert trained.net.config.heads == (("a", "b") if adapt in {"heads", "cda"} else ("pooled",))


def test_same_seed_same_weights_other_seed_other_weights():
    def weights(seed):
        train = Trainer(config(adapt="cda", epochs=1, seed=seed), stripes(4, 0), stripes(2, 1))
        return train.fit(lambda metrics, epoch: None).net.state_dict()

    first, again, other = weights(3), weights(3), weights(4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_reversal_misleads_the_dataset_classifier():
    """Without it d names the dataset from early on; with a strong one f drives d below chance on the way."""
    lowest = {}
    for strength in (0.0, 1.0):
        parts = {
            "adversary": AdversaryConfig(lambda_max=strength, normalize=True),
            "label_extractor": LabelExtractorConfig(lambda_max=strength),
        }
        trained = Trainer(config(adapt="cda", epochs=8, **parts), stripes(12, 0), stripes(2, 1)).fit(
            lambda metrics, epoch: None
        )
        lowest[strength] = min(row["dataset_accuracy"] for row in trained.history[2:])
    assert lowest[0.0] > 0.6
    assert lowest[1.0] < 0.4


def test_faces_that_leak_are_left_out(tmp_path):
    crops = write_crops(tmp_path / "a", stripes(3, 0, datasets=("a",)))
    whole = load_faces([crops], "train", SIZE, tmp_path / "whole")
    without = load_faces([crops], "train", SIZE, tmp_path / "part", {"a/1", "a/3", "elsewhere/2"})
    assert len(without) == len(whole) - 1  # a/3 is in dev
    assert torch.equal(without.images, whole.images[1:])
    dropped = [
        {"face_id": f"a/{row}", "dataset": "a", "split": "dev", "reason": "twin_in_test", "twin_id": "b/0"}
        | {"twin_dataset": "b", "twin_split": "test", "distance": 0, "mirrored": False, "correlation": 1.0}
        for row in range(0, 21, 3)
    ]
    leakage = tmp_path / "leakage"
    leakage.mkdir()
    pairs = PAIR_SCHEMA.empty_table()
    write_leakage(pairs, pa.Table.from_pylist(dropped, schema=DROPPED_SCHEMA), {}, leakage)
    short = config(epochs=1, batch_size=7)
    with pytest.raises(DataError, match="a: no face in split dev"):
        train([crops], short, tmp_path / "model", lambda metrics, epoch: None, leakage)
    assert not (tmp_path / "model").exists()
    train([crops], short, tmp_path / "model", lambda metrics, epoch: None)


def test_best_epoch_is_kept():
    dev = stripes(4, 1)
    trained = Trainer(config(adapt="none", epochs=4), stripes(8, 0), dev).fit(lambda metrics, epoch: None)
    scores = [row["dev_balanced_accuracy"] for row in trained.history]
    assert trained.kept["dev_balanced_accuracy"] == max(scores)
    recall = [
        (
            predict(trained.net, dev.images[dev.dataset == key], [name] * 28).mean.argmax(1)
            == dev.emotion[dev.dataset == key].numpy()
        ).mean()
        for key, name in enumerate(dev.datasets)
    ]
    assert np.mean(recall) == pytest.approx(max(scores))


def test_divergence_stops_and_says_where():
    trainer = Trainer(config(adapt="none", loss="ce", lr=1e9, clip_norm=0), stripes(4, 0), stripes(1, 1))
    with pytest.raises(DivergenceError, match=r"diverged at step \d+ \(.*loss=.*clip_norm"):
        trainer.fit(lambda metrics, epoch: None)


def test_saved_model_says_the_same(tmp_path):
    torch.manual_seed(0)
    net = CrossfaceNet(
        NetConfig(backbone="resnet8", feature_dim=0, image_size=SIZE, heads=("a", "b"), adapt="cda")
    )
    save_model(net.to(memory_format=torch.channels_last), tmp_path)
    faces = stripes(1, 0)
    names = ["a", "elsewhere"] * 7
    before, after = (predict(model, faces.images, names) for model in (net, load_model(tmp_path)))
    np.testing.assert_allclose(before.features, after.features, atol=1e-5)
    assert before.features.shape == (14, 256)
    np.testing.assert_array_equal(after.own[1::2], after.mean[1::2])  # a dataset without a head gets the mean
    assert not np.allclose(after.own[::2], after.mean[::2])


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_incomplete_model_folder_is_named(tmp_path, name):
    net = CrossfaceNet(
        NetConfig(backbone="resnet8", feature_dim=8, image_size=SIZE, heads=("a",), adapt="cda")
    )
    save_model(net, tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=name):
        load_model(tmp_path)
