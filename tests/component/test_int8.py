"""The copy in 8-bit integers: tested and judged by itself, and promoted by what came of it."""

import json
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from made_up import write_evaluation
from mlflow import MlflowClient
from onnx import numpy_helper
from served import HEADS, SIZE, network

from crossface import tracking
from crossface.data.crops import CROP_SCHEMA
from crossface.data.manifest import manifest_digest
from crossface.errors import DataError
from crossface.evaluate.tables import predict_test_faces
from crossface.gate.champion import read_judged
from crossface.measures.calibration import calibration_at
from crossface.measures.metrics import measure
from crossface.measures.subgroups import score_subgroups
from crossface.model.export import export_onnx, run_onnx
from crossface.model.images import encode_png
from crossface.model.networks import CrossfaceNet
from crossface.model.quantization import quantize_onnx
from crossface.model.saving import save_model
from crossface.register.config import RegisterConfig
from crossface.register.int8 import evaluate_int8
from crossface.register.judge import judge_versions
from crossface.register.promotion import PromotionRefusedError, promote
from crossface.register.register import register
from crossface.register.registry import promote_version

EACH = 40  # faces of an expression and dataset, where there are so many
NAME, TEMPERATURE = "faces", 1.7


@dataclass(frozen=True)
class Evaluated:
    net: CrossfaceNet
    model: Path
    evaluation: Path
    crops: list[Path]


def sure_faces(net: CrossfaceNet, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Faces of which the network is sure: uint8 [n, SIZE, SIZE, 3], and what it names, int64 [n]."""
    drawn = np.random.default_rng(seed).integers(0, 256, (2000, 4, 4, 3), dtype=np.uint8)
    images = np.ascontiguousarray(drawn.repeat(SIZE // 4, 1).repeat(SIZE // 4, 2))
    with torch.inference_mode():
        said = net(torch.from_numpy(images).permute(0, 3, 1, 2))[1].softmax(-1).mean(0).numpy()
    first, second = np.sort(said)[:, ::-1][:, :2].T
    surest, named = np.argsort(second - first), said.argmax(1)
    kept = np.concatenate([surest[named[surest] == label][:EACH] for label in range(7)])
    return images[kept], named[kept]


def write_crops(net: CrossfaceNet, root: Path) -> list[Path]:
    """Test faces that the network names rightly, but for one of ten."""
    folders = []
    for seed, dataset in enumerate(HEADS):
        images, labels = sure_faces(net, seed)
        labels = np.where(np.arange(len(labels)) % 10 == 0, np.roll(labels, EACH), labels)
        rows = [
            {"face_id": f"{dataset}/{index}", "dataset": dataset, "split": "test", "emotion": int(label)}
            | {"image": {"bytes": encode_png(image), "path": None}, "group": str(index)}
            | {"attributes": {"gender": "female" if index % 2 else "male", "race": None, "age": None}}
            for index, (image, label) in enumerate(zip(images, labels, strict=True))
        ]
        folder = root / dataset
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=CROP_SCHEMA), folder / "part-00000.parquet")
        folders.append(folder)
    return folders


def write_measured(folder: Path, predictions: pa.Table, crops: list[Path]) -> None:
    """What evaluate would have written of these predictions."""
    metrics = write_evaluation(folder, HEADS)
    for name, found in metrics["models"].items():
        rows = predictions.filter(pc.field("model") == name)
        found |= {**measure(rows), "calibration": calibration_at(TEMPERATURE, rows), "image_size": SIZE}
        found |= {"heads": list(HEADS), "subgroups": score_subgroups(rows, 30, 0)}
    metrics["test_manifest"] = manifest_digest(crops)
    few = {"margin": 0.15, "group_margin": 0.2, "group_veto": 0.2}  # rare expressions have few faces here
    metrics["settings"]["gate"] |= {**few, "max_ece": 1.0, "max_ece_rise": 1.0}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    pq.write_table(predictions, folder / "predictions.parquet")
    for file, rows in (("sample", 8), ("calibration", 64)):
        pq.write_table(pq.read_table(crops[0]).slice(0, rows), folder / f"{file}.parquet")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    root = tmp_path_factory.mktemp("int8")
    net = network()
    (root / "model").mkdir()
    save_model(net, root / "model")
    crops = write_crops(net, root / "crops")
    predictions = predict_test_faces(crops, {"baseline": network(1), "adapted": net})
    write_measured(root / "evaluation", predictions, crops)
    return Evaluated(net, root / "model", root / "evaluation", crops)


@pytest.fixture
def client(tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    client = MlflowClient()
    client.create_experiment(NAME, (tmp_path / "files").as_uri())
    yield client
    mlflow.set_tracking_uri(None)


def add(client: MlflowClient, subject: Evaluated, **settings) -> str:
    experiment = client.get_experiment_by_name(NAME).experiment_id
    config, run = RegisterConfig(model_name=NAME, **settings), client.create_run(experiment).info.run_id
    return register(subject.model, subject.evaluation, config, run, subject.crops)


def tags(client: MlflowClient, version: str) -> dict[str, str]:
    return client.get_model_version(NAME, version).tags


def noised(network: Path, calibration: np.ndarray, target: Path) -> None:
    """Quantisation that spoils the weights."""
    model, rng = onnx.load(network), np.random.default_rng(0)
    for weights in model.graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.ndim > 1 and values.dtype == np.float32:
            spoilt = values + rng.normal(0, 2 * values.std(), values.shape).astype(np.float32)
            weights.CopyFrom(numpy_helper.from_array(spoilt, weights.name))
    onnx.save(model, target.with_suffix(".noised"))
    quantize_onnx(target.with_suffix(".noised"), calibration, target)


def test_what_an_exported_network_says_is_what_evaluate_notes_of_it(evaluated, tmp_path):
    """The temperature is taken out again, and each face has its own head."""
    sample = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    export_onnx(evaluated.net, tmp_path / "network.onnx", sample, TEMPERATURE)
    metrics = json.loads((evaluated.evaluation / "metrics.json").read_text())
    found = evaluate_int8(tmp_path / "network.onnx", evaluated.crops, evaluated.evaluation, metrics, "1")
    source = read_judged(evaluated.evaluation, "1")
    for column in ("face_id", "dataset", "emotion", "attributes"):
        assert found.predictions[column].equals(source.predictions[column])
    for head in ("mean", "own"):
        said, expected = (np.stack(rows[head].to_numpy()) for rows in (found.predictions, source.predictions))
        np.testing.assert_allclose(said, expected, atol=1e-4)
    assert (
        np.abs(said - np.stack(source.predictions["mean"].to_numpy())).max() > 0.05
    )  # an own head is another
    assert found.model["per_dataset"]["dark"]["mean"] == source.model["per_dataset"]["dark"]["mean"]
    assert found.model["probe"] == source.model["probe"]
    assert found.derived_from == "1"


def test_a_good_copy_is_judged_beside_its_source_and_may_follow_it(evaluated, client):
    assert add(client, evaluated, int8=True) == "1"
    copy = tags(client, "2")
    assert (copy["crossface.precision"], copy["crossface.fp32_version"]) == ("int8", "1")
    assert (copy["crossface.verdict"], copy["crossface.compared_with"]) == ("passed", "1")
    assert copy["crossface.verdict_sentence"] == (
        "It may replace version 1: not worse on any dataset or group. "
        "Its dataset bias was measured on version 1, whose copy it is."
    )
    assert client.get_registered_model(NAME).aliases == {"challenger": 1}
    source, own = (client.get_model_version(NAME, version) for version in "12")
    assert client.get_run(own.run_id).data.tags[tracking.PARENT_TAG] == source.run_id
    assert "8-bit" in own.description
    promote_version(NAME, "1")
    client.set_model_version_tag(NAME, "2", "crossface.compared_with", "")  # so that it is judged once more
    promote_version(NAME, "2")
    assert client.get_registered_model(NAME).aliases["champion"] == 2
    assert "not worse on any dataset" in tags(client, "2")["crossface.verdict_sentence"]
    with tracking.champion(NAME) as (folder, version):
        kept = read_judged(folder, version)
    network = Path(mlflow.artifacts.download_artifacts(f"models:/{NAME}/2")) / "artifacts" / "network.onnx"
    faces = pq.read_table(evaluated.crops[1])
    images = np.stack([np.asarray(face) for face in decoded(faces)])
    said = run_onnx(network, images)[:, 0].argmax(1)
    rows = kept.predictions.filter(pc.field("dataset") == HEADS[1])
    assert (np.stack(rows["mean"].to_numpy()).argmax(1) == said).all()
    assert not kept.predictions.equals(read_judged(evaluated.evaluation, "1").predictions)
    # against another model's version equal is not enough
    again = add(client, evaluated)
    with pytest.raises(PromotionRefusedError, match=f"{again} may not follow version 2: Refused: mean"):
        promote_version(NAME, again)


def decoded(faces: pa.Table) -> list[np.ndarray]:
    from io import BytesIO

    from PIL import Image

    return [np.asarray(Image.open(BytesIO(image["bytes"]))) for image in faces["image"].to_pylist()]


def test_a_copy_is_held_against_the_champion_where_there_is_one(evaluated, client, tmp_path):
    predictions = pq.read_table(evaluated.evaluation / "predictions.parquet")
    worse = np.stack(predictions["mean"].to_numpy())
    worse[::3] = np.roll(worse[::3], 1, axis=1)
    place = predictions.schema.get_field_index("mean")
    worse = predictions.set_column(place, predictions.schema.field(place), [list(worse)])
    write_measured(tmp_path / "worse", worse, evaluated.crops)
    champion = add(client, Evaluated(evaluated.net, evaluated.model, tmp_path / "worse", evaluated.crops))
    promote(client, NAME, champion, None)
    add(client, evaluated, int8=True)
    copy = tags(client, "3")
    assert (copy["crossface.verdict"], copy["crossface.compared_with"]) == ("passed", champion)
    assert "points above version 1's" in copy["crossface.verdict_sentence"]
    promote_version(NAME, "3")
    assert client.get_registered_model(NAME).aliases["champion"] == 3


def test_a_broken_copy_is_refused_with_its_reason_and_its_source_is_not(evaluated, client, monkeypatch):
    monkeypatch.setattr("crossface.register.register.quantize_onnx", noised)
    add(client, evaluated, int8=True)
    copy = tags(client, "2")
    assert copy["crossface.verdict"] == "refused"
    assert copy["crossface.verdict_sentence"].startswith("Refused: ")
    assert copy["crossface.verdict_sentence"].endswith("measured on version 1, whose copy it is.")
    assert tags(client, "1")["crossface.verdict"] == "passed"
    assert client.get_registered_model(NAME).aliases == {"challenger": 1}
    assert not judge_versions(client, NAME, "2", "1").passed
    with pytest.raises(PromotionRefusedError, match="version 2 was refused: Refused: "):
        promote_version(NAME, "2")


def test_limits_of_cost_hold_for_the_copy_too(evaluated, client):
    add(client, evaluated, int8=True, max_milliseconds=1e-6)
    for version in "12":
        assert tags(client, version)["crossface.verdict"] == "refused"
        assert "a face takes" in tags(client, version)["crossface.verdict_sentence"]


@pytest.mark.parametrize(
    ("count", "reason"), [(0, "int8 needs the crops"), (1, "are not those that were evaluated")]
)
def test_nothing_is_registered_without_the_faces_that_were_evaluated(evaluated, client, count, reason):
    few = Evaluated(evaluated.net, evaluated.model, evaluated.evaluation, evaluated.crops[:count])
    with pytest.raises(DataError, match=reason):
        add(client, few, int8=True)
    assert client.search_registered_models() == []
    assert add(client, few) == "1"  # without int8 nobody looks at them
