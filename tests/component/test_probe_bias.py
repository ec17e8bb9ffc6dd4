"""probe_bias from real crops to bias.json."""

import io
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from crossface.bias.document import BIAS_FILE, read_bias
from crossface.data.crops import CAPTURE, ShardWriter, open_crops
from crossface.data.rejects import Reason, Reject, write_rejects
from crossface.errors import ConfigError, DataError
from crossface.probe_bias.__main__ import main
from crossface.probe_bias.capture import capture_matrix
from crossface.probe_bias.config import ProbeConfig
from crossface.probe_bias.measure import probe_bias

CONFIG = ProbeConfig(
    backbone="resnet8",
    feature_dim=16,
    image_size=32,
    max_per_cell=12,
    folds=3,
    permutations=2,
    splits=("dev", "test"),
)


def write_crops(
    folder: Path, dataset: str, brightness: float, jpeg: bool, faces: int = 160, emotions: int = 4
) -> Path:
    """Noise pictures of one brightness; every emotion but the last ones occurs equally often."""
    rng = np.random.default_rng(faces)
    folder.mkdir(parents=True)
    writer = ShardWriter(folder)
    for index in range(faces):
        pixels = rng.normal(brightness, 25, (32, 32, 3)).clip(0, 255).astype(np.uint8)
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "JPEG" if jpeg else "PNG")
        capture = {field.name: float(rng.uniform(1, 2)) for field in CAPTURE}
        capture["jpeg_quantisation"] = float(rng.uniform(5, 6)) if jpeg else None
        writer.write(
            {
                "face_id": f"{dataset}/{index}",
                "dataset": dataset,
                "split": ("train", "dev", "test", "test")[index // emotions % 4],
                "emotion": index % emotions,
                "image": {"bytes": encoded.getvalue(), "path": f"{index}.jpg"},
                "group": f"{dataset}/{index}",
                "attributes": None,
                "capture": capture,
                "phash": index,
            }
        )
    writer.close()
    cut = Reject("x.jpg", "crop_faces", Reason.UNREADABLE_IMAGE, "truncated")
    write_rejects([cut, cut, Reject("list:3", "ingest", Reason.LABEL_NOT_USED, "contempt")], folder)
    return folder


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> list[Path]:
    root = tmp_path_factory.mktemp("crops")
    return [
        write_crops(root / "dark", "dark", 60, jpeg=True),
        write_crops(root / "light", "light", 190, jpeg=False, emotions=5),
    ]


@pytest.fixture(scope="module")
def found(crops, tmp_path_factory) -> tuple:
    out = tmp_path_factory.mktemp("out") / "bias"
    return probe_bias(crops, CONFIG, out), read_bias(out), out


def test_probes_see_brightness_and_file_format_and_the_control_does_not(found):
    summary, document, _ = found
    assert summary.untrained.probe.accuracy > 0.95
    assert summary.capture.probe.accuracy > 0.95  # only the null of the PNG files tells the datasets apart
    assert summary.random_parts.low <= summary.random_parts.chance == 0.5
    # equal cells: 4 common emotions, 2 datasets, 12 faces each
    assert summary.capture.probe.n == 4 * 2 * 12
    assert document["probes"]["capture"]["accuracy"] == summary.capture.probe.accuracy


def test_emotions_and_pairs_are_measured_on_both_kinds_of_features(found):
    summary, document, _ = found
    for kind, bias in (("untrained", summary.untrained), ("capture", summary.capture)):
        *common, sadness, anger, neutral = bias.within_emotion
        assert min(within.probe.low for within in common) > 0.5 == common[0].probe.chance
        assert {within.reason for within in (sadness, anger, neutral)} == {
            "fewer than two datasets have 10 groups"
        }
        (apart,), (mmd,) = bias.a_distance, bias.mmd
        assert apart.found.distance > 1.9
        assert mmd.found.p_value < 0.05
        assert mmd.found.emotions == ("surprise", "fear", "disgust", "happiness")
        assert document["within_emotion"][kind][0]["probe"]["accuracy"] == common[0].probe.accuracy
        assert document["a_distance"][kind][0]["found"]["chance"] == 0
        assert document["mmd"][kind][0]["found"]["mmd2"] == mmd.found.mmd2


def test_bias_json_counts_what_is_in_the_crops(found, crops):
    _, document, _ = found
    rows = open_crops(crops).to_table(columns=["dataset", "split", "emotion"]).to_pylist()
    counted = Counter((row["dataset"], row["split"], row["emotion"]) for row in rows)
    for dataset, splits in document["counts"].items():
        for split, counts in splits.items():
            assert counts == [counted[dataset, split, label] for label in range(7)]
    assert document["datasets"] == ["dark", "light"]
    # priors 1/4 and 1/5: total variation is the fifth class that one of them has
    (pair,) = document["prior_distances"]
    assert pair["total_variation"] == pytest.approx(1 / 5)
    assert {(row["dataset"], row["reason"]): row["count"] for row in document["rejects"]} == {
        (name, reason): count
        for name in ("dark", "light")
        for reason, count in (("unreadable_image", 2), ("label_not_used", 1))
    }


def test_metrics_are_finite_floats(found):
    metrics = found[0].metrics()
    assert metrics["probe_untrained_chance"] == metrics["probe_within_fear_chance"] == 0.5
    assert metrics["a_distance_dark_vs_light"] > 1.9
    assert metrics["mmd_p_value_dark_vs_light"] < 0.05 < metrics["mmd2_dark_vs_light"]
    assert "probe_within_sadness" not in metrics  # of which one of the datasets has no face
    assert all(type(value) is float and np.isfinite(value) for value in metrics.values())


def test_same_seed_same_file(found, crops, tmp_path):
    probe_bias(crops, CONFIG, tmp_path / "again")
    assert (tmp_path / "again" / BIAS_FILE).read_bytes() == (found[2] / BIAS_FILE).read_bytes()


def test_one_dataset_has_nothing_to_probe(crops, tmp_path, capsys):
    summary = probe_bias(crops[:1], CONFIG, tmp_path / "bias")
    assert capsys.readouterr().out == "> fewer than two datasets: nothing can be probed\n"
    assert (summary.untrained.probe, summary.capture.probe, summary.random_parts) == (None, None, None)
    assert summary.mutual_information == pytest.approx(0)
    assert list(summary.metrics()) == ["label_only_rate", "mutual_information_bits"]
    document = read_bias(tmp_path / "bias")
    assert (
        document["prior_distances"] == document["a_distance"]["capture"] == document["mmd"]["capture"] == []
    )


def test_splits_without_faces_have_nothing_to_probe(crops, tmp_path):
    config = CONFIG.model_copy(update={"splits": ("dev",)})
    empty = write_crops(tmp_path / "few", "few", 60, jpeg=True, faces=4)  # all in train
    summary = probe_bias([crops[0], empty], config, tmp_path / "bias")
    assert (summary.untrained.probe, summary.untrained.mmd) == (None, [])
    assert probe_bias([empty], config, tmp_path / "none").capture.a_distance == []


def test_capture_matrix_imputes_the_median_and_says_so():
    rows = [
        {field.name: 1.0 for field in CAPTURE} | {"jpeg_quantisation": value} for value in (3.0, None, 7.0)
    ]
    matrix = capture_matrix(pa.chunked_array([pa.array(rows, CAPTURE)]))
    assert matrix.shape == (3, 7)
    assert matrix[:, 5] == pytest.approx(np.log1p([3, (np.expm1((np.log(4) + np.log(8)) / 2)), 7]))
    assert matrix[:, 6].tolist() == [0, 1, 0]


def test_capture_matrix_without_any_jpeg_is_finite():
    rows = [{field.name: 1.0 for field in CAPTURE} | {"jpeg_quantisation": None}] * 3
    assert np.isfinite(capture_matrix(pa.chunked_array([pa.array(rows, CAPTURE)]))).all()


def test_errors_are_clear_and_nothing_is_left(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no crops"):
        probe_bias([tmp_path / "empty"], CONFIG, tmp_path / "bias")
    assert not (tmp_path / "bias").exists()
    with pytest.raises(ConfigError, match=r"probe\.fold: unknown key"):
        ProbeConfig.parse({"fold": 3}, "probe")
    with pytest.raises(DataError, match=r"bias\.json is missing"):
        read_bias(tmp_path)


def test_from_a_shell(crops, tmp_path, monkeypatch, capsys):
    config = tmp_path / "probe.yaml"
    config.write_text(json.dumps(CONFIG.model_dump(mode="json")))
    given = [crops[0], "--out", tmp_path / "out", "--config", config]
    monkeypatch.setattr(sys, "argv", ["probe_bias", *map(str, given)])
    main()
    assert "label_only_rate                         1.000" in capsys.readouterr().out
    assert (tmp_path / "out" / BIAS_FILE).is_file()
