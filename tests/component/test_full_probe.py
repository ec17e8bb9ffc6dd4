"""The network that is trained to name the dataset, on faces whose dataset can, or cannot, be seen."""

import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crossface.bias.document import read_bias
from crossface.data.crops import CAPTURE, ShardWriter
from crossface.data.emotions import Split
from crossface.data.rejects import write_rejects
from crossface.errors import ConfigError
from crossface.probe_bias.__main__ import main
from crossface.probe_bias.config import ProbeConfig
from crossface.probe_bias.full import Faces, draw_epoch
from crossface.probe_bias.measure import BiasSummary, probe_bias

CONFIG = ProbeConfig.parse(
    {
        "backbone": "resnet8",
        "feature_dim": 0,
        "image_size": 32,
        "max_per_cell": 4,
        "folds": 2,
        "permutations": 1,
        "full": {"enabled": True, "epochs": 12, "batch_size": 16},
    }
)
DARK, LIGHT = 70, 180


def write_crops(
    folder: Path, faces: Mapping[Split, Sequence[int]], brightness: float, odd: float | None = None
) -> Path:
    """So many faces of each emotion, in a colour of its own.

    Args:
        folder: made; its name is the dataset's.
        faces: of each emotion, by split.
        brightness: of all of them.
        odd: that of the test faces of the first emotion instead.
    """
    rng = np.random.default_rng(list(folder.name.encode()))
    folder.mkdir(parents=True)
    writer = ShardWriter(folder)
    kinds = [(split, emotion, n) for split, counts in faces.items() for emotion, n in enumerate(counts)]
    for split, emotion, index in [(*kind, index) for *kind, n in kinds for index in range(n)]:
        level = odd if odd and (split, emotion) == ("test", 0) else brightness
        pixels = rng.normal(level + 40 * (np.arange(3) == emotion), 12, (32, 32, 3))
        encoded = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(encoded, "PNG")
        name = f"{folder.name}/{split}-{emotion}-{index}"
        writer.write(
            {
                "face_id": name,
                "dataset": folder.name,
                "split": split,
                "emotion": emotion,
                "image": {"bytes": encoded.getvalue(), "path": f"{index}.png"},
                "group": name,
                "capture": {field.name: float(rng.uniform(1, 2)) for field in CAPTURE},
            }
        )
    writer.close()
    write_rejects([], folder)
    return folder


def write_pair(root: Path) -> list[Path]:
    """Two datasets that nothing tells apart but their class priors."""
    return [
        write_crops(root / "a", {"train": [60, 12], "test": [45, 15]}, DARK),
        write_crops(root / "b", {"train": [12, 60], "test": [15, 45]}, DARK),
    ]


def seen(summary: BiasSummary) -> dict:
    """All but the time it took."""
    return asdict(replace(summary.full, seconds=0))


def test_a_camera_of_its_own_names_the_dataset_and_every_number_follows_by_hand(tmp_path, capsys):
    crops = [
        write_crops(tmp_path / "z", {"train": [20, 10, 0, 30], "test": [6, 2, 3, 4]}, DARK),
        # its test faces of the first emotion come from the other's camera
        write_crops(tmp_path / "y", {"train": [10, 20, 15, 0], "test": [4, 8, 9, 1]}, LIGHT, odd=DARK),
    ]
    full = CONFIG.full.model_copy(update={"max_faces": 31})
    summary = probe_bias(crops, CONFIG.model_copy(update={"full": full}), tmp_path / "bias")
    found = summary.full
    assert found.datasets == ("z", "y")
    # emotions 0 and 1 have train and test faces in both: 4 + 2 test faces of each dataset, of y 2 seen as y
    assert (found.n, found.chance) == (12, 0.5)
    assert found.accuracy == pytest.approx((6 + 2) / 12)
    assert np.array(found.confusion) == pytest.approx(np.array([[1, 0], [4 / 6, 2 / 6]]))
    assert found.low < found.accuracy < found.high < 1
    # of the 15 of test z and the 22 of y, which is named in all but the 4
    assert found.natural.n == 37
    assert found.natural.accuracy == pytest.approx(33 / 37)
    assert found.natural.label_only == pytest.approx((6 + 8 + 9 + 4) / 37)
    assert found.natural.largest_share == pytest.approx(22 / 37)
    # two emotions: at most 31 // 2 faces of each and of each dataset
    assert found.train_faces == 15 + 10 + 10 + 15
    assert summary.metrics()["probe_full"] == found.accuracy
    assert summary.metrics()["probe_full_chance"] == 0.5
    document = read_bias(tmp_path / "bias")
    assert document["full"]["natural"] == asdict(found.natural)
    assert document["full"]["confusion"] == [list(row) for row in found.confusion]
    assert document["settings"]["full"]["max_faces"] == 31
    assert "> full network: 50 train and 37 test faces\n" in capsys.readouterr().out


@pytest.fixture(scope="module")
def alike(tmp_path_factory) -> tuple[list[Path], BiasSummary]:
    root = tmp_path_factory.mktemp("alike")
    crops = write_pair(root)
    return crops, probe_bias(crops, CONFIG, root / "bias")


def test_datasets_that_look_alike_are_named_at_chance_although_their_priors_differ(alike):
    found = alike[1].full
    assert found.n == 60
    assert found.low < 0.5 < found.high
    assert (found.natural.n, found.natural.label_only, found.natural.largest_share) == (120, 0.75, 0.5)


def test_same_seed_same_numbers(alike, tmp_path):
    crops, summary = alike
    torch.manual_seed(99)
    assert seen(probe_bias(crops, CONFIG, tmp_path / "again")) == seen(summary)
    other = probe_bias(crops, CONFIG.model_copy(update={"seed": 1}), tmp_path / "other")
    assert seen(other) != seen(summary)


@given(
    cells=st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=2, max_size=4),
    batch_size=st.integers(4, 20),
)
def test_an_epoch_has_equal_cells_in_batches_that_leave_nothing_out(cells, batch_size):
    sizes = np.array([[4, 0, 0]] * len(cells)) + cells  # the first emotion is in all of them
    dataset, emotion = (np.repeat(place, sizes.ravel()) for place in np.indices(sizes.shape).reshape(2, -1))
    faces = Faces(torch.empty(0), dataset, emotion, np.arange(len(dataset)))
    generator = torch.Generator().manual_seed(0)
    batches = draw_epoch(faces, batch_size, generator)
    rows = torch.cat(batches).numpy()
    drawn = np.zeros_like(sizes)
    np.add.at(drawn, (dataset[rows], emotion[rows]), 1)
    assert len(set(rows)) == len(rows)
    assert (drawn == sizes.min(0)).all()
    assert max(map(len, batches)) <= batch_size
    assert min(map(len, batches)) > 1  # of which no statistics could be taken
    again = torch.cat(draw_epoch(faces, batch_size, generator)).numpy()
    assert len(again) == len(rows)
    assert not np.array_equal(again, rows)


def test_the_larger_dataset_shows_other_faces_in_every_epoch():
    dataset = np.repeat([0, 1], [3, 60])
    faces = Faces(torch.empty(0), dataset, np.zeros(63, np.int64), np.arange(63))
    generator = torch.Generator().manual_seed(0)
    epochs = [torch.cat(draw_epoch(faces, 4, generator)).tolist() for _ in range(20)]
    assert len({row for rows in epochs for row in rows}) > 3 + 30  # of 20 x 3 draws among 60


def test_nothing_to_name_is_said(tmp_path, capsys):
    crops = [
        write_crops(tmp_path / "a", {"train": [6, 6], "test": [6, 0]}, DARK),
        write_crops(tmp_path / "b", {"train": [0, 6], "test": [6, 6]}, DARK),
    ]
    assert probe_bias(crops, CONFIG, tmp_path / "bias").full is None
    assert "full network: no emotion has train and test faces in every dataset" in capsys.readouterr().out
    alone = probe_bias(crops[:1], CONFIG, tmp_path / "alone")
    assert (alone.full, read_bias(tmp_path / "alone")["full"]) == (None, None)
    assert capsys.readouterr().out == "> fewer than two datasets: nothing can be probed\n"
    assert "probe_full" not in alone.metrics()


def test_a_training_that_diverges_names_its_key_and_leaves_nothing(alike, tmp_path):
    full = CONFIG.full.model_copy(update={"lr": 1e30})
    with pytest.raises(ConfigError, match=r"probe\.full\.lr: training diverged in epoch 1;"):
        probe_bias(alike[0], CONFIG.model_copy(update={"full": full}), tmp_path / "bias")
    assert not (tmp_path / "bias").exists()


def test_it_is_asked_for_by_flag_or_not_at_all(alike, tmp_path, monkeypatch, capsys):
    config = tmp_path / "probe.yaml"
    config.write_text(json.dumps(CONFIG.model_dump(mode="json") | {"full": {"epochs": 1}}))
    for flags in ([], ["--full"]):
        out = tmp_path / "-".join(["bias", *flags])
        given = [*alike[0], "--config", config, "--out", out, *flags]
        monkeypatch.setattr(sys, "argv", ["probe_bias", *map(str, given)])
        main()
        assert ("probe_full_chance                       0.500" in capsys.readouterr().out) == bool(flags)
        assert (read_bias(out)["full"] or {}).get("epochs") == (1 if flags else None)
