"""Whether the Kubernetes namespace of the runs has what a profile asks for."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from crossface.errors import ConfigError
from crossface_pipelines.cluster.checks import Finding, findings
from crossface_pipelines.placement import Placement, Toleration
from crossface_pipelines.profiles import Profile

_KUBECONFIG = "~/.kube/config"
_TIMEOUT_S = (5.0, 15.0)
_REPELS = ("NoSchedule", "NoExecute")


def kubernetes(profile: Profile, namespace: str) -> Iterator[Finding]:
    """Namespace, service account, Secrets, volumes and GPU nodes.

    Args:
        profile: of the runs.
        namespace: of the runs; empty: ``kubeflow``, where an installation for one user has them.
    """
    core = _core()
    if core is None:
        yield Finding("skip", "Kubernetes", "no kubeconfig with a context, and not in a cluster")
        return
    namespace = namespace or "kubeflow"
    checks = {
        f"namespace {namespace}": lambda: _namespace(core, namespace),
        "service account": lambda: _service_account(core, namespace, profile.service_account),
        "secrets": lambda: _secrets(core, namespace, profile),
        "volumes": lambda: _volumes(core, namespace, profile),
        "GPU nodes": lambda: _gpus(core, profile),
    }
    for subject, check in checks.items():
        yield from findings(subject, check)


def _core() -> Any:
    """The API of the kubeconfig's context, or of the cluster that this is a pod of; None without either.

    Raises:
        ConfigError: the kubeconfig is none, or KUBECONFIG names one that is of no use.
    """
    from kubernetes import client, config
    from urllib3 import Retry

    configuration = client.Configuration()
    named = os.environ.get("KUBECONFIG", "")
    # what the loader says may hold the token of a user, so none of it is repeated
    try:
        config.load_kube_config(named or _KUBECONFIG, client_configuration=configuration)
    except config.ConfigException:
        if named:
            raise ConfigError(
                f"KUBECONFIG: {named} is missing, or has no context that can be used; correct or unset it"
            ) from None
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            return None
    except Exception as error:  # of any kind: it takes for granted that the file is a kubeconfig
        where = f"KUBECONFIG: {named}" if named else _KUBECONFIG
        raise ConfigError(f"{where} is no kubeconfig ({type(error).__name__}); mend or remove it") from None
    configuration.retries = Retry(total=2, connect=1, read=0, redirect=1)
    return client.CoreV1Api(client.ApiClient(configuration))


def _ask(call: Any, *names: str, **query: Any) -> Any:
    """What the API answers, or None where there is no such object.

    Raises:
        ConfigError: it does not say.
    """
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        return call(*names, **query, _request_timeout=_TIMEOUT_S)
    except ApiException as error:
        if error.status == 404:
            return None
        hint = {401: "log in again", 403: "ask for the permission to look"}.get(error.status, "try again")
        raise ConfigError(f"Kubernetes says {error.status} {error.reason}; {hint}") from None
    except HTTPError as error:
        raise ConfigError(
            f"Kubernetes cannot be reached ({type(error).__name__}); check the context of your kubeconfig"
        ) from None


def _namespace(core: Any, namespace: str) -> Iterator[Finding]:
    there = _ask(core.read_namespace, namespace)
    yield (
        Finding("ok", f"namespace {namespace}", "is there")
        if there
        else Finding(
            "fail", f"namespace {namespace}", "is not there; create it, or name another with --namespace"
        )
    )


def _service_account(core: Any, namespace: str, name: str) -> Iterator[Finding]:
    if not name:
        yield Finding("skip", "service account", "the profile names none")
        return
    there = _ask(core.read_namespaced_service_account, name, namespace)
    yield (
        Finding("ok", f"service account {name}", "is there")
        if there
        else Finding("fail", f"service account {name}", f"is not in {namespace}; apply the manifests")
    )


def _secrets(core: Any, namespace: str, profile: Profile) -> Iterator[Finding]:
    wanted: dict[str, set[str]] = {}
    for placement in profile.placements.values():
        for name, variables in placement.secrets.items():
            wanted.setdefault(name, set()).update(variables.values())
    for name, keys in sorted(wanted.items()):
        secret = _ask(core.read_namespaced_secret, name, namespace)
        if secret is None:
            text = f"is not in {namespace}; create it with the keys {', '.join(sorted(keys))}"
            yield Finding("fail", f"secret {name}", text)
        elif missing := sorted(keys - set(secret.data or {})):
            yield Finding("fail", f"secret {name}", f"lacks {', '.join(missing)}; add what is missing")
        else:
            yield Finding("ok", f"secret {name}", f"has {', '.join(sorted(keys))}")


def _volumes(core: Any, namespace: str, profile: Profile) -> Iterator[Finding]:
    claims = {claim for placement in profile.placements.values() for claim in placement.volumes.values()}
    for claim in sorted(claims):
        subject = f"volume claim {claim}"
        found = _ask(core.read_namespaced_persistent_volume_claim, claim, namespace)
        phase = found.status.phase if found else ""
        if found is None:
            yield Finding("fail", subject, f"is not in {namespace}; create it")
        elif phase == "Bound":
            yield Finding("ok", subject, "is bound")
        elif phase == "Pending":
            text = "is not bound yet; some storage classes wait for the first pod, else see its events"
            yield Finding("warn", subject, text)
        else:
            yield Finding(
                "fail", subject, f"is {phase.lower() or 'in no state'}; its volume is gone, make it anew"
            )


def _gpus(core: Any, profile: Profile) -> Iterator[Finding]:
    placements = {step: one for step, one in profile.placements.items() if one.gpu}
    if not placements:
        yield Finding("skip", "GPU nodes", "the profile asks for none")
        return
    nodes = _ask(core.list_node).items
    for step, placement in placements.items():
        yield _fitting(step, placement, nodes)


def _fitting(step: str, placement: Placement, nodes: list[Any]) -> Finding:
    """Whether some node takes a pod of this step, when nothing else is on it."""
    subject, gpu = f"GPU nodes of {step}", placement.gpu
    assert gpu is not None
    labelled = [node for node in nodes if _has(node.metadata.labels or {}, placement.node_selector)]
    if not labelled:
        labels = ", ".join(f"{key}={value}" for key, value in placement.node_selector.items())
        text = (
            f"no node has {labels} now; fine where an autoscaler makes one, "
            f"else label one, or correct steps.{step}.node_selector"
        )
        return Finding("warn", subject, text)
    equipped = [node for node in labelled if _gpu_count(node, gpu.resource) >= gpu.count]
    if not equipped:
        most = max(_gpu_count(node, gpu.resource) for node in labelled)
        text = f"none offers {gpu.count} {gpu.resource}, the most is {most}; ask for less, or see its plugin"
        return Finding("fail", subject, text)
    repelling = [_repelling(node, placement.tolerations) for node in equipped]
    if all(repelling):
        text = f"all are tainted {repelling[0]}; tolerate it in steps.{step}.tolerations"
        return Finding("fail", subject, text)
    return Finding("ok", subject, f"{repelling.count('')} of {len(nodes)} offer {gpu.count} {gpu.resource}")


def _has(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in wanted.items())


def _gpu_count(node: Any, resource: str) -> int:
    return int((node.status.allocatable or {}).get(resource, 0))


def _repelling(node: Any, tolerations: tuple[Toleration, ...]) -> str:
    """The first taint that keeps a pod away, or nothing; a cordoned node has one too."""
    for taint in node.spec.taints or ():
        if taint.effect in _REPELS and not any(_tolerates(one, taint) for one in tolerations):
            return f"{taint.key}{f'={taint.value}' if taint.value else ''}:{taint.effect}"
    return ""


def _tolerates(toleration: Toleration, taint: Any) -> bool:
    return (
        toleration.key == taint.key
        and toleration.effect in (None, taint.effect)
        and (toleration.operator == "Exists" or toleration.value == (taint.value or ""))
    )
