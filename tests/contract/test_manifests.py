"""What the overlays would put into a cluster: against Kubernetes' own schemas, and against our rules.

Each rule is shown to find what it is for.
"""

import copy
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import mlflow.cli
import mlflow.environment_variables
import pytest
import yaml
from kubernetes_validate.utils import all_versions, major_minor
from manifest_rules import (
    PLANTED,
    STEPS,
    Object,
    containers,
    dangling,
    exposed,
    find,
    generous,
    lets_in,
    namespace_of,
    open_to_all,
    pointless,
    unconfined,
    unpinned,
    workloads,
)
from mlflow.server.security_utils import is_allowed_host_header

MANIFESTS = Path(__file__).parents[2] / "manifests"
OVERLAYS = ("dev", "prod")
STEP_POD = {"pipeline/runid": "123"}


def kustomize(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the manifests, with a value in every secret."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl, which renders the overlays, is not installed")
    copied = tmp_path_factory.mktemp("manifests") / "manifests"
    shutil.copytree(MANIFESTS, copied, ignore=shutil.ignore_patterns("*.env"))
    for example in copied.rglob("*.env.example"):
        text = re.sub("=$", f"={PLANTED}", example.read_text(), flags=re.MULTILINE)
        example.with_suffix("").write_text(text)
    return copied


@pytest.fixture(scope="module")
def rendered(manifests: Path) -> dict[str, list[Object]]:
    """Objects of each overlay, with those of the plugin."""
    outputs = {}
    for folder in (*(f"overlays/{overlay}" for overlay in OVERLAYS), "kubeflow-plugin"):
        done = kustomize(manifests / folder)
        assert done.returncode == 0, done.stderr
        outputs[Path(folder).name] = list(yaml.safe_load_all(done.stdout))
    plugin = outputs.pop("kubeflow-plugin")
    return {overlay: objects + plugin for overlay, objects in outputs.items()}


# --- the overlays keep the rules


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_takes_every_object(rendered, overlay):
    minors = sorted({major_minor(version) for version in all_versions()}, key=lambda v: int(v.split(".")[1]))
    assert len(rendered[overlay]) > 15
    for version in minors[-3:]:
        for item in rendered[overlay]:
            kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("rule", [unconfined, exposed, pointless, dangling, generous, open_to_all])
def test_overlay_keeps_the_rule(rendered, overlay, rule):
    assert rule(rendered[overlay]) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_are_pinned_and_of_no_registry(rendered, overlay):
    images = [container["image"] for _, _, container in containers(rendered[overlay])]
    assert images
    assert unpinned(images) == []


def test_no_file_names_a_registry():
    text = "\n".join(path.read_text() for path in MANIFESTS.rglob("*.yaml"))
    named = re.findall(r"\b(?:image|newName): *[\"']?([^\s\"',}]+)", text)
    assert "crossface-mlflow" in named
    assert [line for line in unpinned(named) if "registry" in line] == []


def test_an_overlay_without_its_secrets_says_which_file_is_missing(manifests):
    for overlay in OVERLAYS:
        folder = manifests / "overlays" / overlay
        for example in sorted(folder.glob("*.env.example")):
            values = example.with_suffix("")
            text = values.read_text()
            values.unlink()
            done = kustomize(folder)
            values.write_text(text)
            assert done.returncode != 0
            assert str(values) in done.stderr


# --- the rules find what they are for


def mlflow_pod(objects: list[Object]) -> Object:
    return find(objects, "Deployment", "mlflow")["spec"]["template"]["spec"]


def mlflow_container(objects: list[Object]) -> Object:
    return mlflow_pod(objects)["containers"][0]


def add_literal_secret(objects: list[Object]) -> None:
    objects.append({"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "hunter2"}})


def add_policy(**spec: Any) -> Any:
    metadata = {"name": "new", "namespace": "crossface"}
    return lambda objects: objects.append({"kind": "NetworkPolicy", "metadata": metadata, "spec": spec})


def add_role(**rule: Any) -> Any:
    rules = [{"apiGroups": [""], "verbs": ["get"], **rule}]
    return lambda objects: objects.append({"kind": "Role", "metadata": {"name": "new"}, "rules": rules})


def remove(kind: str, name: str) -> Any:
    return lambda objects: objects.remove(find(objects, kind, name))


ALL_PODS: Object = {"podSelector": {}}
TO_5000 = [{"port": 5000}]
VIOLATIONS = {
    "root": (unconfined, lambda o: mlflow_pod(o)["securityContext"].update(runAsUser=0)),
    "root of a container": (
        unconfined,
        lambda o: mlflow_container(o)["securityContext"].update(runAsNonRoot=False),
    ),
    "no limit": (unconfined, lambda o: mlflow_container(o)["resources"]["limits"].pop("memory")),
    "no requests": (unconfined, lambda o: mlflow_container(o)["resources"].pop("requests")),
    "writable root": (
        unconfined,
        lambda o: mlflow_container(o)["securityContext"].pop("readOnlyRootFilesystem"),
    ),
    "privileged": (unconfined, lambda o: mlflow_container(o)["securityContext"].update(privileged=True)),
    "escalation": (
        unconfined,
        lambda o: mlflow_container(o)["securityContext"].pop("allowPrivilegeEscalation"),
    ),
    "capabilities": (
        unconfined,
        lambda o: mlflow_container(o)["securityContext"]["capabilities"].update(add=["NET_RAW"]),
    ),
    "seccomp": (unconfined, lambda o: mlflow_pod(o)["securityContext"].pop("seccompProfile")),
    "token": (unconfined, lambda o: mlflow_pod(o).pop("automountServiceAccountToken")),
    "MLFLOW_PORT from Kubernetes": (unconfined, lambda o: mlflow_pod(o).pop("enableServiceLinks")),
    "folder of the node": (
        unconfined,
        lambda o: mlflow_pod(o)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    ),
    "no probe": (unconfined, lambda o: mlflow_container(o).pop("livenessProbe")),
    "literal secret": (exposed, add_literal_secret),
    "secret in a variable": (
        exposed,
        lambda o: mlflow_container(o)["env"].append({"name": "PGPASSWORD", "value": "hunter2"}),
    ),
    "secret in a config map": (
        exposed,
        lambda o: find(o, "ConfigMap", "mlflow-options")["data"].update(URI=f"postgresql://me:{PLANTED}@db"),
    ),
    "named secret in a config map": (
        exposed,
        lambda o: find(o, "ConfigMap", "mlflow-options")["data"].update(MLFLOW_FLASK_SERVER_SECRET_KEY="x"),
    ),
    "service of no pod": (
        pointless,
        lambda o: find(o, "Service", "mlflow")["spec"]["selector"].update({"app.kubernetes.io/name": "x"}),
    ),
    "service of no port": (
        pointless,
        lambda o: find(o, "Service", "mlflow")["spec"]["ports"][0].update(targetPort="grpc"),
    ),
    "policy of no pod": (pointless, add_policy(podSelector={"matchLabels": {"app": "x"}})),
    "no secret": (dangling, remove("Secret", "mlflow-db")),
    "no key": (dangling, lambda o: find(o, "Secret", "mlflow-db")["data"].pop("host")),
    "no config map": (dangling, remove("ConfigMap", "mlflow-options")),
    "no account": (dangling, remove("ServiceAccount", "mlflow")),
    "no claim": (
        dangling,
        lambda o: mlflow_pod(o)["volumes"].append(
            {"name": "x", "persistentVolumeClaim": {"claimName": "lost"}}
        ),
    ),
    "all rights": (generous, add_role(resources=["pods"], verbs=["*"])),
    "all secrets": (generous, add_role(resources=["secrets"])),
    "change a secret": (generous, add_role(resources=["secrets"], resourceNames=["s"], verbs=["update"])),
    "no denial": (open_to_all, remove("NetworkPolicy", "default-deny")),
    "from anywhere": (open_to_all, add_policy(**ALL_PODS, ingress=[{"ports": TO_5000}])),
    "on any port": (
        open_to_all,
        add_policy(**ALL_PODS, ingress=[{"from": [{"podSelector": {"matchLabels": {"a": "b"}}}]}]),
    ),
    "from the cluster": (
        open_to_all,
        add_policy(**ALL_PODS, ingress=[{"from": [{"namespaceSelector": {}}], "ports": TO_5000}]),
    ),
    "to the world": (
        open_to_all,
        add_policy(**ALL_PODS, egress=[{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": TO_5000}]),
    ),
}


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize(("rule", "violate"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_violation_is_found(rendered, overlay, rule, violate):
    objects = copy.deepcopy(rendered[overlay])
    violate(objects)
    assert len(rule(objects)) >= 1


@pytest.mark.parametrize(
    "image", ["mlflow", "mlflow:latest", "registry.example/mlflow:1", "localhost/mlflow:1", "host:5000/m:1"]
)
def test_an_unpinned_image_is_found(image):
    assert unpinned([image])


# --- profiles, servers and policies go together


def profile(name: str) -> Object:
    return yaml.safe_load((MANIFESTS / "profiles" / f"{name}.yaml").read_text())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_has_what_the_profile_of_its_name_asks_for(rendered, overlay):
    objects, file = rendered[overlay], profile(overlay)
    account = ("ServiceAccount", STEPS, file["service_account"])
    there = {(item["kind"], namespace_of(item), item["metadata"]["name"]): item for item in objects}
    assert account in there
    steps = file["steps"].values()
    claims = {claim for step in steps for claim in step.get("volumes", {}).values()}
    assert claims
    assert {("PersistentVolumeClaim", STEPS, claim) for claim in claims} <= there.keys()
    secrets = [pair for step in steps for pair in step.get("secrets", {}).items()]
    assert secrets
    for name, variables in secrets:
        assert set(variables.values()) <= there["Secret", STEPS, name]["data"].keys()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_step_reaches_the_servers_of_its_profile_and_nobody_else_does(rendered, overlay):
    objects = rendered[overlay]
    steps = profile(overlay)["steps"].values()
    values = {value for step in steps for value in step.get("environment", {}).values()}
    urls = [urlsplit(value) for value in values if value.startswith("http")]
    assert urls
    for url in urls:
        name, namespace, _ = url.hostname.split(".")
        service = find(objects, "Service", name, namespace)
        assert url.port in {port["port"] for port in service["spec"]["ports"]}
        assert lets_in(objects, name, STEPS, STEP_POD, url.port)
    for item in workloads(objects):
        server = item["metadata"]["name"]
        assert not lets_in(objects, server, "elsewhere", {"app": "stranger"})
        assert not lets_in(objects, server, STEPS, {"app": "stranger"})
        assert not lets_in(objects, server, "elsewhere", STEP_POD)
    if overlay == "dev":
        assert not lets_in(objects, "postgres", STEPS, STEP_POD)
        mlflow_labels = find(objects, "Deployment", "mlflow")["spec"]["template"]["metadata"]["labels"]
        assert lets_in(objects, "postgres", "crossface", mlflow_labels, 5432)
        assert lets_in(objects, "object-store", "crossface", mlflow_labels, 8333)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_mlflow_knows_its_options_and_takes_its_clients(rendered, overlay):
    options = find(rendered[overlay], "ConfigMap", "mlflow-options")["data"]
    own = {name for name in vars(mlflow.environment_variables) if name.startswith("MLFLOW_")}
    own |= {option.envvar for option in mlflow.cli.cli.commands["server"].params if option.envvar}
    assert [name for name in options if name.startswith("MLFLOW_") and name not in own] == []
    hosts = options["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    client = urlsplit(profile(overlay)["steps"]["default"]["environment"]["MLFLOW_TRACKING_URI"])
    assert is_allowed_host_header(hosts, client.netloc)
    assert is_allowed_host_header(hosts, "localhost:5000")
    assert not is_allowed_host_header(hosts, "elsewhere.example:5000")
    for origin in filter(None, options.get("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", "").split(",")):
        assert is_allowed_host_header(hosts, urlsplit(origin).netloc)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubeflows_plugin_finds_server_and_credentials(rendered, overlay):
    assert lets_in(rendered[overlay], "mlflow", STEPS, {"app": "ml-pipeline"}, 5000)
    path = MANIFESTS / "kubeflow-plugin" / f"plugins.{overlay}.json"
    plugin = json.loads(path.read_text())["plugins"]["mlflow"]
    assert plugin["endpoint"] == profile(overlay)["steps"]["default"]["environment"]["MLFLOW_TRACKING_URI"]
    asks = "basic-auth" in mlflow_container(rendered[overlay]).get("args", [])
    assert (plugin["settings"]["authType"] == "basic-auth") == asks
    if asks:
        keys = plugin["settings"]["credentialSecretRef"].values()
        assert set(keys) <= find(rendered[overlay], "Secret", "kfp-mlflow-credentials", STEPS)["data"].keys()
