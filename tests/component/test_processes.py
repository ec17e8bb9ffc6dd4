"""Several processes train one network: the same one that a single process trains."""

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file
from stripes import config, stripes, write_crops

from crossface.train.config import LabelExtractorConfig
from crossface.train.distributed import WorkerError
from crossface.train.train import train


@pytest.fixture(name="crops")
def write_two_datasets(tmp_path):
    faces = stripes(3, 0)
    return [write_crops(tmp_path / name, faces, key) for key, name in enumerate(faces.datasets)]


def settings(**changes):
    """No batch statistics, which each process has of its own, and no dropout, which differs by process."""
    values = {"backbone": "timm/test_vit2", "feature_dim": 0, "epochs": 2, "batch_size": 8, "adapt": "cda"}
    g = LabelExtractorConfig(lambda_max=0.2, dropout=0)
    return config(**{**values, "label_extractor": g, "ema_decay": 0.5, **changes})


def test_two_processes_take_the_same_way_as_one(crops, tmp_path):
    histories, weights = [], []
    for processes in (1, 2):
        told, out = [], tmp_path / f"model {processes}"
        kept = train(
            crops, settings(processes=processes), out, lambda row, epoch, told=told: told.append(row)
        )
        history = pq.read_table(out / "history.parquet").to_pylist()
        assert told == history
        assert kept in history
        histories.append(history)
        weights.append(load_file(out / "model.safetensors"))
    for alone, together in zip(*histories, strict=True):
        # one face on the fence would move a dev score by far more
        names = [
            name for name in alone if name not in ("images_per_s", "seconds") and not name.startswith("dev_")
        ]
        differences = {name: abs(alone[name] - together[name]) for name in names}
        assert max(differences.values()) < 1e-3, differences
    assert max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0]) < 1e-3


def test_a_process_that_fails_ends_all_with_its_reason(crops, tmp_path):
    wild = settings(processes=2, lr=1e9, clip_norm=0, adapt="none", loss="ce")
    with pytest.raises(WorkerError, match=r"process \d of 2: DivergenceError: training diverged at step \d"):
        train(crops, wild, tmp_path / "model", lambda row, epoch: None)
    assert not (tmp_path / "model").exists()
