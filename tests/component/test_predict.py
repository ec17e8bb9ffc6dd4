"""``crossface predict``: answers for photos in a shell, and one line for what is wrong."""

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from made_up import write_evaluation
from mlflow import MlflowClient

from crossface.data.crops import CROP_SCHEMA
from crossface.data.emotions import EMOTIONS
from crossface.model.config import NetConfig
from crossface.model.images import encode_png
from crossface.model.networks import CrossfaceNet
from crossface.model.saving import save_model
from crossface.register.config import RegisterConfig
from crossface.register.register import register
from crossface_pipelines.cli import main


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a registry of one model, and two photos."""
    root = tmp_path_factory.mktemp("predict")
    (root / "model").mkdir()
    torch.manual_seed(0)
    heads = ("dark", "light")
    config = NetConfig(backbone="resnet8", feature_dim=8, image_size=32, heads=heads, adapt="cda")
    save_model(CrossfaceNet(config).eval(), root / "model")
    write_evaluation(root / "evaluation", heads)
    photos = [encode_png(np.full((32, 32, 3), shade, np.uint8)) for shade in (40, 200)]
    rows = [
        {"face_id": str(number), "dataset": "dark", "split": "test", "image": {"bytes": photo, "path": None}}
        for number, photo in enumerate(photos)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=CROP_SCHEMA), root / "evaluation" / "sample.parquet")
    for number, photo in enumerate(photos):
        (root / f"{number}.png").write_bytes(photo)
    (root / "text.png").write_text("not a photo")
    (root / "runs").mkdir()
    uri = f"sqlite:///{root / 'runs' / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", uri)
        client = MlflowClient(uri)
        run = client.create_run(client.create_experiment("faces", (root / "files").as_uri()))
        register(root / "model", root / "evaluation", RegisterConfig(model_name="faces"), run.info.run_id)
    return root


@pytest.fixture
def predict(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def predict(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place / 'runs' / 'mlflow.db'}")
        code = main(["predict", *arguments])
        return code, *capsys.readouterr()

    return predict


def test_answers_come_with_their_photos(predict):
    code, table, errors = predict("models:/faces@challenger", "0.png", "1.png", "--csv")
    assert (code, errors) == (0, "")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["photo"] for row in rows] == ["0.png", "1.png"]
    for row in rows:
        probabilities = {name: float(row[name]) for name in EMOTIONS}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert row["expression"] == max(probabilities, key=probabilities.__getitem__)
        assert float(row["confidence"]) == max(probabilities.values())
    lines = predict("models:/faces/1", "0.png", "1.png", "--json")[1].splitlines()
    assert [json.loads(line)["expression"] for line in lines] == [row["expression"] for row in rows]
    plain = predict("models:/faces/1", "0.png")[1]
    assert plain.split()[:2] == ["0.png", rows[0]["expression"]]
    other = json.loads(predict("models:/faces/1", "0.png", "--json", "--head", "light")[1])
    assert other[EMOTIONS[0]] != pytest.approx(float(rows[0][EMOTIONS[0]]), abs=1e-6)


def test_a_photo_that_cannot_be_read_costs_no_other_its_answer(predict):
    code, shown, errors = predict("models:/faces/1", "text.png", "0.png")
    assert code == 1
    assert "no answer: not a JPEG or PNG image" in shown.splitlines()[0]
    assert shown.splitlines()[1].startswith("0.png  ")
    assert errors == "crossface: 1 of 2 photos have no answer\n"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["faces", "0.png"], "model faces: should be models:/NAME@ALIAS or models:/NAME/VERSION"),
        (["models:/faces/1", "nowhere.png"], "nowhere.png: no such file"),
        (["models:/faces@champion", "0.png"], "no version of faces is its champion; aliases: challenger"),
        (["models:/nobody/1", "0.png"], "the registry has no version 1: nobody"),
        (["models:/faces/1", "0.png", "--head", "rafdb"], "rafdb"),
    ],
)
def test_what_is_wrong_is_one_line(predict, arguments, fault):
    code, shown, errors = predict(*arguments)
    assert (code, shown) == (2, "")
    assert fault in errors
    assert len(errors.splitlines()) == 1
