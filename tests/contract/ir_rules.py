"""What a compiled pipeline has to keep to on a cluster and in kfp.local: each rule names what breaks it."""

import json
import re
from collections.abc import Iterator
from typing import Any

from crossface_pipelines.exposure import is_exposed

CACHED = {"ingest", "crop_faces", "find_leakage", "probe_bias", "train"}
"""Steps whose result follows from what they are given; all others look at what changes by itself."""
_PLACEHOLDERS = {"{{$}}"}


def faults(spec: dict, platform: dict) -> list[str]:
    """What is wrong with a pipeline, in words.

    Args:
        spec: the pipeline's specification, the first document of the compiled file.
        platform: ``platforms.kubernetes.deploymentSpec.executors`` of the second; empty where there is none.
    """
    return [fault for rule in RULES for fault in rule(spec, platform)]


def tasks(spec: dict) -> Iterator[tuple[str, str, dict]]:
    """Every task of every DAG: (dag, name, task)."""
    dags = {"root": spec["root"], **spec["components"]}
    for dag, component in dags.items():
        for name, task in component.get("dag", {}).get("tasks", {}).items():
            yield dag, name, task


def step_of(executor: str) -> str:
    """``exec-crop-faces-2`` -> ``crop_faces``."""
    return executor.removeprefix("exec-").rstrip("0123456789").rstrip("-").replace("-", "_")


def containers(spec: dict) -> Iterator[tuple[str, dict]]:
    """Every step and its container."""
    for name, executor in spec["deploymentSpec"]["executors"].items():
        yield name, executor["container"]


def installs_nothing(spec: dict, platform: dict) -> Iterator[str]:
    for name, container in containers(spec):
        if "pip install" in json.dumps(container["command"]):
            yield f"{name} installs packages when it starts"


def images_are_digests(spec: dict, platform: dict) -> Iterator[str]:
    for name, container in containers(spec):
        if not re.search(r"@sha256:[0-9a-f]{64}$", container["image"]):
            yield f"{name}: image {container['image']} without a digest"


def caches_only_what_follows_from_its_inputs(spec: dict, platform: dict) -> Iterator[str]:
    for _, name, task in tasks(spec):
        if is_cached(task) and step_of(name) not in CACHED:
            yield f"{name}: caching should be off"


def is_cached(task: dict) -> bool:
    """Whether a result of an earlier run may stand in for the task."""
    return bool(task.get("cachingOptions", {}).get("enableCache"))


def loops_use_no_output_of_another_task(spec: dict, platform: dict) -> Iterator[str]:
    """kfp.local would hand the loop's item to the task instead, without a word."""
    for dag, name, task in tasks(spec):
        if "parameterIterator" not in task:
            continue
        items = task["parameterIterator"]["items"].get("inputParameter")
        body = json.dumps(spec["components"][task["componentRef"]["name"]])
        for key, source in task["inputs"]["parameters"].items():
            # the compiler also hands in what the condition around the loop asks, for nobody's use
            used = f'"componentInputParameter": "{key}"' in body
            if used and key != items and _is_an_output(spec, dag, source):
                yield f"{name} uses the parameter {key} of another task"


def _is_an_output(spec: dict, dag: str, source: dict) -> bool:
    """Whether a parameter comes from a task, perhaps through the inputs of the DAGs around it."""
    if "taskOutputParameter" in source:
        return True
    outer = source.get("componentInputParameter")
    return any(
        _is_an_output(spec, around, task["inputs"]["parameters"][outer])
        for around, _, task in tasks(spec)
        if task["componentRef"]["name"] == dag and outer in task.get("inputs", {}).get("parameters", {})
    )


def loops_are_not_nested(spec: dict, platform: dict) -> Iterator[str]:
    """In kfp.local the inner item would take the place of the outer."""
    looped = {task["componentRef"]["name"] for _, _, task in tasks(spec) if "parameterIterator" in task}
    inside, found = set(looped), set()
    while inside - found:  # also DAGs in DAGs of a loop
        found |= inside
        inside |= {task["componentRef"]["name"] for dag, _, task in tasks(spec) if dag in found}
    for dag, name, task in tasks(spec):
        if dag in found and "parameterIterator" in task:
            yield f"{name} is a loop in a loop"


def loop_items_have_no_name(spec: dict, platform: dict) -> Iterator[str]:
    for key, given in spec["root"].get("inputDefinitions", {}).get("parameters", {}).items():
        value = given.get("defaultValue")
        if isinstance(value, list) and any("name" in item for item in value if isinstance(item, dict)):
            yield f"{key}: an item has a field called name"


def no_choice_between_artifacts(spec: dict, platform: dict) -> Iterator[str]:
    """``OneOf`` of artifacts fails in kfp.local."""
    for dag, component in spec["components"].items():
        for key, output in component.get("dag", {}).get("outputs", {}).get("artifacts", {}).items():
            if len(output.get("artifactSelectors", [])) > 1:
                yield f"{dag}: {key} is one of several artifacts"


def exit_tasks_take_the_status_alone(spec: dict, platform: dict) -> Iterator[str]:
    for _, name, task in tasks(spec):
        if (
            "triggerPolicy" in task
            and task["triggerPolicy"].get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED"
        ):
            inputs = task.get("inputs", {})
            if set(inputs.get("parameters", {})) != {"status"} or inputs.get("artifacts"):
                yield f"{name} takes more than the status"


def run_ids_are_no_parameters(spec: dict, platform: dict) -> Iterator[str]:
    for component, definition in {"root": spec["root"], **spec["components"]}.items():
        for name in definition.get("inputDefinitions", {}).get("parameters", {}):
            if "run_id" in name.replace("-", "_"):
                yield f"{component}: {name} would keep the step from its cache"


def placeholders_stand_alone(spec: dict, platform: dict) -> Iterator[str]:
    """On a cluster a placeholder is replaced only where it is the whole string."""
    for name, container in containers(spec):
        for argument in (*container["command"], *container.get("args", [])):
            if "{{$" in argument and argument not in _PLACEHOLDERS:
                yield f"{name}: a placeholder inside {argument[:40]!r}"


def no_null(spec: dict, platform: dict) -> Iterator[str]:
    if "null" in json.dumps([p.get("defaultValue", 0) for p in _parameters(spec)]):
        yield "a parameter is null, which KFP does not know"


def ascii_only(spec: dict, platform: dict) -> Iterator[str]:
    if not json.dumps([spec, platform], ensure_ascii=False).isascii():
        yield "not ASCII"


def kubernetes_settings_are_constants(spec: dict, platform: dict) -> Iterator[str]:
    """Settings that come from parameters need fields which older backends do not know."""
    for name, settings in platform.items():
        for value in _leaves(settings):
            if value in ("componentInputParameter", "taskOutputParameter"):
                yield f"{name}: a setting that is known only at run time"


def no_secret_in_the_open(spec: dict, platform: dict) -> Iterator[str]:
    for name, container in containers(spec):
        for variable in container.get("env", []):
            if is_exposed(variable["name"], variable["value"]):
                yield f"{name}: {variable['name']} in the open"


def gpu_pool_is_for_training(spec: dict, platform: dict) -> Iterator[str]:
    """Nothing else may stand on a node that costs as much; and training nowhere else, if it has GPUs."""
    for name, container in containers(spec):
        gpus = bool(container.get("resources", {}).get("accelerator"))
        settings = platform.get(name, {})
        pool = bool(settings.get("nodeSelector")) or bool(settings.get("tolerations"))
        if (gpus or pool) and step_of(name) != "train":
            yield f"{name} asks for the GPU pool"
        if gpus and not (settings.get("nodeSelector") and settings.get("tolerations")):
            yield f"{name} has GPUs and is not sent to their pool"


def run_id_comes_from_the_pod(spec: dict, platform: dict) -> Iterator[str]:
    for name, _ in containers(spec):
        found = {item["name"]: item["fieldPath"] for item in platform.get(name, {}).get("fieldPathAsEnv", [])}
        if found.get("KFP_RUN_ID") != "metadata.labels['pipeline/runid']":
            yield f"{name} cannot know its run"


def no_pod_is_root(spec: dict, platform: dict) -> Iterator[str]:
    for name, _ in containers(spec):
        context = platform.get(name, {}).get("securityContext", {})
        if not context.get("runAsNonRoot") or int(context.get("runAsUser", 0)) == 0:
            yield f"{name} may run as root"


def tasks_end_and_are_limited(spec: dict, platform: dict) -> Iterator[str]:
    for name, container in containers(spec):
        if not int(platform.get(name, {}).get("activeDeadlineSeconds", 0)):
            yield f"{name} may run for ever"
        if not container.get("resources", {}).get("memoryLimit"):
            yield f"{name} may take all memory of its node"


def checkpoints_outlive_the_pod(spec: dict, platform: dict) -> Iterator[str]:
    """A failed attempt uploads only logs."""
    for name, _ in containers(spec):
        mounts = [mount["mountPath"] for mount in platform.get(name, {}).get("pvcMount", [])]
        if step_of(name) != "train":
            continue
        for training in ("baseline", "adapted"):
            given = spec["root"]["inputDefinitions"]["parameters"][training]["defaultValue"]
            uri = given["checkpoint"]["uri"]
            if not uri.startswith("s3://") and not any(uri.startswith(f"{mount}/") for mount in mounts):
                yield f"{name}: the {training}'s checkpoints do not outlive its pod"


def _parameters(spec: dict) -> list[dict]:
    return list(spec["root"].get("inputDefinitions", {}).get("parameters", {}).values())


def _leaves(value: Any) -> Iterator[Any]:
    """Keys and values of nested mappings and lists."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


RULES = (
    installs_nothing, images_are_digests, caches_only_what_follows_from_its_inputs,
    loops_use_no_output_of_another_task, loops_are_not_nested, loop_items_have_no_name,
    no_choice_between_artifacts, exit_tasks_take_the_status_alone, run_ids_are_no_parameters,
    placeholders_stand_alone, no_null, ascii_only, kubernetes_settings_are_constants, no_secret_in_the_open,
    gpu_pool_is_for_training, run_id_comes_from_the_pod, no_pod_is_root, tasks_end_and_are_limited,
    checkpoints_outlive_the_pod,
)  # fmt: skip
