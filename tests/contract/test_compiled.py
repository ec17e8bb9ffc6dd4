"""The compiled training pipeline: what a cluster and kfp.local get to see."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from kfp.compiler import Compiler

import crossface
from crossface_pipelines.cli import PARAMS, main
from crossface_pipelines.profiles import STEP_IMAGES, container_profile, source_profile
from crossface_pipelines.training.params import load_params
from crossface_pipelines.training.pipeline import training_pipeline

IMAGES = {"data": "registry.example/data@sha256:0", "torch": "registry.example/torch@sha256:1"}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("ir") / "training.yaml"
    Compiler().compile(training_pipeline(container_profile(IMAGES)), str(path))
    return path.read_text()


@pytest.fixture(scope="module")
def spec(text):
    return next(iter(yaml.safe_load_all(text)))


def tasks(spec):
    """Every task of every DAG: (dag, task name, task)."""
    dags = {"root": spec["root"], **spec["components"]}
    return [
        (dag, name, task)
        for dag, component in dags.items()
        for name, task in component.get("dag", {}).get("tasks", {}).items()
    ]


def test_command_writes_a_pipeline_that_carries_its_parameters(tmp_path):
    out = tmp_path / "training.yaml"
    images = [
        "--data-image",
        "registry.example/data@sha256:0",
        "--torch-image",
        "registry.example/torch@sha256:1",
    ]
    assert main(["compile", str(out), "--params", "sample", "--set", "train.epochs=7", *images]) == 0
    inputs = yaml.safe_load(out.read_text())["root"]["inputDefinitions"]["parameters"]
    assert inputs["adapted"]["defaultValue"]["epochs"] == 7
    assert inputs["adapted"]["defaultValue"]["image_size"] == inputs["crop"]["defaultValue"]["size"]
    assert [item["key"] for item in inputs["datasets"]["defaultValue"]] == ["rafdb", "expw", "affectnet"]


def test_code_and_packages_are_part_of_the_local_cache_key(tmp_path, monkeypatch):
    copy = tmp_path / "crossface"
    shutil.copytree(Path(crossface.__file__).parent, copy)
    monkeypatch.setattr(crossface, "__file__", str(copy / "__init__.py"))
    before = source_profile().images
    assert source_profile().images == before
    (copy / "train" / "ace.py").write_text("# changed")
    (copy / "data" / "sample" / "draw.py").write_text("# drawing is no step")
    after = source_profile().images
    assert {step for step in before if before[step] != after[step]} == {"train"}
    (copy / "model" / "networks.py").write_text("# changed")
    assert all(before[step] != image for step, image in source_profile().images.items())


def test_is_ascii(text):
    assert text.isascii()


def test_shape_of_the_dag(spec):
    placed = {(dag, name) for dag, name, _ in tasks(spec)}
    assert {name for dag, name in placed if dag == "root"} == {"exit-handler-1", "finalize"}
    assert {name for dag, name in placed if dag == "comp-exit-handler-1"} == {
        "for-loop-2", "find-leakage", "probe-bias", "train", "train-2", "evaluate", "for-loop-3",
        "condition-4",
    }  # fmt: skip
    assert {name for dag, name in placed if dag == "comp-for-loop-2"} == {"ingest", "crop-faces"}
    assert {name for dag, name in placed if dag == "comp-for-loop-3"} == {"chart"}
    assert {name for dag, name in placed if dag == "comp-condition-4"} == {"register"}


def test_training_sees_no_copies_of_what_it_is_tested_on_and_the_report_tells_of_them(spec):
    found = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    for name in ("train", "train-2", "evaluate"):
        source = found[name]["inputs"]["artifacts"]["leakage"]["taskOutputArtifact"]
        assert source == {"producerTask": "find-leakage", "outputArtifactKey": "leakage"}


def test_only_what_depends_on_nothing_else_is_cached(spec):
    cached = {
        name: bool(task.get("cachingOptions", {}).get("enableCache"))
        for _, name, task in tasks(spec)
        if not name.startswith(("exit", "for", "condition"))
    }
    assert cached == {
        "ingest": True, "crop-faces": True, "find-leakage": True, "probe-bias": True, "train": True,
        "train-2": True, "evaluate": False, "chart": False, "register": False, "finalize": False,
    }  # fmt: skip


def test_every_executor_runs_its_image_and_installs_nothing(spec):
    executors = spec["deploymentSpec"]["executors"]
    assert len(executors) == 10
    for name, executor in executors.items():
        step = name.removeprefix("exec-").removesuffix("-2").replace("-", "_")
        assert executor["container"]["image"] == IMAGES[STEP_IMAGES[step]]
        assert "pip install" not in json.dumps(executor["container"]["command"])


def test_no_upstream_parameter_is_used_inside_the_loop(spec):
    """kfp.local would hand the loop's item to it instead, without a word."""
    loop = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]["for-loop-2"]
    used = loop["inputs"]["parameters"].values()
    assert all("componentInputParameter" in value for value in used)


def test_exit_task_takes_the_status_and_nothing_else(spec):
    (task,) = [task for _, name, task in tasks(spec) if name == "finalize"]
    assert list(task["inputs"]["parameters"]) == ["status"]
    assert "artifacts" not in task["inputs"]


def test_no_run_id_travels_as_a_parameter(spec):
    names = {
        name
        for component in spec["components"].values()
        for name in component.get("inputDefinitions", {}).get("parameters", {})
    }
    assert not {name for name in names if "run_id" in name or "run-id" in name}


@pytest.mark.parametrize("name", ["sample", "paper"])
def test_arguments_are_what_kfp_takes(name, tmp_path, spec):
    """No null and no loop item with a field called name; and every input of the pipeline is given."""
    for key in ("rafdb", "expw", "affectnet"):
        (tmp_path / key).mkdir()
    sources = [f"datasets.{key}.source={tmp_path / key}" for key in ("rafdb", "expw", "affectnet")]
    arguments = load_params(PARAMS / f"{name}.yaml", sources).arguments()
    assert "null" not in json.dumps(arguments)
    assert all("name" not in item for item in arguments["datasets"])
    assert set(arguments) == set(spec["root"]["inputDefinitions"]["parameters"])
