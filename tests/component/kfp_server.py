"""A server that speaks the REST API of Kubeflow Pipelines over real sockets; its state is in memory.

Names and types of all fields are those of KFP's own generated models, in both directions. It is as strict as
the real one in what the client relies on: no unknown fields, no parameters that the pipeline does not have,
and no name twice. It says little at a time, so that listings come in pages.
"""

import itertools
import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api as api
import pytest
import yaml

TOKEN = "eyJ-a-token-that-nobody-may-see"
PAGE = 2  # things in one answer
_SERIALIZER = api.ApiClient(api.Configuration())


class RefusalError(Exception):
    """Answered instead: HTTP status and what the server says."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class KfpServer(ThreadingHTTPServer):
    """Its state is there to be looked at, and its behaviour to be spoilt."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = f"http://127.0.0.1:{self.server_port}"
        self.version = "2.17.0"
        self.accepts: set[str] = set()  # Authorization or Cookie headers
        self.pipelines: list[Any] = []
        self.versions: list[Any] = []
        self.experiments: list[Any] = []
        self.runs: list[Any] = []
        self.recurring: list[Any] = []
        self.progress: list[tuple[str, list[Any]]] = []  # state and tasks of every run, one an answer
        self.requests: list[str] = []
        self.headers: list[Any] = []
        self.faults: dict[str, list[Any]] = {}
        self.over = threading.Event()
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def spoil(self, request: str, *faults: Any) -> None:
        """Answer the next requests that begin so with faults.

        ``taken``: done, but answered as if somebody else had been first; ``stall``; ``drop`` the connection;
        ``page``: a sign-in page; a status; a function that is called before the answer; None: no fault.
        """
        self.faults.setdefault(request, []).extend(faults)

    def fault_for(self, request: str) -> Any:
        with self._lock:
            for start, faults in self.faults.items():
                if request.startswith(start) and faults:
                    return faults.pop(0)
        return None

    def sent(self, start: str) -> list[str]:
        return [request for request in self.requests if request.startswith(start)]

    def stamp(self) -> tuple[str, datetime]:
        """An id, and a time that no other thing has."""
        with self._lock:
            number = next(self._ids)
        return f"id-{number:04}", datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that went away are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    server: KfpServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = url.path.removeprefix("/apis/v2beta1")
        request = f"{self.command} {path}"
        self.server.requests.append(request)
        self.server.headers.append(self.headers)
        fault = self.server.fault_for(request)
        if callable(fault):
            fault()
        if fault == "stall":
            self.server.over.wait(60)
        if fault in ("stall", "drop"):
            self.close_connection = True
            return None
        try:
            if not self.server.accepts & {self.headers["Authorization"], self.headers["Cookie"]}:
                raise RefusalError(
                    401, f"{self.headers['Authorization']} {self.headers['Cookie']} is not valid"
                )
            if isinstance(fault, int):
                said = f"{self.headers['Authorization']} {self.headers['Cookie']}"
                parts = " ".join(re.split(r"[\s;=]+", said)[::-1])  # each secret without what is before it
                raise RefusalError(fault, f"rpc error: {said}: {parts}: " + "of no use, " * 100)
            if fault == "page":
                return self.reply(200, b"<html>Sign in</html>", "text/html; charset=utf-8")
            answer = self.answer(path)
            if fault == "taken":
                raise RefusalError(409, "already exists")
        except RefusalError as refusal:
            said = {"error": str(refusal), "code": 2, "message": str(refusal), "details": []}
            return self.reply(refusal.status, json.dumps(said).encode())
        document = answer if isinstance(answer, dict) else _SERIALIZER.sanitize_for_serialization(answer)
        return self.reply(200, json.dumps(document).encode())

    do_POST = do_GET  # noqa: N815

    def answer(self, path: str) -> Any:
        for command, pattern, method in _ROUTES:
            if self.command == command and (match := re.fullmatch(pattern, path)):
                return method(self, *match.groups())
        raise RefusalError(404, f"{path} not found")

    def health(self) -> dict[str, Any]:
        return {
            "commit_sha": "0",
            "tag_name": self.server.version,
            "multi_user": False,
            "pipeline_store": "database",
        }

    def listed(self, things: list[Any], key: str, answer: type) -> Any:
        start = int(self.query.get("page_token") or 0)
        if "filter" in self.query:
            (predicate,) = json.loads(self.query["filter"])["predicates"]
            assert predicate["operation"] == "EQUALS"
            things = [one for one in things if getattr(one, predicate["key"]) == predicate["stringValue"]]
        if namespace := self.query.get("namespace"):
            things = [one for one in things if one.namespace == namespace]
        token = str(start + PAGE) if start + PAGE < len(things) else None
        return answer(**{key: things[start : start + PAGE] or None}, next_page_token=token)

    def read(self, model: type) -> Any:
        document = json.loads(self.body)
        unknown = set(document) - set(model.attribute_map.values())
        if self.server.version < "2.17":
            unknown |= set(document) & {"plugins_input"}
        if unknown:
            raise RefusalError(400, f"unknown field {sorted(unknown)}")
        return _SERIALIZER.deserialize(SimpleNamespace(data=self.body.decode()), model)

    def list_pipelines(self) -> Any:
        return self.listed(self.server.pipelines, "pipelines", api.V2beta1ListPipelinesResponse)

    def create_pipeline(self) -> Any:
        made = self.read(api.V2beta1Pipeline)
        self.refuse_twin(made, self.server.pipelines)
        made.pipeline_id, made.created_at = self.server.stamp()
        self.server.pipelines.append(made)
        return made

    def list_versions(self, pipeline: str) -> Any:
        mine = [one for one in self.server.versions if one.pipeline_id == pipeline]
        return self.listed(mine, "pipeline_versions", api.V2beta1ListPipelineVersionsResponse)

    def get_version(self, pipeline: str, version: str) -> Any:
        return self.found(self.server.versions, "pipeline_version_id", version)

    def upload_version(self) -> Any:
        head = f"Content-Type: {self.headers['Content-Type']}\n\n".encode()
        (part,) = BytesParser().parsebytes(head + self.body).get_payload()
        assert part.get_param("name", header="content-disposition") == "uploadfile"
        assert part.get_filename().endswith(".yaml")
        spec, *platform = yaml.safe_load_all(part.get_payload(decode=True))
        made = api.V2beta1PipelineVersion(
            pipeline_id=self.query["pipelineid"],
            name=self.query["name"],
            display_name=self.query["display_name"],
            pipeline_spec={"pipeline_spec": spec, "platform_spec": platform[0]} if platform else spec,
        )
        self.refuse_twin(made, [one for one in self.server.versions if one.pipeline_id == made.pipeline_id])
        made.pipeline_version_id, made.created_at = self.server.stamp()
        self.server.versions.append(made)
        return made

    def list_experiments(self) -> Any:
        return self.listed(self.server.experiments, "experiments", api.V2beta1ListExperimentsResponse)

    def create_experiment(self) -> Any:
        made = self.read(api.V2beta1Experiment)
        self.refuse_twin(made, self.server.experiments)
        made.experiment_id, made.created_at = self.server.stamp()
        made.storage_state = "AVAILABLE"
        self.server.experiments.append(made)
        return made

    def list_runs(self) -> Any:
        return self.listed(self.server.runs, "runs", api.V2beta1ListRunsResponse)

    def create_run(self) -> Any:
        made = self.read(api.V2beta1Run)
        self.check_reference(made)
        made.run_id, made.created_at = self.server.stamp()
        made.state = "PENDING"
        self.server.runs.append(made)
        return made

    def get_run(self, run: str) -> Any:
        found = self.found(self.server.runs, "run_id", run)
        if self.server.progress:
            found.state, tasks = self.server.progress.pop(0)
            found.run_details = api.V2beta1RunDetails(task_details=tasks)
        return found

    def list_recurring(self) -> Any:
        return self.listed(self.server.recurring, "recurring_runs", api.V2beta1ListRecurringRunsResponse)

    def create_recurring(self) -> Any:
        made = self.read(api.V2beta1RecurringRun)
        self.check_reference(made)
        made.recurring_run_id, made.created_at = self.server.stamp()
        made.status = {"ENABLE": "ENABLED", "DISABLE": "DISABLED"}[made.mode]
        self.server.recurring.append(made)
        return made

    def set_recurring(self, recurring: str, action: str) -> dict[str, Any]:
        found = self.found(self.server.recurring, "recurring_run_id", recurring)
        found.mode, found.status = action.upper(), f"{action.upper()}D"
        return {}

    def found(self, things: list[Any], key: str, value: str) -> Any:
        for one in things:
            if getattr(one, key) == value:
                return one
        raise RefusalError(404, f"{key} {value} not found")

    def refuse_twin(self, made: Any, others: list[Any]) -> None:
        if made.display_name in {one.display_name for one in others}:
            raise RefusalError(409, f"{made.display_name} already exists")

    def check_reference(self, made: Any) -> None:
        """Pipeline, version and experiment are there, and the parameters are those of the pipeline."""
        reference = made.pipeline_version_reference
        version = self.found(self.server.versions, "pipeline_version_id", reference.pipeline_version_id)
        if version.pipeline_id != reference.pipeline_id:
            raise RefusalError(400, "the version is of another pipeline")
        self.found(self.server.experiments, "experiment_id", made.experiment_id)
        spec = version.pipeline_spec.get("pipeline_spec", version.pipeline_spec)
        inputs, given = spec["root"]["inputDefinitions"]["parameters"], made.runtime_config.parameters
        missing = {name for name, one in inputs.items() if "defaultValue" not in one} - set(given)
        if missing or set(given) - set(inputs):
            raise RefusalError(400, f"parameters: {sorted(missing)} or {sorted(given)}")
        # a protobuf Struct has no integers
        whole = json.loads(json.dumps(given), parse_int=float)
        made.runtime_config.parameters = whole

    def reply(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response_only(status)
        if status in (429, 503):
            self.send_header("Retry-After", "2")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


_ROUTES = (
    ("GET", "/healthz", _Handler.health),
    ("GET", "/pipelines", _Handler.list_pipelines),
    ("POST", "/pipelines", _Handler.create_pipeline),
    ("POST", "/pipelines/upload_version", _Handler.upload_version),
    ("GET", "/pipelines/([^/]+)/versions", _Handler.list_versions),
    ("GET", "/pipelines/([^/]+)/versions/([^/]+)", _Handler.get_version),
    ("GET", "/experiments", _Handler.list_experiments),
    ("POST", "/experiments", _Handler.create_experiment),
    ("GET", "/runs", _Handler.list_runs),
    ("POST", "/runs", _Handler.create_run),
    ("GET", "/runs/([^/:]+)", _Handler.get_run),
    ("GET", "/recurringruns", _Handler.list_recurring),
    ("POST", "/recurringruns", _Handler.create_recurring),
    ("POST", "/recurringruns/([^/:]+):(enable|disable)", _Handler.set_recurring),
)


@pytest.fixture(name="kfp")
def start_kfp_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[KfpServer]:
    """A server that the environment names, a token in it, and nobody's home folder."""
    for name in ("KFP_TOKEN_FILE", "KF_PIPELINES_SA_TOKEN_PATH", "KFP_COOKIES", "KFP_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    server = KfpServer()
    server.accepts = {f"Bearer {TOKEN}"}
    monkeypatch.setenv("KFP_HOST", server.host)
    monkeypatch.setenv("KFP_TOKEN", TOKEN)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
