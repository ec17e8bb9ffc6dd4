"""The example of manifests/webhooks, against a real MLflow server: over HTTP, with the lock beside it."""

import hashlib
import hmac
import queue
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest
from http_servers import mlflow_server
from mlflow import MlflowClient
from s3_server import free_ports

from crossface_pipelines.cli import main

EXAMPLE = Path(__file__).parents[2] / "manifests" / "webhooks"
SECRET = "between you and me"
BODY = b'{"data": {"name": "faces", "alias": "champion", "version": "6"}}'


def answer(url, data=None, **headers):
    """Status of a request, once someone listens."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30).status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def sign(body, sent, secret=SECRET):
    digest = hmac.new(secret.encode(), b"id.%d." % sent + body, hashlib.sha256).digest()
    signature = f"v1,{b64encode(digest).decode()}"
    return {"X-MLflow-Delivery-Id": "id", "X-MLflow-Timestamp": str(sent), "X-MLflow-Signature": signature}


@pytest.fixture
def receiver(monkeypatch):
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    (port,) = free_ports(1)
    command, lines = [sys.executable, EXAMPLE / "receiver.py", str(port)], queue.Queue()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        threading.Thread(
            target=lambda: [lines.put(line.strip()) for line in process.stdout], daemon=True
        ).start()
        try:
            yield f"http://127.0.0.1:{port}", lines
        finally:
            process.terminate()


def test_receiver_believes_only_what_is_signed_and_new(receiver):
    url, lines = receiver
    now = int(time.time())
    forged = [
        {},
        {**sign(BODY, now), "X-MLflow-Signature": "v1,\xe9"},
        sign(BODY, now, "another secret"),
        sign(BODY.replace(b"6", b"7"), now),
        {**sign(BODY, now - 10), "X-MLflow-Timestamp": str(now)},
        sign(BODY, now - 1000),
    ]
    assert [answer(url, BODY, **headers) for headers in forged] == [401] * len(forged)
    assert answer(url, BODY, **sign(BODY, now)) == 204
    assert lines.get(timeout=30) == "faces: version 6 is the champion"
    assert lines.empty()


def test_a_promotion_over_http_is_heard_of(receiver, tmp_path, monkeypatch, capsys):
    url, lines = receiver
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    settings = {
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": b64encode(bytes(32)).decode(),
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    }
    monkeypatch.setenv("CROSSFACE_LOCK_URI", store)
    with mlflow_server(tmp_path, store, str(tmp_path / "files"), **settings) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
        subprocess.run([sys.executable, EXAMPLE / "create_webhook.py", url], check=True)
        client = MlflowClient(server)
        client.create_registered_model("faces")
        for _ in range(2):
            run = client.create_run("0").info
            client.create_model_version("faces", run.artifact_uri, run.run_id)
        client.set_registered_model_alias("faces", "challenger", "2")
        assert main(["promote", "2", "--name", "faces"]) == 0
        assert main(["promote", "1", "--name", "faces", "--why", "to see"]) == 1
    assert lines.get(timeout=60) == "faces: version 2 is the champion"
    assert lines.empty()
