"""pin_model: an alias of a real registry becomes one version, and stays that one."""

import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from served import MARGIN, SIZE, flat_reference, write_files

import crossface.register
from crossface.errors import ConfigError, DataError
from crossface.model.served import MODEL_TAG, open_served
from crossface.pin_model.config import PinConfig
from crossface.pin_model.pin import pin_model

SERVED = Path(crossface.register.__file__).with_name("served_model.py")


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Two versions of ``faces``, the first of which is the champion."""
    root = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{root / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        client = MlflowClient()
        experiment = client.create_experiment("faces", artifact_location=(root / "files").as_uri())
        client.create_registered_model("faces")
        for number in (1, 2):
            files = write_files(root / str(number), number, flat_reference() if number == 2 else None)
            with mlflow.start_run(experiment_id=experiment) as run:
                logged = mlflow.pyfunc.log_model(
                    name="model", python_model=SERVED, artifacts=files, pip_requirements=["numpy"]
                )
            client.create_model_version("faces", logged.model_uri, run.info.run_id, model_id=logged.model_id)
        client.set_registered_model_alias("faces", "champion", "1")
        yield client
        mlflow.set_tracking_uri(None)


def test_alias_is_followed_once(registry, tmp_path):
    pinned = pin_model(PinConfig(model_name="faces"), tmp_path / "model")
    assert (pinned.name, pinned.version, pinned.image_size, pinned.margin) == ("faces", "1", SIZE, MARGIN)
    assert pinned.reference is None
    registry.set_registered_model_alias("faces", "champion", "2")
    try:
        assert open_served(tmp_path / "model") == pinned
        later = pin_model(PinConfig(model_name="faces"), tmp_path / "later")
        assert later.version == "2"
        assert later.reference == flat_reference()
        assert later.sha256 != pinned.sha256
        first = pin_model(PinConfig.parse({"model_name": "faces", "version": 1}), tmp_path / "first")
        assert (first.version, first.sha256) == ("1", pinned.sha256)
    finally:
        registry.set_registered_model_alias("faces", "champion", "1")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_name": "none"}, "pin: the registry has no model of this name: none"),
        ({"alias": "winner"}, "pin.alias: no version of faces is its winner; aliases: champion"),
        ({"version": "9"}, "pin: the registry has no version 9: faces"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(registry, tmp_path, config, said):
    with pytest.raises(ConfigError) as caught:
        pin_model(PinConfig(**{"model_name": "faces", **config}), tmp_path / "model")
    assert str(caught.value) == said
    assert not list(tmp_path.iterdir())


def test_network_that_is_not_the_one_of_the_tag_is_refused(registry, tmp_path):
    untagged = pin_model(PinConfig(model_name="faces"), tmp_path / "model")
    try:
        registry.set_model_version_tag("faces", "1", MODEL_TAG, untagged.sha256)
        assert pin_model(PinConfig(model_name="faces"), tmp_path / "model") == untagged
        registry.set_model_version_tag("faces", "1", MODEL_TAG, "0" * 64)
        with pytest.raises(DataError, match=f"its network is not the one of the tag {MODEL_TAG}"):
            pin_model(PinConfig(model_name="faces"), tmp_path / "other")
        assert [path.name for path in tmp_path.iterdir()] == ["model"]
    finally:
        registry.delete_model_version_tag("faces", "1", MODEL_TAG)


def test_files_that_were_removed_are_missed(registry, tmp_path):
    network = pin_model(PinConfig(model_name="faces"), tmp_path / "before").network.read_bytes()
    root = Path(registry.get_experiment_by_name("faces").artifact_location.removeprefix("file://"))
    (stored,) = [path for path in root.rglob("network.onnx") if path.read_bytes() == network]
    stored.rename(tmp_path / "away")
    try:
        with pytest.raises(DataError, match="the model's network is missing"):
            pin_model(PinConfig(model_name="faces"), tmp_path / "model")
    finally:
        (tmp_path / "away").rename(stored)


def test_shell(registry, tmp_path):
    (tmp_path / "pin.yaml").write_text("model_name: faces\n")
    command = [sys.executable, "-m", "crossface.pin_model", "--config", str(tmp_path / "pin.yaml")]
    command += ["--out", str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "faces version 1" in done.stdout
