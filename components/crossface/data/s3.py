"""Datasets in an object store: ``s3://bucket/prefix``, on any endpoint that speaks S3.

Endpoint, region and credentials are found by boto3 itself: environment (``AWS_ENDPOINT_URL``,
``AWS_DEFAULT_REGION``, ``AWS_ACCESS_KEY_ID``, ...), profiles, or the role of the pod. A URI holds the key as
it is: nothing in it is percent-encoded.
"""

import errno
import io
import re
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast
from urllib.parse import urlsplit

from crossface.data.tree import relative_path
from crossface.errors import DataError

SCHEME = "s3://"

PARALLEL_READS = 8
"""Most requests that one process has under way."""

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0  # without a byte
REQUEST_ATTEMPTS = 5
BODY_WAITS_S = (0.5, 2.0, 8.0)  # before each further attempt at a body that broke off

_HINTS = {
    "AccessDenied": "the credentials may not do this",
    "403": "the credentials are wrong or may not do this",
    "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY",
    "NoCredentialsError": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role",
    "NoSuchBucket": "there is no such bucket",
    "ParamValidationError": "not a name that a bucket can have",
    "EndpointConnectionError": "nobody answers there; check AWS_ENDPOINT_URL",
    "ResponseParserError": "that is no S3; check AWS_ENDPOINT_URL",
    "ValueError": "AWS_ENDPOINT_URL is not a URL",
}


class S3Tree:
    """The objects under ``s3://bucket/prefix`` as a tree: see :class:`crossface.data.tree.Tree`.

    The whole prefix is listed once, page by page, when something is first asked for. Keys that no relative
    path can name (``a//b``, ``a/../b``) are left out.
    """

    def __init__(self, url: str) -> None:
        self._bucket, prefix = split_uri(url)
        prefix = prefix.rstrip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._lock = threading.Lock()
        self._sizes: Mapping[str, Mapping[str, int]] | None = None
        self._folders: Mapping[str, Sequence[str]] = {}

    def uri(self, name: str) -> str:
        """``s3://bucket/key``."""
        return f"{SCHEME}{self._bucket}/{self._prefix}{name}".rstrip("/")

    def sizes(self, folder: str) -> Mapping[str, int]:
        """See :meth:`crossface.data.tree.Tree.sizes`."""
        return self._listed().get(folder, {})

    def folders(self, folder: str) -> Sequence[str]:
        """See :meth:`crossface.data.tree.Tree.folders`."""
        self._listed()
        return self._folders.get(folder, ())

    def open(self, name: str) -> BinaryIO:
        """Copy an object to a nameless scratch file, so that memory stays flat, and open that.

        Raises:
            DataError: it is not there, cannot be read, or is not as long as it was listed.
        """
        folder, _, file = relative_path(name).rpartition("/")
        size = self.sizes(folder).get(file)
        if size is None:
            raise DataError(f"{self.uri(name)} is not there")
        scratch = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  # the caller closes it
        try:
            _download(self.uri(name), scratch)
            came = scratch.seek(0, io.SEEK_END)
            if came != size:
                raise DataError(f"{self.uri(name)}: {came} bytes came, {size} are listed")
        except BaseException:
            scratch.close()
            raise
        scratch.seek(0)
        return scratch

    def _listed(self) -> Mapping[str, Mapping[str, int]]:
        with self._lock:
            if self._sizes is None:
                self._list()
            assert self._sizes is not None
            return self._sizes

    def _list(self) -> None:
        sizes: defaultdict[str, dict[str, int]] = defaultdict(dict)
        folders: defaultdict[str, set[str]] = defaultdict(set)
        for key, size, _ in list_objects(f"{SCHEME}{self._bucket}/{self._prefix}"):
            name = key.removeprefix(self._prefix)
            if not _is_plain(name):
                continue
            folder, _, file = name.rpartition("/")
            known = folder in sizes
            sizes[folder][file] = size
            while folder and not known:
                parent, _, child = folder.rpartition("/")
                known = child in folders[parent]
                folders[parent].add(child)
                folder = parent
        self._folders = {parent: sorted(children) for parent, children in folders.items()}
        self._sizes = dict(sizes)


def _is_plain(name: str) -> bool:
    try:
        return relative_path(name) == name
    except ValueError:
        return False


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key (or prefix) of ``s3://bucket/key``.

    Raises:
        DataError: it is none.
    """
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    if "@" in bucket:  # not repeated: what stands before it is a secret
        raise DataError("an s3:// uri must not hold credentials; boto3 finds them in the environment")
    if not uri.startswith(SCHEME) or not bucket:
        raise DataError(f"{uri}: not of the form {SCHEME}bucket/key")
    return bucket, key


class Listed(NamedTuple):
    """An object as a listing shows it."""

    key: str
    size: int
    tag: str
    """Entity tag: another one when the content is another."""


def list_objects(url: str) -> Iterator[Listed]:
    """Yield every object whose key begins as the one in ``url``, in order of keys.

    Raises:
        DataError: the store does not list them.
    """
    bucket, prefix = split_uri(url)
    with _clear_errors(url):
        pages = _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for page in pages:
            for entry in page.get("Contents", ()):
                yield Listed(entry["Key"], entry["Size"], entry["ETag"])


def read_object(uri: str, max_bytes: int | None = None) -> bytes:
    """Read one object whole; any thread may call this.

    Raises:
        FileNotFoundError: there is no such object.
        OSError: it is longer than ``max_bytes``.
        DataError: the store does not give it, also when asked again: the fault is not this object's, so
            the caller should stop.
    """
    bucket, key = split_uri(uri)
    with _clear_errors(uri):
        return _read_whole(bucket, key, uri, max_bytes)


def download(uri: str, target: Path) -> None:
    """Copy a large object to a local file, in parts read side by side.

    Raises:
        DataError: there is no such object, or the store does not give it.
    """
    with target.open("wb") as file:
        _download(uri, file)


def upload(source: Path, uri: str) -> None:
    """Copy a local file to an object, in parts sent side by side; an older object is replaced in one go.

    Raises:
        DataError: the store does not take it, also when asked again; an older object is as it was.
        OSError: the file cannot be read.
    """
    from boto3.s3.transfer import TransferConfig

    bucket, key = split_uri(uri)
    config = TransferConfig(max_concurrency=PARALLEL_READS)
    with source.open("rb") as file, _clear_errors(uri):
        _client().upload_fileobj(file, bucket, key, Config=config)


def _download(uri: str, file: BinaryIO) -> None:
    from boto3.s3.transfer import TransferConfig

    bucket, key = split_uri(uri)
    try:
        with _clear_errors(uri):
            _client().download_fileobj(
                bucket, key, file, Config=TransferConfig(max_concurrency=PARALLEL_READS)
            )
    except FileNotFoundError:
        raise DataError(f"{uri} is not there") from None
    except OSError as error:
        raise DataError(f"{uri} cannot be copied here: {error.strerror}") from None


def _read_whole(bucket: str, key: str, uri: str, max_bytes: int | None) -> bytes:
    """Repeat what breaks off in the body; what fails before it is repeated by botocore."""
    from botocore.exceptions import BotoCoreError
    from urllib3.exceptions import HTTPError

    for wait in (*BODY_WAITS_S, None):
        answer = _client().get_object(Bucket=bucket, Key=key)
        with closing(answer["Body"]) as body:
            if max_bytes is not None and answer.get("ContentLength", 0) > max_bytes:
                message = f"{answer['ContentLength']:,} bytes are more than {max_bytes:,}"
                raise OSError(errno.EFBIG, message, uri)
            try:
                return _checked(body.read(), answer.get("ContentLength"))
            except (BotoCoreError, HTTPError):
                if wait is None:
                    raise
        time.sleep(wait)
    raise AssertionError


def _checked(data: bytes, length: int | None) -> bytes:
    """An answer without its length may have broken off anywhere, so it is not taken either."""
    from botocore.exceptions import IncompleteReadError

    if len(data) != length:
        raise IncompleteReadError(actual_bytes=len(data), expected_bytes=length)
    return data


_making_client = threading.Lock()


def _client() -> Any:
    with _making_client:
        return _make_client()


@cache
def _make_client() -> Any:
    """Make the client of this process; boto3's clients may be shared by threads."""
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "s3",
        config=Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": REQUEST_ATTEMPTS},
            max_pool_connections=PARALLEL_READS,
        ),
    )


@contextmanager
def _clear_errors(uri: str) -> Iterator[None]:
    """Turn what boto3 raises into one line that names the URI.

    boto3's own messages are not repeated: they may hold the URL of an endpoint or proxy with its password,
    or whatever a server wrote.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
    from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError
    from urllib3.exceptions import HTTPError

    faults = (
        *(BotoCoreError, Boto3Error, ResponseParserError, ValueError),
        *(RetriesExceededError, S3DownloadFailedError, HTTPError),
    )
    try:
        yield
    except ClientError as error:
        code = re.sub(r"[^A-Za-z0-9.]", "", str(error.response.get("Error", {}).get("Code", "")))[:60]
        if code in ("NoSuchKey", "404"):
            raise FileNotFoundError(errno.ENOENT, "there is no such object", uri) from None
        raise _store_error(uri, code) from None
    except faults as error:
        raise _store_error(uri, type(error).__name__) from None


def _store_error(uri: str, fault: str) -> DataError:
    hint = f" ({_HINTS[fault]})" if fault in _HINTS else ""
    return DataError(f"{uri}: {fault}{hint}, {_endpoint()}")


def _endpoint() -> str:
    if not _make_client.cache_info().currsize:
        return "no client could be made"
    url = urlsplit(_client().meta.endpoint_url)
    return f"asked {url.scheme}://{url.netloc.rpartition('@')[2]}"
