"""The API of Kubeflow Pipelines: who asks, how long an answer may take, and each failure as one clear line.

This is KFP's generated client, which ``kfp.Client`` wraps. The wrapper waits without end, asks the server in
its constructor and prints a stack trace for each of five failures, takes a namespace and a cookie from
``~/.config/kfp/context.json`` and writes that file, and cannot name the MLflow experiment of a run.
"""

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kfp_server_api
from kfp.client import KF_PIPELINES_SA_TOKEN_ENV, KF_PIPELINES_SA_TOKEN_PATH
from urllib3 import Retry
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError
from urllib3.exceptions import TimeoutError as NoAnswer

from crossface.errors import ConfigError, CrossfaceError
from crossface_pipelines.cluster.redaction import redacted, remember

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0  # a large pipeline takes the server a while to check
_PAGE = 100
_LONGEST_MESSAGE = 300  # characters; a server's own story may be a page of Go


class ClusterError(CrossfaceError):
    """Kubeflow refused or failed; the message says what to do."""


class UnavailableError(ClusterError):
    """Nobody answered, or the server failed; asked again later it may go well."""


class MissingError(ClusterError):
    """There is no such thing."""


class ConflictError(ClusterError):
    """Somebody else made it first."""


@dataclass(frozen=True)
class Health:
    """What the server says about itself."""

    version: str
    """Such as ``2.17.0``; ``unknown`` where the server was built without one."""

    @property
    def release(self) -> tuple[int, int] | None:
        """Major and minor version."""
        found = re.match(r"v?(\d+)\.(\d+)", self.version)
        return (int(found[1]), int(found[2])) if found else None


class Cluster:
    """A Kubeflow Pipelines server.

    All calls raise :class:`ClusterError`.
    """

    def __init__(self, host: str, namespace: str, api: kfp_server_api.ApiClient) -> None:
        self.host = host
        self.namespace = namespace or None
        """Of a profile, where several users share the server."""
        self.pipelines = kfp_server_api.PipelineServiceApi(api)
        self.uploads = kfp_server_api.PipelineUploadServiceApi(api)
        self.experiments = kfp_server_api.ExperimentServiceApi(api)
        self.runs = kfp_server_api.RunServiceApi(api)
        self.recurring = kfp_server_api.RecurringRunServiceApi(api)
        self._health = kfp_server_api.HealthzServiceApi(api)

    @cached_property
    def health(self) -> Health:
        """Ask the server once; the generated model would drop its version."""
        answer = self._health.healthz_service_get_healthz(_preload_content=False)
        try:
            return Health(str(json.loads(answer.data).get("tag_name") or "unknown"))
        except (ValueError, AttributeError):
            raise ConfigError(f"{self.host} is no Kubeflow Pipelines; check --host or KFP_HOST") from None

    def run_url(self, run_id: str) -> str:
        """Page of a run."""
        pages = os.environ.get("KF_PIPELINES_UI_ENDPOINT") or self.host
        return f"{pages.rstrip('/')}/#/runs/details/{run_id}"


def connect(host: str = "", namespace: str = "") -> Cluster:
    """Prepare to talk to a server; nothing is sent yet.

    Args:
        host: URL of the API; empty: that of ``KFP_HOST``, or of KFP's own ``KF_PIPELINES_ENDPOINT``.
        namespace: empty: that of ``KFP_NAMESPACE``.

    Raises:
        ConfigError: the host is none, or the token cannot be read or sent.
    """
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # warns of each attempt, with its URL
    host = _checked(host or os.environ.get("KFP_HOST") or os.environ.get("KF_PIPELINES_ENDPOINT") or "")
    configuration = kfp_server_api.Configuration(host=host)
    # a request that may have been heard is repeated only where that changes nothing (to urllib3: not POST);
    # Retry-After would hold each one up for as long as a server likes
    configuration.retries = Retry(
        total=5, connect=1, read=1, redirect=3, backoff_factor=0.5, respect_retry_after_header=False
    )
    identity = _identify(configuration)
    api = _PatientClient(configuration, host, identity)
    return Cluster(host, namespace or os.environ.get("KFP_NAMESPACE", ""), api)


def _checked(host: str) -> str:
    """The URL of a server, without the slash at its end."""
    host = host.strip().rstrip("/")
    if not host:
        raise ConfigError("--host: required, or KFP_HOST, such as http://localhost:8080 of a port-forward")
    try:
        url = urlsplit(host)
        named = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:  # brackets, or the port; its message may repeat credentials
        named = False
    if not named:
        raise ConfigError(
            "--host: should begin with http:// or https:// and name a server, and a port between 1 and 65535"
        )
    if url.username or url.password:
        raise ConfigError("--host: holds credentials; set KFP_TOKEN or KFP_COOKIES instead")
    return host


def _identify(configuration: kfp_server_api.Configuration) -> str:
    """Give the requests their credentials; return the variable that they come from, or nothing."""
    configuration.api_key_prefix["authorization"] = "Bearer"
    if token := _credential(os.environ.get("KFP_TOKEN", ""), "KFP_TOKEN"):
        configuration.api_key["authorization"] = token
        return "KFP_TOKEN"
    for variable in ("KFP_TOKEN_FILE", KF_PIPELINES_SA_TOKEN_ENV):
        if path := os.environ.get(variable):
            _read_each_time(configuration, path, variable)
            return variable
    if Path(KF_PIPELINES_SA_TOKEN_PATH).is_file():
        _read_each_time(configuration, KF_PIPELINES_SA_TOKEN_PATH, "the service account's token")
        return "the service account's token"
    return "KFP_COOKIES" if os.environ.get("KFP_COOKIES", "").strip() else ""


def _read_each_time(configuration: kfp_server_api.Configuration, path: str, where: str) -> None:
    """Kubernetes renews a projected token in its file."""

    def refresh(configuration: kfp_server_api.Configuration) -> None:
        try:
            token = _credential(Path(path).read_text(), where)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where}: {path} cannot be read ({type(error).__name__})") from None
        if not token:
            raise ConfigError(f"{where}: {path} is empty")
        configuration.api_key["authorization"] = token

    refresh(configuration)
    configuration.refresh_api_key_hook = refresh


def _credential(text: str, where: str) -> str:
    """What identifies us, as a header can hold it; no message repeats it from now on."""
    value = text.strip()
    if not (value.isascii() and value.isprintable()):
        raise ConfigError(f"{where}: holds a line break, or another character that cannot be sent")
    remember(value)
    return value


class _PatientClient(kfp_server_api.ApiClient):  # type: ignore[misc]
    """KFP's client with a time limit on each request, and failures in our words."""

    def __init__(self, configuration: kfp_server_api.Configuration, host: str, identity: str) -> None:
        cookies = _credential(os.environ[identity], identity) if identity == "KFP_COOKIES" else None
        super().__init__(configuration, cookie=cookies)
        self._host = host
        self._identity = identity

    def request(self, method: str, url: str, **options: Any) -> Any:
        options["_request_timeout"] = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
        try:
            answer = super().request(method, url, **options)
        except kfp_server_api.ApiException as error:
            raise self._refusal(error) from None
        except HTTPError as error:
            raise self._silence(error) from None
        # a sign-in page is no failure as far as HTTP is concerned
        if "html" in (answer.getheader("content-type") or ""):
            raise ConfigError(
                f"{self._host} answers with a web page, not with the API of Kubeflow Pipelines: sign in "
                "(KFP_TOKEN, KFP_TOKEN_FILE or KFP_COOKIES), or complete --host (often it ends in /pipeline)"
            )
        return answer

    def _silence(self, error: HTTPError) -> UnavailableError:
        reason = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        # urllib3 counts a refused connection among those that took too long
        if isinstance(reason, NoAnswer) and not isinstance(reason, NewConnectionError):
            return UnavailableError(
                f"Kubeflow Pipelines at {self._host} does not answer in time; is it overloaded, "
                "or the way there blocked?"
            )
        return UnavailableError(
            f"Kubeflow Pipelines at {self._host} cannot be reached ({type(reason).__name__}); check --host "
            "or KFP_HOST, and that the port-forward or VPN is up"
        )

    def _refusal(self, error: kfp_server_api.ApiException) -> CrossfaceError:
        said = _message(error)
        if error.status == 0:
            return ConfigError(f"{self._host}: TLS failed: {said}")
        if error.status == 401:
            asked = (
                f"does not accept {self._identity}; it may have expired"
                if self._identity
                else "wants to know who asks; set KFP_TOKEN, KFP_TOKEN_FILE or KFP_COOKIES"
            )
            return ConfigError(f"Kubeflow Pipelines at {self._host} {asked} (401)")
        if error.status == 403:
            return ClusterError(
                f"Kubeflow Pipelines does not allow it (403): {said}; check --namespace or KFP_NAMESPACE, "
                "or ask for the permission"
            )
        if error.status == 404:
            return MissingError(f"Kubeflow Pipelines at {self._host} has no such thing (404): {said}")
        if error.status == 409:
            return ConflictError(f"Kubeflow Pipelines has it already (409): {said}")
        if error.status == 429:
            return UnavailableError(f"Kubeflow Pipelines is asked too often (429): {said}; wait a little")
        if error.status >= 500:
            return UnavailableError(
                f"Kubeflow Pipelines failed ({error.status}): {said}; why is in the log of its ml-pipeline"
            )
        return ClusterError(f"Kubeflow Pipelines refused ({error.status}): {said}")


def _message(error: kfp_server_api.ApiException) -> str:
    """What the server said, in one line and without secrets."""
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else error.body or ""
    try:
        content = json.loads(body)
        said = content.get("message") or content.get("error_message") or content.get("error") or ""
    except (ValueError, AttributeError):
        said = body if "<" not in body else ""
    line = redacted(" ".join(str(said or error.reason or "no reason given").split()))
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}…"


def named(name: str) -> str:
    """A filter for what people call something."""
    equal = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [equal]})


def pages(call: Callable[..., Any], found: str, **query: Any) -> Iterator[Any]:
    """All that a listing finds, which the server returns in pages.

    Args:
        call: a listing of the generated client.
        found: the attribute of its answer that holds a page.
        query: its arguments.
    """
    token = ""
    while True:
        answer = call(page_token=token, page_size=_PAGE, **query)
        yield from getattr(answer, found) or ()
        token = answer.next_page_token or ""
        if not token:
            return
