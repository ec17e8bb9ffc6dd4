"""``crossface doctor``: each check finds its fault, hides no other, and tells no secret.

Kubeflow and Kubernetes are servers that speak their APIs; MLflow and the object store are real ones.
"""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
import yaml
from http_servers import mlflow_server
from kfp_server import TOKEN, start_kfp_server  # noqa: F401  a fixture
from s3_server import ACCESS_KEY, BUCKET, SECRET_KEY, start_s3_server  # noqa: F401  a fixture

from crossface.data import s3
from crossface_pipelines.cli import main

KUBE_TOKEN, SECRET_VALUE, PASSWORD = "kube-token-of-ada", "c2VjcmV0LXZhbHVl", "a-password-of-mlflow"
NAMESPACE = "/api/v1/namespaces/faces"


def node(name, labels=None, gpus=0, taints=()):
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"taints": list(taints)},
        "status": {"allocatable": {"cpu": "8", "nvidia.com/gpu": str(gpus)}},
    }


def taint(value, effect="NoSchedule"):
    return {"key": "pool", "value": value, "effect": effect}


@pytest.fixture
def objects():
    """What the Kubernetes API has, by path; a status stands for a refusal."""
    pool = [node("plain"), node("small", {"pool": "gpu"}, 1), node("big", {"pool": "gpu"}, 4, [taint("gpu")])]
    keys = {"access-key-id": SECRET_VALUE, "secret-access-key": SECRET_VALUE}
    return {
        NAMESPACE: {"metadata": {"name": "faces"}},
        f"{NAMESPACE}/serviceaccounts/runner": {"metadata": {"name": "runner"}},
        f"{NAMESPACE}/secrets/crossface-s3": {"metadata": {"name": "crossface-s3"}, "data": keys},
        f"{NAMESPACE}/persistentvolumeclaims/checkpoints": {"status": {"phase": "Bound"}},
        "/api/v1/nodes": {"items": pool},
    }


@pytest.fixture
def kubernetes(objects, tmp_path, monkeypatch):
    """A Kubernetes API, and a kubeconfig that leads to it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = objects.get(urlsplit(self.path).path, 404)
            if self.headers["Authorization"] != f"Bearer {KUBE_TOKEN}":
                found = 401
            status = found if isinstance(found, int) else 200
            body = json.dumps(
                {"message": f"{KUBE_TOKEN} {SECRET_VALUE}"} if status != 200 else found
            ).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    config = {
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "ada"}}],
        "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "ada", "user": {"token": KUBE_TOKEN}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    yield
    server.shutdown()
    server.server_close()


@pytest.fixture
def profile(tmp_path):
    image = "registry.example/crossface@sha256:" + "0" * 64
    (tmp_path / "lock.yaml").write_text(yaml.safe_dump({"data": {"image": image}, "torch": {"image": image}}))
    keys = {"AWS_ACCESS_KEY_ID": "access-key-id", "AWS_SECRET_ACCESS_KEY": "secret-access-key"}
    train = {
        "gpu": {"count": 4},
        "node_selector": {"pool": "gpu"},
        "tolerations": [{"key": "pool", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}],
        "volumes": {"/checkpoints": "checkpoints"},
    }
    values = {
        "images": "lock.yaml",
        "service_account": "runner",
        "steps": {"default": {"secrets": {"crossface-s3": keys}}, "train": train},
    }
    path = tmp_path / "profile.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


@pytest.fixture
def doctor(kfp, profile, capsys, monkeypatch):
    """Runs the command: exit code, and its lines by subject."""
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)

    def doctor(*options):
        capsys.readouterr()
        code = main(["doctor", "--profile", profile, "--namespace", "faces", *options])
        said = capsys.readouterr()
        for secret in (TOKEN, KUBE_TOKEN, SECRET_VALUE, SECRET_KEY, PASSWORD):
            assert secret not in said.out + said.err
        lines = [re.fullmatch(r"(ok|warn|fail|skip) +(.*?): (.*)", line) for line in said.out.splitlines()]
        assert all(lines), said.out
        return code, [(line[2], line[1], line[3]) for line in lines]

    return doctor


@pytest.fixture
def object_store(s3_server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3_server.port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3._make_client.cache_clear()
    yield
    s3._make_client.cache_clear()


def state(findings, subject):
    return next((line[1:] for line in findings if line[0] == subject), None)


def test_everything_is_in_place(doctor, kubernetes, object_store, monkeypatch, tmp_path):
    with mlflow_server(tmp_path, f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "artifacts")) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        code, findings = doctor("--bucket", BUCKET)
    assert (code, {found[1] for found in findings}) == (0, {"ok"}), findings
    assert [found[0] for found in findings] == [
        "Kubeflow", "Kubeflow version", "Kubeflow", "MLflow", "MLflow registry",
        "object store", "namespace faces", "service account runner", "secret crossface-s3",
        "volume claim checkpoints", "GPU nodes of train",
    ]  # fmt: skip
    assert state(findings, "GPU nodes of train")[1] == "1 of 3 offer 4 nvidia.com/gpu"


def test_everything_is_broken(doctor, kubernetes, object_store, monkeypatch, objects, kfp):
    kfp.accepts = set()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ada:{PASSWORD}@127.0.0.1:1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    objects[NAMESPACE] = 403
    del objects[f"{NAMESPACE}/serviceaccounts/runner"]
    del objects[f"{NAMESPACE}/secrets/crossface-s3"]["data"]["secret-access-key"]
    objects[f"{NAMESPACE}/persistentvolumeclaims/checkpoints"] = {"status": {"phase": "Lost"}}
    objects["/api/v1/nodes"]["items"] = [node("small", {"pool": "gpu"}, 1)]
    code, findings = doctor("--bucket", BUCKET)
    assert (code, {found[1] for found in findings}) == (1, {"fail"})
    told = {subject: text for subject, _, text in findings}
    assert "does not accept KFP_TOKEN" in told["Kubeflow"]
    assert "http://***@127.0.0.1:1" in told["MLflow"]
    assert [found[0] for found in findings].count("MLflow") == 1  # one reason, told once
    assert "check AWS_SECRET_ACCESS_KEY" in told["object store"]
    assert told["namespace faces"] == "Kubernetes says 403 Forbidden; ask for the permission to look"
    assert "is not in faces" in told["service account runner"]
    assert told["secret crossface-s3"] == "lacks secret-access-key; add what is missing"
    assert "is lost" in told["volume claim checkpoints"]
    assert "none offers 4 nvidia.com/gpu" in told["GPU nodes of train"]


@pytest.mark.parametrize(
    ("nodes", "found", "said"),
    [
        ([node("plain", {}, 8)], "warn", "no node has pool=gpu now"),  # a pool may be scaled to zero
        (
            [node("a", {"pool": "gpu"}, 2), node("b", {}, 8)],
            "fail",
            "none offers 4 nvidia.com/gpu, the most is 2",
        ),
        (
            [node("a", {"pool": "gpu"}, 4, [taint("others")])],
            "fail",
            "all are tainted pool=others:NoSchedule",
        ),
        ([node("a", {"pool": "gpu"}, 4, [taint("gpu", "NoExecute")])], "fail", "pool=gpu:NoExecute"),
        ([node("a", {"pool": "gpu"}, 4, [taint("gpu"), taint("x")])], "fail", "pool=x:NoSchedule"),
        ([node("a", {"pool": "gpu"}, 4, [taint("x", "PreferNoSchedule")])], "ok", "1 of 1 offer 4"),
        (
            [node("a", {"pool": "gpu"}, 4, [taint("x")]), node("b", {"pool": "gpu"}, 8)],
            "ok",
            "1 of 2 offer 4",
        ),
    ],
)
def test_gpu_nodes(doctor, kubernetes, objects, nodes, found, said):
    objects["/api/v1/nodes"]["items"] = nodes
    code, findings = doctor()
    assert code == (found == "fail")
    assert state(findings, "GPU nodes of train")[0] == found
    assert said in state(findings, "GPU nodes of train")[1]


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ("2.17.3", "ok"),
        ("2.16.0", "ok"),
        ("2.15.0", "warn"),
        ("1.8.22", "fail"),
        ("3.0.0", "warn"),
        ("dev", "warn"),
    ],
)
def test_versions_of_kubeflow(doctor, kfp, version, found):
    kfp.version = version
    code, findings = doctor()
    assert state(findings, "Kubeflow version")[0] == found
    assert code == (found == "fail")


def test_what_is_not_there_is_skipped_and_what_stalls_is_told(doctor, kfp, kubernetes, objects, monkeypatch):
    monkeypatch.setattr("crossface_pipelines.cluster.client.READ_TIMEOUT_S", 3.0)
    kfp.spoil("GET /healthz", "stall", "stall")
    objects[f"{NAMESPACE}/persistentvolumeclaims/checkpoints"] = {"status": {"phase": "Pending"}}
    code, findings = doctor()
    assert code == 1
    assert "does not answer in time" in state(findings, "Kubeflow")[1]
    assert state(findings, "MLflow") == ("skip", "MLFLOW_TRACKING_URI is not set")
    assert state(findings, "object store")[0] == "skip"
    assert state(findings, "volume claim checkpoints")[0] == "warn"
    monkeypatch.delenv("KUBECONFIG")
    code, findings = doctor()
    assert code == 0
    assert findings[-1] == ("Kubernetes", "skip", "no kubeconfig with a context, and not in a cluster")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is missing, or has no context that can be used; correct or unset it"),
        ("{}", "is missing, or has no context that can be used; correct or unset it"),
        (
            f"contexts: [{{name: a, context: {{cluster: b, user: c}}}}]\ncurrent-context: a\n"
            f"clusters: []\nusers: [{{name: c, user: {{token: {KUBE_TOKEN}}}}}]",
            "is missing, or has no context that can be used; correct or unset it",
        ),
        (f"token: {KUBE_TOKEN}: [", "is no kubeconfig (ScannerError); mend or remove it"),
        (KUBE_TOKEN, "is no kubeconfig (TypeError); mend or remove it"),
        (b"\xff\xfe", "is no kubeconfig (UnicodeDecodeError); mend or remove it"),
    ],
)
def test_a_kubeconfig_that_is_none(doctor, monkeypatch, tmp_path, content, said):
    path = tmp_path / "mine"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setenv("KUBECONFIG", str(path))
    code, findings = doctor()
    assert code == 1
    assert findings[-1][:2] == ("Kubernetes", "fail")
    assert findings[-1][2].removeprefix("KUBECONFIG: ") == f"{path} {said}"
