"""The compiled pipelines: what a cluster and kfp.local get to see."""

import copy
import json
import shutil
from pathlib import Path

import ir_rules
import pytest
import yaml
from ir_rules import is_cached, step_of, tasks

import crossface
import crossface_pipelines
from crossface_pipelines.cli import main
from crossface_pipelines.cluster.names import PIPELINES
from crossface_pipelines.params_file import PARAMS
from crossface_pipelines.source_code import source_profile
from crossface_pipelines.training.params import load_params

ROOT = Path(crossface_pipelines.__file__).parents[2]
PROFILES = ("dev", "prod")
CHECKPOINT = "train.checkpoint.uri=/checkpoints/paper"
GOLDEN = ROOT / "tests" / "golden"
LOCK = f"""\
data: {{image: "registry.example/crossface-data@sha256:{64 * "d"}", tag: "1.0"}}
torch: {{image: "registry.example/crossface-torch@sha256:{64 * "e"}", tag: "1.0"}}
"""


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    """The profiles that come along, beside a lock file with digests."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "manifests" / "profiles", root / "manifests" / "profiles")
    (root / "images").mkdir()
    (root / "images" / "images.lock.yaml").write_text(LOCK)
    return root / "manifests" / "profiles"


@pytest.fixture(scope="module")
def compiled(profiles, tmp_path_factory):
    """The file of each pipeline and profile, as the command writes it."""
    out = tmp_path_factory.mktemp("ir")

    def compile_(pipeline, profile):
        path = out / f"{pipeline}-{profile}.yaml"
        if not path.exists():
            place = ["--pipeline", pipeline, "--profile", str(profiles / f"{profile}.yaml")]
            params = ["sample"] if pipeline == "scoring" else ["paper", "--set", CHECKPOINT]
            assert main(["compile", str(path), "--params", *params, *place]) == 0
        return path

    return compile_


def read(path):
    """The specification, and what each executor asks of Kubernetes."""
    spec, platform = yaml.safe_load_all(path.read_text())
    return spec, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


@pytest.fixture(scope="module")
def spec(compiled):
    return read(compiled("training", "prod"))[0]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_keeps_every_rule(compiled, pipeline, profile):
    path = compiled(pipeline, profile)
    assert path.read_bytes().isascii()
    assert ir_rules.faults(*read(path)) == []


PLANTED = {
    "installs packages": lambda s, p: s["deploymentSpec"]["executors"]["exec-train"]["container"].update(
        command=["sh", "-c", "pip install x"]
    ),
    "without a digest": lambda s, p: s["deploymentSpec"]["executors"]["exec-train"]["container"].update(
        image="torch:latest"
    ),
    "caching should be off": lambda s, p: body(s)["evaluate"].update(cachingOptions={"enableCache": True}),
    "uses the parameter": lambda s, p: body(s)["for-loop-2"]["inputs"]["parameters"].update(
        {"pipelinechannel--crop": {"taskOutputParameter": {"producerTask": "draw", "outputParameterKey": ""}}}
    ),
    "is a loop in a loop": lambda s, p: s["components"]["comp-for-loop-2"]["dag"]["tasks"].update(
        inner=body(s)["for-loop-3"]
    ),
    "a field called name": lambda s, p: parameters(s)["datasets"]["defaultValue"][0].update(name="rafdb"),
    "one of several artifacts": lambda s, p: s["components"]["comp-exit-handler-1"]["dag"].update(
        outputs={"artifacts": {"model": {"artifactSelectors": [{}, {}]}}}
    ),
    "more than the status": lambda s, p: s["root"]["dag"]["tasks"]["finalize"]["inputs"]["parameters"].update(
        version={}
    ),
    "keep the step from its cache": lambda s, p: parameters(s).update({"run-id": {}}),
    "a placeholder inside": lambda s, p: s["deploymentSpec"]["executors"]["exec-train"]["container"][
        "args"
    ].append("run-{{$.pipeline_job_name}}"),
    "is null": lambda s, p: parameters(s)["crop"].update(defaultValue={"size": None}),
    "not ASCII": lambda s, p: parameters(s)["crop"].update(description="\u00e9"),
    "known only at run time": lambda s, p: p["exec-train"].update(
        nodeSelector={"nodeSelectorJson": {"componentInputParameter": "pool"}}
    ),
    "in the open": lambda s, p: s["deploymentSpec"]["executors"]["exec-train"]["container"]["env"].append(
        {"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}
    ),
    "asks for the GPU pool": lambda s, p: p["exec-evaluate"].update(
        tolerations=p["exec-train"]["tolerations"]
    ),
    "is not sent to their pool": lambda s, p: p["exec-train"].pop("nodeSelector"),
    "cannot know its run": lambda s, p: p["exec-train"].pop("fieldPathAsEnv"),
    "may run as root": lambda s, p: p["exec-train"]["securityContext"].update(runAsUser="0"),
    "may run for ever": lambda s, p: p["exec-train"].pop("activeDeadlineSeconds"),
    "all memory of its node": lambda s, p: s["deploymentSpec"]["executors"]["exec-train"]["container"][
        "resources"
    ].pop("memoryLimit"),
    "do not outlive its pod": lambda s, p: p["exec-train"].pop("pvcMount"),
}


@pytest.mark.parametrize(
    ("fault", "source"),
    [
        ("uses the parameter", {"componentInputParameter": "pipelinechannel--detect-changes-Output"}),
        ("is a loop in a loop", None),
    ],
)
def test_a_rule_about_loops_sees_into_conditions(compiled, fault, source):
    spec, platform = copy.deepcopy(read(compiled("retraining", "prod")))
    (dag,) = {dag for dag, name, _ in tasks(spec) if name == "evaluate"}
    inside = spec["components"][dag]["dag"]["tasks"]
    name = next(name for name, task in inside.items() if "parameterIterator" in task)
    if source:
        inside[name]["inputs"]["parameters"]["planted"] = source
        loop = spec["components"][inside[name]["componentRef"]["name"]]["dag"]["tasks"]
        loop["ingest"]["inputs"]["parameters"]["seed"] = {"componentInputParameter": "planted"}
    else:
        loop = spec["components"][inside[name]["componentRef"]["name"]]["dag"]["tasks"]
        spec["components"]["comp-between"] = {"dag": {"tasks": {"inner": inside[name]}}}
        loop["condition-9"] = {"componentRef": {"name": "comp-between"}}
    assert any(fault in found for found in ir_rules.faults(spec, platform))


@pytest.mark.parametrize(("profile", "cached"), [("prod", ir_rules.CACHED), ("dev", set())])
def test_results_are_kept_where_images_cannot_change_under_their_names(compiled, profile, cached):
    found = read(compiled("training", profile))[0]
    assert {step_of(name) for _, name, task in tasks(found) if is_cached(task)} == cached


def body(spec):
    return spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]


def parameters(spec):
    return spec["root"]["inputDefinitions"]["parameters"]


@pytest.mark.parametrize("fault", PLANTED)
def test_each_rule_is_noticed_when_broken(compiled, fault):
    spec, platform = copy.deepcopy(read(compiled("training", "prod")))
    PLANTED[fault](spec, platform)
    assert any(fault in found for found in ir_rules.faults(spec, platform))


def test_every_rule_has_a_planted_fault(compiled):
    noticed = set()
    for plant in PLANTED.values():
        spec, platform = copy.deepcopy(read(compiled("training", "prod")))
        plant(spec, platform)
        noticed |= {rule for rule in ir_rules.RULES if list(rule(spec, platform))}
    assert noticed == set(ir_rules.RULES)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("pipeline", ["training", "retraining", "scoring"])
def test_golden(compiled, pipeline, profile, request):
    """Any change of what a cluster is given shows up in a diff; ``pytest --golden`` accepts it."""
    golden, now = GOLDEN / f"{pipeline}-{profile}.yaml", compiled(pipeline, profile).read_text()
    if request.config.getoption("--golden"):
        golden.write_text(now)
    assert now == golden.read_text(), "a change that is meant: pytest --golden tests/contract"


def test_every_value_of_a_profile_ends_in_the_pipeline(compiled, profiles):
    """Worked by hand for training, which has all there is."""
    spec, platform = read(compiled("training", "prod"))
    container, settings = (
        spec["deploymentSpec"]["executors"]["exec-train"]["container"],
        platform["exec-train"],
    )
    given = yaml.safe_load((profiles / "prod.yaml").read_text())["steps"]
    train, default = given["train"], given["default"]
    resources = container["resources"]
    assert resources["resourceCpuRequest"] == train["cpu"]["request"]
    assert resources["resourceCpuLimit"] == train["cpu"]["limit"]
    assert resources["resourceMemoryRequest"] == train["memory"]["request"]
    assert resources["resourceMemoryLimit"] == train["memory"]["limit"]
    assert resources["accelerator"]["resourceType"] == train["gpu"]["resource"]
    assert resources["accelerator"]["resourceCount"] == str(train["gpu"]["count"])
    assert settings["nodeSelector"]["labels"] == train["node_selector"]
    (toleration,) = settings["tolerations"]
    assert {key: toleration[key] for key in ("key", "operator", "effect")} == train["tolerations"][0]
    mounts = {mount["mountPath"]: mount for mount in settings["emptyDirMounts"]}
    assert mounts["/dev/shm"]["sizeLimit"] == train["shared_memory"]
    assert mounts["/dev/shm"]["medium"] == "Memory"
    assert mounts["/tmp"]["sizeLimit"] == train["scratch"]
    assert {mount["mountPath"]: mount["constant"] for mount in settings["pvcMount"]} == train["volumes"]
    told = {item["name"]: item["value"] for item in container["env"]}
    assert told == {**default["environment"], "CROSSFACE_IMAGE_DIGEST": container["image"]}
    secrets: dict = {}
    for secret in settings["secretAsEnv"]:
        pairs = {pair["envVar"]: pair["secretKey"] for pair in secret["keyToEnv"]}
        secrets.setdefault(secret["secretName"], {}).update(pairs)
    assert secrets == default["secrets"]
    assert settings["podMetadata"]["labels"] == default["pod_labels"]
    assert settings["securityContext"]["runAsUser"] == str(default["user"])
    assert settings["activeDeadlineSeconds"] == str(train["timeout_seconds"])
    retries = {task["retryPolicy"]["maxRetryCount"] for _, name, task in tasks(spec) if name == "train"}
    assert retries == {train["retry"]["attempts"]}
    (policy,) = [task["retryPolicy"] for _, name, task in tasks(spec) if name == "ingest"]
    assert policy["backoffDuration"] == f"{default['retry']['backoff_seconds']}s"
    assert policy["backoffFactor"] == default["retry"]["factor"]
    assert policy["backoffMaxDuration"] == f"{default['retry']['longest_seconds']}s"


def test_command_writes_a_pipeline_that_carries_its_parameters(tmp_path, profiles):
    out = tmp_path / "training.yaml"
    place = ["--profile", str(profiles / "dev.yaml")]
    assert main(["compile", str(out), "--params", "sample", "--set", "train.epochs=7", *place]) == 0
    inputs = read(out)[0]["root"]["inputDefinitions"]["parameters"]
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


def test_shape_of_the_dag(spec):
    placed = {(dag, name) for dag, name, _ in tasks(spec)}
    assert {name for dag, name in placed if dag == "root"} == {"exit-handler-1", "finalize"}
    assert {name for dag, name in placed if dag == "comp-exit-handler-1"} == {
        "for-loop-2", "find-leakage", "probe-bias", "train", "train-2", "evaluate", "for-loop-3",
        "crossface-registration",
    }  # fmt: skip
    assert {name for dag, name in placed if dag == "comp-for-loop-2"} == {"ingest", "crop-faces"}
    assert {name for dag, name in placed if dag == "comp-for-loop-3"} == {"chart"}
    assert {name for dag, name in placed if dag == "comp-crossface-registration"} == {"condition-1"}
    assert {name for dag, name in placed if dag == "comp-condition-1"} == {"register"}


def test_training_sees_no_copies_of_what_it_is_tested_on_and_the_report_tells_of_them(spec):
    found = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    for name in ("train", "train-2", "evaluate"):
        source = found[name]["inputs"]["artifacts"]["leakage"]["taskOutputArtifact"]
        assert source == {"producerTask": "find-leakage", "outputArtifactKey": "leakage"}


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
