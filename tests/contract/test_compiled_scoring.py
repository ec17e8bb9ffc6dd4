"""The compiled scoring pipeline, and its command before anything runs."""

import json
from pathlib import Path

import pytest
import yaml

import crossface_pipelines
from crossface_pipelines.cli import main
from crossface_pipelines.scoring.command import PARAMS
from crossface_pipelines.scoring.params import load_params

PROFILE = Path(crossface_pipelines.__file__).parents[2] / "manifests" / "profiles" / "dev.yaml"


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    path = tmp_path_factory.mktemp("ir") / "scoring.yaml"
    settings = ("--set", "pin.version=3", "--set", "score.source=s3://bucket/in")
    command = [
        "compile",
        str(path),
        "--pipeline",
        "scoring",
        "--params",
        "sample",
        *settings,
        "--profile",
        str(PROFILE),
    ]
    assert main(command) == 0
    assert path.read_text().isascii()
    return next(iter(yaml.safe_load_all(path.read_text())))


def test_score_gets_the_pinned_files_and_nothing_is_cached(spec):
    tasks = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    assert set(tasks) == {"pin-model", "score"}
    given = tasks["score"]["inputs"]["artifacts"]["model"]["taskOutputArtifact"]
    assert given == {"producerTask": "pin-model", "outputArtifactKey": "model"}
    everywhere = [*tasks.values(), spec["root"]["dag"]["tasks"]["finalize"]]
    assert not any(task.get("cachingOptions", {}).get("enableCache") for task in everywhere)
    images = {name: part["container"]["image"] for name, part in spec["deploymentSpec"]["executors"].items()}
    assert images["exec-pin-model"] == "crossface-data:dev"
    assert images["exec-score"] == "crossface-torch:dev"


def test_parameters_are_its_defaults(spec):
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    assert inputs["pin"]["defaultValue"]["version"] == "3"
    assert inputs["score"]["defaultValue"]["source"] == "s3://bucket/in"
    assert "null" not in json.dumps({name: value["defaultValue"] for name, value in inputs.items()})


def test_mistakes_are_named_before_anything_starts(tmp_path, capsys):
    (tmp_path / "wrong.yaml").write_text(
        "pin: {alias: 7}\nscore: {source: /none, boxes: /no.csv, shards: 3}\nmore: 1\n"
    )
    assert main(["score", "--params", str(tmp_path / "wrong.yaml"), "--runs", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err
    for line in ("more: unknown key", "pin.alias: ", "score.shards: unknown key"):
        assert f"crossface: {line}" in said
    (tmp_path / "wrong.yaml").write_text("score: {source: /none, boxes: /no.csv}\n")
    assert main(["score", "--params", str(tmp_path / "wrong.yaml"), "--runs", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err
    assert "crossface: score.source: /none is not there\n" in said
    assert "crossface: score.boxes: /no.csv is not a file\n" in said
    assert not (tmp_path / "runs").exists()


def test_photos_that_changed_are_another_revision(tmp_path):
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"one")
    settings = [f"score.source={tmp_path}"]
    before = load_params(PARAMS / "sample.yaml", settings).with_revision()
    assert load_params(PARAMS / "sample.yaml", settings).with_revision() == before
    photo.write_bytes(b"two")
    assert load_params(PARAMS / "sample.yaml", settings).with_revision() != before
    named = load_params(PARAMS / "sample.yaml", [*settings, "score.revision=b"])
    assert named.with_revision().score.revision == "b"
