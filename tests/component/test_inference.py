"""What networks say of crops that stream past: whatever the batch, and in bf16 only if that is the same."""

import io
import json
import shutil
import threading
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from made_up import write_evaluation
from PIL import Image
from stripes import SIZE, stripes, write_crops

from crossface.data.crops import open_crops
from crossface.errors import DataError
from crossface.evaluate import precision, tables
from crossface.evaluate.config import EvaluateConfig
from crossface.evaluate.precision import MAX_PROBABILITY_DIFFERENCE, choose_precision
from crossface.evaluate.report import write_report
from crossface.evaluate.tables import predict_dev_faces, predict_test_faces, sample_features
from crossface.measures.metrics import stack
from crossface.model.config import NetConfig
from crossface.model.images import decode_crops, iter_decoded
from crossface.model.inference import predict
from crossface.model.networks import CrossfaceNet


def net(seed: int, heads=("a", "b"), size=SIZE) -> CrossfaceNet:
    torch.manual_seed(seed)
    config = {"backbone": "resnet8", "feature_dim": 16, "image_size": size, "adapt": "heads"}
    made = CrossfaceNet(NetConfig(**config, heads=heads))
    for head in made.heads:  # they start so that they say nothing
        torch.nn.init.normal_(head[-1].weight, std=0.5)
    return made.eval()


MODELS = {"baseline": net(0, ("pooled",)), "adapted": net(1), "larger": net(2, size=40)}


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """Two datasets of 21 dev faces."""
    root, faces = tmp_path_factory.mktemp("crops"), stripes(9, 0)
    return [write_crops(root / name, faces, key) for key, name in enumerate("ab")]


@pytest.fixture
def batch_size(monkeypatch):
    """Change how many faces are decoded and predicted at a time."""

    def change(size: int) -> None:
        monkeypatch.setattr(tables, "iter_decoded", partial(iter_decoded, batch_size=size))

    return change


def dev_faces(folders):
    return open_crops(folders).filter(pc.field("split") == "dev")


@pytest.mark.parametrize("size", [1, 4, 21, 1000])
def test_batches_are_the_crops_in_their_order(crops, size):
    batches = list(iter_decoded(dev_faces(crops), {SIZE, 20}, ["face_id", "emotion"], size))
    assert [len(batch.labels) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    rows = dev_faces(crops).to_table(columns=["face_id", "emotion", "image"]).to_pylist()
    assert pa.concat_tables(batch.labels for batch in batches).to_pylist() == [
        {"face_id": row["face_id"], "emotion": row["emotion"]} for row in rows
    ]
    for side in (SIZE, 20):
        images = torch.cat([batch.images[side] for batch in batches]).permute(0, 2, 3, 1).numpy()
        for row, image in zip(rows, images, strict=True):
            picture = Image.open(io.BytesIO(row["image"]["bytes"])).resize((side, side), Image.LANCZOS)
            np.testing.assert_array_equal(image, np.asarray(picture))


def test_who_stops_early_leaves_no_thread(crops):
    before = threading.active_count()
    batches = iter_decoded(dev_faces(crops), {SIZE}, batch_size=2)
    assert len(next(batches).labels) == 2
    batches.close()
    assert threading.active_count() == before


def test_predictions_do_not_depend_on_the_batch_and_keep_the_order(crops, batch_size):
    whole = predict_dev_faces(crops, MODELS)
    batch_size(4)
    streamed = predict_dev_faces(crops, MODELS)
    heads = ["own", "mean", "others"]
    assert streamed.drop_columns(heads) == whole.drop_columns(heads)
    first, second = (dev_faces([folder]).to_table()["face_id"].to_pylist() for folder in crops)
    assert streamed["face_id"].to_pylist() == [*first * 3, *second * 3]
    assert streamed["model"].to_pylist() == [name for name in MODELS for _ in range(21)] * 2
    for name, model in MODELS.items():
        mine = streamed.filter(pc.field("model") == name)
        images = decode_crops(dev_faces(crops), model.config.image_size)
        expected = predict(model, images, mine["dataset"].to_pylist())
        for head in heads:
            wanted = getattr(expected, head)
            if wanted is None:
                assert mine[head].null_count == 42
            else:
                np.testing.assert_allclose(stack(mine[head]), wanted, atol=1e-6)


def test_the_sample_does_not_depend_on_the_batch(crops, batch_size, monkeypatch):
    monkeypatch.setattr(tables, "embed", lambda features, *settings: features[:, :2])  # UMAP takes long
    config = EvaluateConfig.parse({"probe": {"splits": ["dev"], "max_per_cell": 2}})
    models = {name: MODELS[name] for name in ("adapted", "larger")}
    whole = sample_features(crops, models, config)
    batch_size(5)
    streamed = sample_features(crops, models, config)
    shared = ["model", "face_id", "dataset", "split", "emotion", "group"]
    assert streamed.select(shared) == whole.select(shared)
    assert streamed.num_rows == 2 * 2 * 7 * 2
    np.testing.assert_allclose(stack(streamed["features"]), stack(whole["features"]), atol=1e-5)
    mine = streamed.filter(pc.field("model") == "larger")
    faces = dev_faces(crops).filter(pc.field("face_id").isin(mine["face_id"].combine_chunks()))
    expected = predict(MODELS["larger"], decode_crops(faces, 40), mine["dataset"].to_pylist()).features
    np.testing.assert_allclose(stack(mine["features"]), expected, atol=1e-5)


def test_a_split_without_faces_is_told_before_anything_is_predicted(crops, monkeypatch):
    monkeypatch.setattr(tables, "predict", None)
    with pytest.raises(DataError, match="no face of these crops is in the split test"):
        predict_test_faces(crops, MODELS)


def amplifying(images: torch.Tensor, gain: float = 3000) -> CrossfaceNet:
    """A network that tells these images apart by what they hardly differ in, and so by every rounding."""
    made = net(3)
    with torch.inference_mode():
        usual = made(images)[1].mean(1)
    with torch.no_grad():
        for head, logits in zip(made.heads, usual, strict=True):
            head[-1].weight *= gain
            head[-1].bias.copy_(-gain * logits)
    return made


@pytest.fixture
def has_bf16(monkeypatch):
    """As if the hardware had it; anywhere the arithmetic is the same."""
    monkeypatch.setattr(precision, "use_bf16", lambda requested, device: requested != "fp32")


@pytest.mark.usefixtures("has_bf16")
def test_bf16_is_taken_where_all_models_say_the_same_in_it(crops):
    found = choose_precision(crops, MODELS, EvaluateConfig())
    assert (found.precision, found.requested, found.faces, found.bf16) == ("bf16", "auto", 42, True)
    assert found.changed_expressions == 0
    fp32, bf16 = (stack(predict_dev_faces(crops, MODELS, bf16)["mean"]) for bf16 in (False, True))
    assert found.max_probability_difference == pytest.approx(np.abs(fp32 - bf16).max(), abs=1e-6)
    assert 0 < found.max_probability_difference <= MAX_PROBABILITY_DIFFERENCE


def test_the_heads_stay_in_fp32(crops):
    model = MODELS["adapted"]
    outputs = predict(model, decode_crops(dev_faces(crops), SIZE), ["a"] * 42, bf16=True)
    with torch.inference_mode():
        mean = model.head_logits(torch.from_numpy(outputs.features)).softmax(-1).mean(0)
    np.testing.assert_allclose(outputs.mean, mean, atol=1e-6)


@pytest.mark.usefixtures("has_bf16")
@pytest.mark.parametrize(("requested", "chosen"), [("auto", "fp32"), ("bf16", "bf16")])
def test_one_model_that_bf16_changes_keeps_all_in_fp32(crops, requested, chosen):
    images = decode_crops(dev_faces(crops), SIZE)
    models = {"amplifying": amplifying(images), "adapted": MODELS["adapted"]}
    found = choose_precision(crops, models, EvaluateConfig(precision=requested))
    assert (found.precision, found.faces) == (chosen, 42)
    assert found.max_probability_difference > MAX_PROBABILITY_DIFFERENCE
    fp32, bf16 = (stack(predict_dev_faces(crops, models, bf16)["mean"]).argmax(1) for bf16 in (False, True))
    changed = (fp32 != bf16).reshape(2, 2, 21).sum((0, 2))  # dataset, model, face
    assert found.changed_expressions == changed.max() / 42


@pytest.mark.usefixtures("has_bf16")
def test_the_sample_is_bounded_and_seeded(crops, monkeypatch):
    monkeypatch.setattr(precision, "FACES", 10)
    first, again, other = (
        choose_precision(crops, {"adapted": MODELS["adapted"]}, EvaluateConfig(seed=seed))
        for seed in (0, 0, 1)
    )
    assert first.faces == 10
    assert first == again
    assert first != other


@pytest.mark.parametrize("requested", ["auto", "fp32"])
def test_without_bf16_in_the_hardware_nothing_is_tried(crops, monkeypatch, requested):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr(precision, "predict", None)
    found = choose_precision(crops, MODELS, EvaluateConfig(precision=requested))
    assert (found.precision, found.requested, found.faces) == ("fp32", requested, 0)
    assert found.max_probability_difference is found.changed_expressions is None


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation") / "one"
    return folder, write_evaluation(folder, ("rafdb",))


SEEN = {"faces": 256, "max_probability_difference": 0.0314, "changed_expressions": 3 / 256}
NOTHING = {"faces": 0, "max_probability_difference": None, "changed_expressions": None}


@pytest.mark.parametrize(
    ("chosen", "requested", "seen", "sentence"),
    [
        (
            "bf16",
            "auto",
            SEEN,
            "that moves no probability by more than 0.031, and changes 1.2% of the expressions.",
        ),
        (
            "fp32",
            "auto",
            SEEN,
            "fp32: on 256 dev faces bf16 would move a probability by 0.031, and change 1.2%",
        ),
        ("fp32", "auto", NOTHING, "fp32: there is no arithmetic in bf16 where they ran."),
        ("fp32", "fp32", NOTHING, "fp32, as they were told."),
    ],
)
def test_report_says_what_the_models_ran_in(evaluation, tmp_path, chosen, requested, seen, sentence):
    folder, metrics = evaluation
    inference = {"precision": chosen, "requested": requested, **seen}
    shutil.copy(folder / "features.parquet", tmp_path)
    (tmp_path / "metrics.json").write_text(json.dumps(metrics | {"inference": inference}))
    write_report(tmp_path, json.loads((folder / "bias.json").read_text()))
    assert f"All models ran in {chosen}" in (tmp_path / "report.html").read_text()
    assert sentence in (tmp_path / "report.html").read_text()
