"""Another team loads the champion with one line, over HTTP, with nothing but what the model requires."""

import base64
import importlib.metadata
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import NamedTuple

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from http_servers import mlflow_server, server
from made_up import write_evaluation
from mlflow import MlflowClient
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from postgres_server import start_postgres  # noqa: F401  # fixture
from s3_server import ACCESS_KEY, BUCKET, SECRET_KEY, free_ports, start_s3_server  # noqa: F401  # fixture
from served import HEADS, network, noise

from crossface.data.crops import CROP_SCHEMA
from crossface.data.emotions import EMOTIONS
from crossface.model.export import Deployed
from crossface.model.images import encode_png
from crossface.model.saving import save_model
from crossface.register.config import RegisterConfig
from crossface.register.names import CHALLENGER, CHAMPION, PREVIOUS
from crossface.register.promotion import Move, rollback
from crossface.register.register import register, temperature_of
from crossface.register.registry import promote_version

fresh_environment = pytest.mark.skipif(
    os.environ.get("CROSSFACE_FRESH_ENV") != "1",
    reason="CROSSFACE_FRESH_ENV=1 downloads what the model requires, some minutes",
)

CONSUMER = """
import importlib.util, json, sys
import mlflow, pandas as pd

photos = [open(name, "rb").read() for name in sys.argv[1:]]
answer = mlflow.pyfunc.load_model("models:/crossface@champion").predict(pd.DataFrame({"image": photos}))
strangers = [name for name in ("crossface", "torch", "timm") if importlib.util.find_spec(name)]
print(json.dumps({"rows": json.loads(answer.to_json(orient="records")), "strangers": strangers}))
"""


class Evaluated(NamedTuple):
    """What becomes a version."""

    model: Path
    evaluation: Path
    expected: np.ndarray
    """What torch says of the photos: float32 [n, 7]."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Path]:
    """Faces as JPEG files."""
    folder = tmp_path_factory.mktemp("photos")
    for number, face in enumerate(noise(3)):
        Image.fromarray(face).save(folder / f"{number}.jpg", quality=90)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, photos) -> list[Evaluated]:
    """Two models, the second a better one, and more terms of a dataset than a description has room for."""
    root = tmp_path_factory.mktemp("evaluated")
    images = torch.from_numpy(np.stack([np.asarray(Image.open(photo)) for photo in photos]))
    rows = [
        {"face_id": str(number), "dataset": "dark", "split": "test", "image": {"bytes": face, "path": None}}
        for number, face in enumerate(map(encode_png, noise(4)))
    ]
    two = []
    for seed, gain in enumerate((0.5, 1.5)):
        net, model, evaluation = network(seed), root / f"model-{seed}", root / f"evaluation-{seed}"
        metrics = write_evaluation(evaluation, HEADS, gain)
        metrics["data"][0]["licence"] = "for those who read it all " * 200
        (evaluation / "metrics.json").write_text(json.dumps(metrics))
        pq.write_table(pa.Table.from_pylist(rows, schema=CROP_SCHEMA), evaluation / "sample.parquet")
        model.mkdir()
        save_model(net, model)
        with torch.inference_mode():
            said = Deployed(net, temperature_of(metrics))(images)[:, 0].numpy()
        two.append(Evaluated(model, evaluation, said))
    return two


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    """Only the server has any, and nobody else's settings play a part."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "MLFLOW_", "KFP_", "CROSSFACE_LOCK")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def add(client: MlflowClient, subject: Evaluated) -> str:
    run = client.create_run("0").info
    assert run.artifact_uri.startswith("mlflow-artifacts:"), "files should go by way of the server"
    return register(subject.model, subject.evaluation, RegisterConfig(), run.run_id)


def closure(requirements: list[str]) -> set[str]:
    """Distributions that requirements lead to, here and now."""
    found: set[tuple[str, str]] = set()
    wanted = [(Requirement(line), "") for line in requirements]
    while wanted:
        requirement, extra = wanted.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for chosen in ("", *requirement.extras):
            key = (canonicalize_name(requirement.name), chosen)
            if key not in found:
                found.add(key)
                needed = importlib.metadata.requires(requirement.name) or []
                wanted += [(Requirement(line), chosen) for line in needed]
    return {name for name, _ in found}


def link(requirements: list[str], site_packages: Path) -> None:
    """Install what is installed here already, and only what the requirements lead to."""
    for name in closure(requirements):
        distribution = importlib.metadata.distribution(name)
        for top in {Path(file).parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (site_packages / top).exists():
                (site_packages / top).symlink_to(distribution.locate_file(top))


def fresh(folder: Path, requirements: Path, download: bool, *more: str) -> Path:
    """The interpreter of an environment that has what is required: linked from here, or downloaded.

    Args:
        folder: to make.
        requirements: file of the model.
        download: or link.
        more: requirements to download besides.
    """
    made = [sys.executable, "-m", "venv", str(folder), *([] if download else ["--without-pip"])]
    subprocess.run(made, check=True, timeout=600)
    python = folder / "bin" / "python"
    if download:
        command = [python, "-m", "pip", "install", "--quiet", "--requirement", requirements, *more]
        subprocess.run(command, check=True, timeout=1800)
    else:
        (site_packages,) = folder.glob("lib/python*/site-packages")
        link(requirements.read_text().split(), site_packages)
    return python


def ask(python: Path, address: str, photos: list[Path], folder: Path) -> list[dict]:
    """What the champion answers to someone who knows nothing but the server's address."""
    environment = {"PATH": os.defpath, "HOME": str(folder), "MLFLOW_TRACKING_URI": address}
    command = [python, "-c", CONSUMER, *photos]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["strangers"] == []
    return said["rows"]


def check(rows: list[dict], expected: np.ndarray) -> None:
    np.testing.assert_allclose([[row[name] for name in EMOTIONS] for row in rows], expected, atol=1e-4)
    assert [row["expression"] for row in rows] == [EMOTIONS[best] for best in expected.argmax(1)]
    assert [row["error"] for row in rows] == [""] * len(expected)


@pytest.mark.parametrize(
    "download",
    [pytest.param(False, id="linked"), pytest.param(True, id="downloaded", marks=fresh_environment)],
)
def test_one_line_in_a_fresh_environment(evaluated, photos, tmp_path, monkeypatch, download):
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with mlflow_server(tmp_path, store, str(tmp_path / "files")) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        client = MlflowClient(address)
        client.set_registered_model_alias("crossface", CHAMPION, add(client, evaluated[0]))
        requirements = Path(mlflow.pyfunc.get_model_dependencies("models:/crossface@champion"))
        python = fresh(tmp_path / "environment", requirements, download)
        check(ask(python, address, photos, tmp_path), evaluated[0].expected)


def test_champions_of_a_server_on_postgresql_and_s3(
    evaluated, photos, tmp_path, monkeypatch, postgres, s3_server
):
    keys = {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{s3_server.port}",
    }
    with mlflow_server(tmp_path, postgres, f"s3://{BUCKET}/mlflow", **keys) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("CROSSFACE_LOCK_URI", postgres)
        client = MlflowClient(address)
        python, answers = None, []
        for number, subject in enumerate(evaluated, 1):
            assert add(client, subject) == str(number)
            version = client.get_model_version("crossface", str(number))
            assert len(version.description) <= 5000
            assert "README.md, among the files of the model" in version.description.splitlines()[-1]
            assert version.tags["crossface.verdict"] == "passed"
            assert version.tags["crossface.mlflow_run"] == version.run_id
            promote_version("crossface", str(number))
            if python is None:
                requirements = Path(mlflow.pyfunc.get_model_dependencies("models:/crossface@champion"))
                python = fresh(tmp_path / "environment", requirements, download=False)
            answers.append(ask(python, address, photos, tmp_path))
            check(answers[-1], subject.expected)
        assert answers[0] != answers[1]
        assert client.get_registered_model("crossface").aliases == {CHAMPION: "2", PREVIOUS: "1"}
        assert rollback(client, "crossface", "it errs") == Move("2", "1")
        assert ask(python, address, photos, tmp_path) == answers[0]
        aliases = client.get_registered_model("crossface").aliases
        assert aliases[CHAMPION] == "1"
        assert CHALLENGER not in aliases
    stored = s3_server.client.list_objects_v2(Bucket=BUCKET, Prefix="mlflow/")["Contents"]
    assert sum(Path(one["Key"]).name == "network.onnx" for one in stored) == 2


@fresh_environment
def test_mlserver_answers_by_the_v2_protocol_and_as_mlflow_does(evaluated, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    client = MlflowClient()
    experiment = client.create_experiment("crossface", (tmp_path / "files").as_uri())
    subject = evaluated[0]
    register(subject.model, subject.evaluation, RegisterConfig(), client.create_run(experiment).info.run_id)
    model = Path(mlflow.artifacts.download_artifacts("models:/crossface/1", dst_path=str(tmp_path / "model")))
    packages = "mlserver==1.7.*", "mlserver-mlflow==1.7.*"
    python = fresh(tmp_path / "environment", model / "requirements.txt", True, *packages)
    ports = free_ports(3)
    about = {"name": "crossface", "implementation": "mlserver_mlflow.MLflowRuntime"}
    about["parameters"] = {"uri": str(model)}
    (tmp_path / "model-settings.json").write_text(json.dumps(about))
    # its worker processes failed with uvloop 0.23
    settings = {"host": "127.0.0.1", "parallel_workers": 0}
    settings |= dict(zip(("http_port", "grpc_port", "metrics_port"), ports, strict=True))
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    texts = [*(base64.b64encode(photo.read_bytes()).decode() for photo in photos), "no base64!"]
    address = f"http://127.0.0.1:{ports[0]}"
    command = [python.with_name("mlserver"), "start", tmp_path]
    with server(command, f"{address}/v2/health/ready", tmp_path, PATH=f"{python.parent}:{os.defpath}"):
        tensor = {"name": "image", "datatype": "BYTES", "shape": [len(texts), 1], "data": texts}
        columns = post(f"{address}/v2/models/crossface/infer", {"inputs": [tensor]})["outputs"]
        split = {"columns": ["image"], "data": [[text] for text in texts]}
        told = post(f"{address}/invocations", {"dataframe_split": split})["predictions"]
    names, values = [column["name"] for column in columns], [column["data"] for column in columns]
    rows = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    check(rows[:-1], subject.expected)
    assert rows[-1] | {"error": ""} == dict.fromkeys((*EMOTIONS, "confidence")) | {
        "expression": "",
        "error": "",
    }
    assert rows[-1]["error"].startswith("not base64")
    assert rows == told


def post(address: str, question: dict) -> dict:
    """What a server answers, which is JSON to the letter."""
    request = urllib.request.Request(
        address, json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    return json.loads(urllib.request.urlopen(request, timeout=60).read(), parse_constant=pytest.fail)
