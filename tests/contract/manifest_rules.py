"""Rules for Kubernetes objects: each is a function from objects to complaints."""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from crossface_pipelines.exposure import is_exposed

Object = dict[str, Any]

PLANTED = "planted-in-the-secret"
"""The value of whatever is secret, in the tests."""
NOT_SECRET = {"host", "database", "username"}
STEPS = "kubeflow"
"""Namespace where steps run."""


def namespace_of(item: Object) -> str:
    return item["metadata"].get("namespace", "")


def of_kind(objects: Iterable[Object], *kinds: str) -> list[Object]:
    return [item for item in objects if item["kind"] in kinds]


def workloads(objects: Iterable[Object]) -> list[Object]:
    return of_kind(objects, "Deployment", "StatefulSet")


def containers(objects: Iterable[Object]) -> Iterator[tuple[Object, Object, Object]]:
    """(workload, pod, container)"""
    for item in workloads(objects):
        pod = item["spec"]["template"]["spec"]
        for container in pod.get("initContainers", []) + pod["containers"]:
            yield item, pod, container


def find(objects: Iterable[Object], kind: str, name: str, namespace: str = "crossface") -> Object:
    """Names may end in a hash of the content."""
    pattern = re.compile(rf"{re.escape(name)}(-[a-z0-9]{{10}})?")
    for item in of_kind(objects, kind):
        if namespace_of(item) == namespace and pattern.fullmatch(item["metadata"]["name"]):
            return item
    raise AssertionError(f"no {kind} {namespace}/{name}")


def unconfined(objects: list[Object]) -> list[str]:
    """Containers that may do more than they must."""
    complaints = []
    for item, pod, container in containers(objects):
        of_pod, own = pod.get("securityContext", {}), container.get("securityContext", {})
        context = {**of_pod, **own}
        resources = container.get("resources", {})
        wanted = {
            "not root": context.get("runAsNonRoot") is True and context.get("runAsUser", 0) != 0,
            "seccomp": context.get("seccompProfile") == {"type": "RuntimeDefault"},
            "read-only root": own.get("readOnlyRootFilesystem") is True,
            "not privileged": not own.get("privileged"),
            "no escalation": own.get("allowPrivilegeEscalation") is False,
            "no capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            "limits": {"cpu", "memory"} <= resources.get("limits", {}).keys(),
            "requests": {"cpu", "memory"} <= resources.get("requests", {}).keys(),
            "no token": pod.get("automountServiceAccountToken") is False,
            "no service links": pod.get("enableServiceLinks") is False,
            "not of the node": not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
            and not any("hostPath" in volume for volume in pod.get("volumes", [])),
            "probes": {"readinessProbe", "livenessProbe"} <= container.keys(),
        }
        name = f"{item['metadata']['name']}/{container['name']}"
        complaints += [f"{name}: {what}" for what, holds in wanted.items() if not holds]
    return complaints


def unpinned(images: Iterable[str]) -> list[str]:
    """Images without a fixed tag or digest, or of a registry that not everybody has."""
    complaints = []
    for image in images:
        host, slash, _ = image.partition("/")
        if slash and (re.search("[.:]", host) or host == "localhost"):
            complaints.append(f"{image}: names a registry")
        tag = re.search(r"(@sha256:[0-9a-f]{64}|:[^:/]+)$", image)
        if tag is None or tag[0] == ":latest":
            complaints.append(f"{image}: neither digest nor tag")
    return complaints


def exposed(objects: list[Object]) -> list[str]:
    """Secrets in the open: literal ones, and values that are elsewhere than in a Secret."""
    complaints = []
    for item in of_kind(objects, "Secret"):
        values = {key: base64.b64decode(value).decode() for key, value in item.get("data", {}).items()}
        for key, value in {**values, **item.get("stringData", {})}.items():
            if value != PLANTED and key not in NOT_SECRET:
                complaints.append(f"Secret {item['metadata']['name']}: {key} is literal")
    for item, _, container in containers(objects):
        complaints += [
            f"{item['metadata']['name']}: {variable['name']} is literal"
            for variable in container.get("env", [])
            if "value" in variable and is_exposed(variable["name"], variable["value"])
        ]
    for item in objects:
        if item["kind"] == "ConfigMap":
            named = [key for key, value in item["data"].items() if is_exposed(key, value)]
            complaints += [f"ConfigMap {item['metadata']['name']}: {key}" for key in named]
        if item["kind"] != "Secret" and PLANTED in json.dumps(item):
            complaints.append(f"{item['kind']} {item['metadata']['name']}: has a secret's value")
    return complaints


def pointless(objects: list[Object]) -> list[str]:
    """Services that lead to no port of any pod, and policies and budgets that bind none."""
    complaints = []

    def chosen(item: Object, selector: Object) -> list[Object]:
        return [
            pod["spec"]["template"]
            for pod in workloads(objects)
            if namespace_of(pod) == namespace_of(item)
            and selects(selector, pod["spec"]["template"]["metadata"]["labels"])
        ]

    for item in of_kind(objects, "Service"):
        pods = chosen(item, {"matchLabels": item["spec"]["selector"]})
        names = {name for pod in pods for name in port_names(pod["spec"])}
        complaints += [
            f"Service {item['metadata']['name']}: no pod has port {port['targetPort']}"
            for port in item["spec"]["ports"]
            if port["targetPort"] not in names
        ]
    for item in of_kind(objects, "NetworkPolicy", "PodDisruptionBudget"):
        selector = item["spec"].get("podSelector", item["spec"].get("selector"))
        if not chosen(item, selector):
            complaints.append(f"{item['kind']} {item['metadata']['name']}: binds no pod")
    return complaints


def port_names(pod: Object) -> dict[str, int]:
    return {
        port["name"]: port["containerPort"]
        for container in pod["containers"]
        for port in container.get("ports", [])
    }


def dangling(objects: list[Object]) -> list[str]:
    """References to what is neither here nor external."""
    there = {(item["kind"], namespace_of(item), item["metadata"]["name"]): item for item in objects}
    needed: list[tuple[str, str, str, str | None]] = []
    for item in workloads(objects):
        pod = item["spec"]["template"]["spec"]
        if name := pod.get("serviceAccountName"):
            needed.append(("ServiceAccount", namespace_of(item), name, None))
        for kind, name, key in references(pod):
            needed.append((kind, namespace_of(item), name, key))
    for item in of_kind(objects, "RoleBinding"):
        needed.append((item["roleRef"]["kind"], namespace_of(item), item["roleRef"]["name"], None))
        for subject in item["subjects"]:
            place = subject.get("namespace", namespace_of(item))
            needed.append((subject["kind"], place, subject["name"], None))
    return [
        f"{kind} {namespace}/{name}" + (f": {key}" if key else "")
        for kind, namespace, name, key in needed
        if ((item := there.get((kind, namespace, name))) is None or (key and key not in item["data"]))
    ]


def references(pod: Object) -> Iterator[tuple[str, str, str | None]]:
    """(kind, name, key) of all that a pod reads."""
    for container in pod["containers"]:
        for source in container.get("envFrom", []):
            for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if field in source:
                    yield kind, source[field]["name"], None
        for variable in container.get("env", []):
            for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                if reference := variable.get("valueFrom", {}).get(field):
                    yield kind, reference["name"], reference["key"]
    for volume in pod.get("volumes", []):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"], None
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"], None
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"], None


def generous(objects: list[Object]) -> list[str]:
    """Roles that may do anything, or read secrets that they do not name."""
    complaints = []
    for item in of_kind(objects, "Role", "ClusterRole"):
        for rule in item["rules"]:
            if "*" in rule["verbs"] + rule["resources"] + rule["apiGroups"]:
                complaints.append(f"{item['metadata']['name']}: everything")
            if "secrets" in rule["resources"] and (
                not rule.get("resourceNames") or rule["verbs"] != ["get"] or item["kind"] == "ClusterRole"
            ):
                complaints.append(f"{item['metadata']['name']}: secrets")
    return complaints


def open_to_all(objects: list[Object]) -> list[str]:
    """Namespaces with pods and no denial, and policies that let anybody in or anything out."""
    policies = of_kind(objects, "NetworkPolicy")
    closed = {
        namespace_of(item)
        for item in policies
        if item["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    }
    complaints = [
        f"{namespace}: nothing denied by default"
        for namespace in {namespace_of(item) for item in workloads(objects)} - closed
    ]
    for item in policies:
        for side, field in (("ingress", "from"), ("egress", "to")):
            for rule in item["spec"].get(side, []):
                if not rule.get("ports") or not rule.get(field) or any(map(anyone, rule[field])):
                    complaints.append(f"{item['metadata']['name']}: {side}")
    return complaints


def anyone(peer: Object) -> bool:
    """Whether a policy's peer is everybody, of the cluster or of the world."""
    if block := peer.get("ipBlock"):
        return block["cidr"].endswith("/0") and not block.get("except")
    return not any(peer.get(field) for field in ("namespaceSelector", "podSelector"))


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Kubernetes' label selectors, as far as the manifests use them."""
    for wanted in selector.get("matchExpressions", []):
        value = labels.get(wanted["key"])
        if value is None or (wanted["operator"] == "In" and value not in wanted["values"]):
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


def lets_in(
    objects: list[Object], server: str, namespace: str, labels: dict[str, str], port: int | None = None
) -> bool:
    """Whether a pod with these labels in this namespace reaches the server (on any port: None)."""
    template = next(w["spec"]["template"] for w in workloads(objects) if w["metadata"]["name"] == server)
    numbers = port_names(template["spec"])
    of_namespace = {"kubernetes.io/metadata.name": namespace}
    for policy in of_kind(objects, "NetworkPolicy"):
        if not selects(policy["spec"]["podSelector"], template["metadata"]["labels"]):
            continue
        for rule in policy["spec"].get("ingress", []):
            ports = {numbers.get(one["port"], one["port"]) for one in rule["ports"]}
            for peer in rule["from"]:
                here = (
                    selects(peer["namespaceSelector"], of_namespace)
                    if "namespaceSelector" in peer
                    else namespace == namespace_of(policy)
                )
                if here and selects(peer.get("podSelector", {}), labels) and port in {None, *ports}:
                    return True
    return False
