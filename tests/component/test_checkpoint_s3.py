"""Checkpoints in S3, against a real server over HTTP whose answers are spoilt."""

import re

import pytest
import torch
from s3_server import BUCKET, SECRET_KEY, start_proxy, start_s3_server  # noqa: F401  # fixtures

from crossface.errors import DataError
from crossface.train.checkpoint import CHECKPOINT_FILE, Checkpoint, CheckpointWriteError, open_store

SMALL, LARGE = 1_000, 3_000_000  # in one request; in several parts
IDENTITY = {"config": {"lr": 0.1}, "data": {}, "versions": {}}


@pytest.fixture(name="scratch", autouse=True)
def watch_scratch(tmp_path, monkeypatch):
    """Nothing is left in TMPDIR."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def numbered(number, size=SMALL):
    tensors = {"a": torch.full((size,), float(number)), "b": torch.tensor(number, dtype=torch.bfloat16)}
    return Checkpoint(tensors, {"n": number}, IDENTITY)


def number_of(checkpoint):
    numbers = {*checkpoint.tensors["a"].tolist(), checkpoint.tensors["b"].item(), checkpoint.state["n"]}
    assert len(numbers) == 1
    return numbers.pop()


def keys_under(server, prefix):
    return [
        entry["Key"]
        for entry in server.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())
    ]


def unfinished_uploads(server, prefix):
    uploads = server.client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix).get("Uploads", ())
    return [upload["Key"] for upload in uploads]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_checkpoint_is_replaced_and_loaded(s3_server, proxy, size):
    here = f"runs/#{size} é/{CHECKPOINT_FILE}"
    store = open_store(f"s3://{BUCKET}/{here.removesuffix(CHECKPOINT_FILE)}")
    neighbour = s3_server.put(f"{here}.bak", b"not ours")
    assert store.location == neighbour.removesuffix(".bak")
    assert store.load() is None
    for number in (1, 2):
        store.save(numbered(number, size))
        assert number_of(store.load()) == number
    assert store.load().identity == IDENTITY
    assert keys_under(s3_server, here) == [here, f"{here}.bak"]


def test_bucket_alone_is_a_place(s3_server, proxy):
    store = open_store(f"s3://{BUCKET}")
    store.save(numbered(1))
    assert keys_under(s3_server, CHECKPOINT_FILE) == [CHECKPOINT_FILE]


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize(
    "faults",
    [["500"], ["reset"], ["stall"], ["half_sent"], ["503", "half_sent", "500", "reset"]],
    ids="-".join,
)
def test_upload_survives_faults(s3_server, proxy, faults, size):
    store = open_store(f"s3://{BUCKET}/shaky")
    proxy.spoil("partNumber=1" if size == LARGE else "shaky", *faults)
    store.save(numbered(1, size))
    assert proxy.faults.popitem()[1] == [], "every fault was met"
    assert number_of(store.load()) == 1


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("fault", ["500", "403", "half_sent"])
def test_upload_that_fails_leaves_the_older_checkpoint(s3_server, proxy, fault, size):
    store = open_store(f"s3://{BUCKET}/failing")
    store.save(numbered(1, size))
    proxy.spoil("partNumber=2" if size == LARGE else "failing", *[fault] * 20)
    with pytest.raises(CheckpointWriteError) as caught:
        store.save(numbered(2, size))
    text = str(caught.value)
    assert text.startswith(f"checkpoint not saved: {store.location}: ")
    assert text.endswith(f"asked {proxy.endpoint}")
    assert len(text.splitlines()) == 1
    assert SECRET_KEY not in text
    proxy.faults.clear()
    assert number_of(store.load()) == 1
    assert unfinished_uploads(s3_server, "failing") == []


@pytest.mark.parametrize(
    ("bucket", "endpoint", "fault", "said"),
    [
        ("not a bucket", "", "", r"ParamValidationError \(not a name that a bucket can have\)"),
        (BUCKET, "", "403", r"403 \(the credentials are wrong or may not do this\)"),
        (BUCKET, "http://127.0.0.1:9", "", r"EndpointConnectionError \(nobody answers there"),
    ],
)
def test_every_call_says_what_is_wrong_with_the_store(proxy, monkeypatch, bucket, endpoint, fault, said):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint or proxy.endpoint)
    proxy.always = fault
    store = open_store(f"s3://{bucket}/x")
    for call in (lambda: store.save(numbered(1)), store.load):
        with pytest.raises((CheckpointWriteError, DataError), match=said) as caught:
            call()
        assert store.location in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_wrong_bucket_is_an_error_and_not_an_absent_checkpoint(proxy):
    with pytest.raises(DataError, match=r"NoSuchBucket \(there is no such bucket\)"):
        open_store("s3://no-such-bucket/x").load()
    with pytest.raises(DataError, match="must not hold credentials"):
        open_store("s3://AKID:hush@bucket/x")


def test_scratch_folder_that_cannot_be_used_is_said(s3_server, proxy, monkeypatch, scratch):
    store = open_store(f"s3://{BUCKET}/full")
    store.save(numbered(1))
    monkeypatch.setattr("tempfile.tempdir", str(scratch / "none"))
    with pytest.raises(CheckpointWriteError, match=r"full/.*: No such file or directory"):
        store.save(numbered(2))
    with pytest.raises(DataError, match=r"full/.*: cannot be read: No such file or directory"):
        store.load()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    assert number_of(store.load()) == 1


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("fault", ["500", "cut_reset"])
def test_download_survives_a_fault_and_gives_up_on_a_lasting_one(s3_server, proxy, fault, size):
    store = open_store(f"s3://{BUCKET}/reading")
    store.save(numbered(1, size))
    proxy.spoil(f"reading/{CHECKPOINT_FILE}", fault)
    assert number_of(store.load()) == 1
    proxy.always = fault
    with pytest.raises(DataError, match=re.escape(store.location)):
        store.load()


def test_object_that_was_overwritten_is_read_as_it_is_or_refused(s3_server, proxy):
    store, other = (open_store(f"s3://{BUCKET}/shared") for _ in range(2))
    store.save(numbered(1))
    other.save(numbered(2))
    assert number_of(store.load()) == 2
    whole = s3_server.client.get_object(Bucket=BUCKET, Key=f"shared/{CHECKPOINT_FILE}")["Body"].read()
    for data in (b"", b"junk", whole[:-1], whole[:100], whole[:-1] + b"\1"):
        s3_server.put(f"shared/{CHECKPOINT_FILE}", data)
        with pytest.raises(DataError, match=re.escape(f"{store.location}: damaged, or no checkpoint")):
            store.load()


def test_object_that_is_overwritten_while_it_is_read_is_never_a_mixture(s3_server, proxy, scratch):
    store = open_store(f"s3://{BUCKET}/racing")
    store.save(numbered(2, LARGE))
    newer = s3_server.client.get_object(Bucket=BUCKET, Key=f"racing/{CHECKPOINT_FILE}")["Body"].read()
    store.save(numbered(1, LARGE))
    asked = []

    def overwrite_after_the_first_part(path):
        if "list-type" not in path:
            asked.append(path)
            if len(asked) == 3:  # the length, the first part
                s3_server.put(f"racing/{CHECKPOINT_FILE}", newer)
        return ""

    proxy.fault_for = overwrite_after_the_first_part
    try:
        found = number_of(store.load())
    except DataError as error:
        found = str(error)
    assert len(asked) >= 3
    assert found in (1, 2) or store.location in found
