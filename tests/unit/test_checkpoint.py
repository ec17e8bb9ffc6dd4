"""Checkpoints come back bit for bit, and are whole, whatever happens to the writer or to the file."""

import copy
import json
import math
import os
import resource
import struct
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save_file

from crossface.data.storage import atomic_file
from crossface.errors import ConfigError, DataError
from crossface.train.checkpoint import (
    CHECKPOINT_FILE,
    Checkpoint,
    CheckpointMismatchError,
    CheckpointWriteError,
    _checksum,
    check_identity,
    differences,
    open_store,
)
from crossface.train.flatten import flatten, unflatten

IDENTITY = {"config": {"lr": 0.1}, "data": {"rafdb": {"digest": "ab"}}, "versions": {"torch": "2.12"}}


def same_bits(one, other):
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return (
        one.contiguous().reshape(-1).view(torch.uint8).equal(other.contiguous().reshape(-1).view(torch.uint8))
    )


def same(one, other):
    """Types and bits, in any depth."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return same_bits(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):  # JSON has one nan
        return (math.isnan(one) and math.isnan(other)) or struct.pack("d", one) == struct.pack("d", other)
    return one == other


def numbered(number, size=5):
    """A checkpoint all of whose parts tell its number."""
    return Checkpoint({"a": torch.full((size,), number), "b": torch.tensor(number)}, {"n": number}, IDENTITY)


def number_of(checkpoint):
    numbers = {*checkpoint.tensors["a"].tolist(), checkpoint.tensors["b"].item(), checkpoint.state["n"]}
    assert len(numbers) == 1
    return numbers.pop()


@contextmanager
def disk_with_room_for(size):
    """Files may not grow beyond ``size`` bytes: what a full disk looks like, without being root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# ---------------------------------------------------------------- what comes back


def test_every_tensor_comes_back_bit_for_bit(tmp_path):
    bits = torch.arange(48, dtype=torch.uint8) * 5  # nan payloads and subnormals among them
    kinds = (
        torch.float32,
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.uint8,
    )
    tensors = {str(kind): bits.view(kind) for kind in kinds}
    tensors["bool"] = torch.tensor([True, False])
    tensors["scalar"] = torch.tensor(math.pi, dtype=torch.bfloat16)
    tensors["nothing"] = torch.zeros(0, 3)
    image = torch.randn(2, 3, 4, 5)
    tensors["channels_last"] = image.to(memory_format=torch.channels_last)
    tensors["transposed"], tensors["expanded"] = image.mT, torch.ones(1).expand(4)
    tensors["shared"], tensors["part"] = image, image[0]
    tensors["parameter"] = torch.nn.Parameter(torch.randn(2))
    expected = copy.deepcopy(tensors)
    state = {
        "floats": [0.1, 5e-324, -0.0, math.inf, -math.inf, math.nan],
        "step": 2**60,
        "none": None,
        "é": "\ud800",
    }
    store = open_store(str(tmp_path))
    store.save(Checkpoint(tensors, state, IDENTITY))
    loaded = store.load()
    assert same(dict(sorted(loaded.tensors.items())), {key: expected[key].data for key in sorted(expected)})
    assert same(loaded.state, state)
    assert same(loaded.identity, IDENTITY)
    for tensor in loaded.tensors.values():
        tensor.zero_()  # theirs, not the file's
    assert same_bits(store.load().tensors["shared"], image)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.lists(st.floats()).map(torch.tensor),
        lambda inner: (
            st.lists(inner)
            | st.lists(inner).map(tuple)
            | st.dictionaries(
                st.integers() | st.sampled_from(["a", "a.0", "0", "a'", "tensor", "dict"]), inner
            )
        ),
        max_leaves=12,
    )
)
@example({"a": {"b": torch.ones(1)}, "a.b": torch.ones(2), 1: [torch.ones(3)], "1": [torch.ones(4)]})
def test_nested_state_survives_json(nested):
    tensors, tree = flatten(nested)
    assert same(unflatten(tensors, json.loads(json.dumps(tree))), nested)


def test_optimizer_goes_on_as_if_nothing_had_happened(tmp_path):
    def trained(optimizer, weights, steps):
        for step in range(steps):
            optimizer.zero_grad()
            (weights * (step + 1)).square().sum().backward()
            optimizer.step()
        return weights

    for kind in (torch.optim.Adam, lambda weights: torch.optim.SGD(weights, 0.1, 0.9)):
        weights = torch.nn.Parameter(torch.randn(7))
        optimizer = kind([weights])
        trained(optimizer, weights, 3)
        tensors, tree = flatten({"weights": weights, "optimizer": optimizer.state_dict()})
        open_store(str(tmp_path)).save(Checkpoint(tensors, {"tree": tree}, IDENTITY))
        loaded = open_store(str(tmp_path)).load()
        content = unflatten(loaded.tensors, loaded.state["tree"])
        assert same(content["optimizer"], optimizer.state_dict())
        again = torch.nn.Parameter(content["weights"])
        other = kind([again])
        other.load_state_dict(content["optimizer"])
        assert same_bits(trained(other, again, 3), trained(optimizer, weights, 3))


@pytest.mark.parametrize("odd", [object(), {1.5: 2}, {"a": [torch.float32]}])
def test_state_that_cannot_be_kept_is_refused(odd):
    with pytest.raises(TypeError, match=r"cannot be kept|not a str or int"):
        flatten(odd)


@pytest.mark.parametrize(
    "tree", [{"tensor": "none"}, {"dict": [1]}, {"dict": [[[], 1]]}, {}, {"a": 1, "b": 2}]
)
def test_tree_that_flatten_did_not_make_is_a_data_error(tree):
    with pytest.raises(DataError):
        unflatten({}, [tree])


# ---------------------------------------------------------------- the folder


def test_save_replaces_and_removes_what_a_killed_one_left(tmp_path):
    folder = tmp_path / "not there" / "yet"
    store = open_store(str(folder))
    assert store.load() is None
    for number in (1, 2):
        store.save(numbered(number))
        assert number_of(store.load()) == number
    killed = folder / f".{CHECKPOINT_FILE}.killed.part"
    killed.mkdir()
    (killed / "half").write_bytes(b"half")
    store.save(numbered(3))
    assert list(folder.iterdir()) == [folder / CHECKPOINT_FILE]


def test_full_disk_leaves_the_older_checkpoint_and_nothing_else(tmp_path):
    store = open_store(str(tmp_path))
    for number in (0, 1):
        with disk_with_room_for(100_000), pytest.raises(CheckpointWriteError) as caught:
            store.save(numbered(9, size=1_000_000))
        assert "File too large" in str(caught.value)
        assert str(tmp_path / CHECKPOINT_FILE) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
        assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_FILE][:number]
        assert store.load() is None if number == 0 else number_of(store.load()) == number
        store.save(numbered(1))


def test_place_that_cannot_be_used_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_text("a file")
    store = open_store(str(tmp_path / "file"))
    for call in (lambda: store.save(numbered(1)), store.load):
        with pytest.raises((CheckpointWriteError, DataError), match=r"Not a directory|File exists"):
            call()
    with pytest.raises(ConfigError, match="gs://bucket"):
        open_store("gs://bucket/prefix")


KILLED_WRITER = """
import os, random, signal, sys, time
sys.path.insert(0, sys.argv[2])
from test_checkpoint import number_of, numbered, open_store

store = open_store(sys.argv[1])
last = 0
for round in range(25):
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        for number in range(last + 1, last + 1000):
            store.save(numbered(number, size=300_000))
            os.write(writer, b".")
    os.read(reader, 1)
    time.sleep(random.random() * 0.03)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(writer)
    saved = 1 + sum(len(part) for part in iter(lambda: os.read(reader, 4096), b""))
    os.close(reader)
    found = number_of(store.load())
    assert found - last - saved in (0, 1), (found, last, saved)
    last = found
print(len(os.listdir(sys.argv[1])), last)
"""


def test_killed_writer_leaves_a_whole_checkpoint(tmp_path):
    command = [sys.executable, "-c", KILLED_WRITER, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) <= 2, "what one killed writer leaves is removed by the next"


def test_file_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    target = tmp_path / "file"
    flushed = []

    def fsync(descriptor):
        name = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        flushed.append((name, target.exists(), os.fstat(descriptor).st_size))

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_file(target) as part:
        part.write_bytes(b"12345")
    assert flushed[0] == (str(part), False, 5)
    assert flushed[1][:2] == (str(tmp_path), True)


# ---------------------------------------------------------------- damaged and made-up files


@pytest.fixture(name="file", scope="module")
def write_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    tensors = {"weights": torch.randn(3, 5), "rows": torch.arange(4), "on": torch.tensor(True)}
    open_store(str(folder)).save(Checkpoint(tensors, {"step": 7, "history": [0.25]}, IDENTITY))
    return folder / CHECKPOINT_FILE


def load_bytes(folder, data):
    (folder / CHECKPOINT_FILE).write_bytes(data)
    return open_store(str(folder)).load()


def refused(folder, data):
    with pytest.raises(DataError) as caught:
        load_bytes(folder, data)
    text = str(caught.value)
    assert text.startswith(str(folder / CHECKPOINT_FILE))
    assert text.endswith("; remove it, or name another checkpoint.uri")
    assert len(text.splitlines()) == 1
    return text


def test_file_that_was_cut_anywhere_is_refused(file, tmp_path):
    whole = file.read_bytes()
    for length in range(len(whole)):
        refused(tmp_path, whole[:length])
    refused(tmp_path, whole + b"\0")
    assert load_bytes(tmp_path, whole).state["step"] == 7


def test_file_with_a_changed_bit_is_refused_or_says_the_same(file, tmp_path):
    whole = file.read_bytes()
    expected = open_store(str(file.parent)).load()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        try:
            loaded = load_bytes(tmp_path, bytes(changed))
        except DataError:
            continue
        assert same(loaded.tensors, expected.tensors)
        assert same(loaded.state, expected.state)
        assert same(loaded.identity, expected.identity)


def made_up(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def empty(name, shape, kind="F32"):
    return {name: {"dtype": kind, "shape": shape, "data_offsets": [0, 0]}}


def with_text(text):
    """A file whose checksum fits."""
    return made_up({"__metadata__": {"checkpoint": text, "crc32": _checksum(text, {})}})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 200 << 20) + b"{" + b" " * 1000,
        made_up(b"[" * 100_000),
        made_up({}),
        made_up({"__metadata__": {"checkpoint": 3}}),
        made_up(empty("a", [2**63, 0])),
        made_up(empty("a", [2**62, 4])),
        made_up(empty("a", [0], "F6_E2M3")),
        made_up(empty("a", [0], "PICKLE")),
        with_text("{}"),
        with_text("[]"),
        with_text("no JSON"),
        with_text("[" * 100_000),
        with_text('{"state": [], "identity": {}}'),
        with_text('{"state": {}}'),
        with_text('{"state": {"a": ' + "9" * 10_000 + '}, "identity": {}}'),
    ],
    ids=lambda data: repr(data[:60]),
)
def test_made_up_file_is_refused(data, tmp_path):
    refused(tmp_path, data)


def test_file_of_another_program_is_refused(tmp_path):
    save_file({"weights": torch.zeros(2)}, tmp_path / CHECKPOINT_FILE)
    refused(tmp_path, (tmp_path / CHECKPOINT_FILE).read_bytes())


def test_folder_in_its_place_is_refused(tmp_path):
    (tmp_path / CHECKPOINT_FILE).mkdir()
    with pytest.raises(DataError, match="Is a directory"):
        open_store(str(tmp_path)).load()


# ---------------------------------------------------------------- whose it is


def test_differences_name_every_value_that_is_another():
    saved = {"config": {"lr": 0.1, "gone": None, "deep": {"a": 1, "b": [1, 2]}}, "x.y": {}, "same": math.nan}
    now = {
        "config": {"lr": 0.05, "deep": {"a": 1.0, "b": (1, 2), "new": True}},
        "x.y": {"z": 1},
        "same": math.nan,
    }
    assert differences(saved, now) == [
        "config.deep.a is 1 in the checkpoint and 1.0 now",
        "config.deep.new is not in the checkpoint and true now",
        "config.gone is null in the checkpoint and not there now",
        "config.lr is 0.1 in the checkpoint and 0.05 now",
        "x.y is {} in the checkpoint and not there now",
        "x.y.z is not in the checkpoint and 1 now",
    ]
    assert differences(saved, json.loads(json.dumps(saved))) == []


def test_checkpoint_of_another_training_is_refused_and_other_versions_are_told(capsys):
    checkpoint = numbered(1)
    check_identity(checkpoint, IDENTITY, "here")
    assert capsys.readouterr().out == ""
    check_identity(checkpoint, {**IDENTITY, "versions": {"torch": "3.0"}}, "here")
    told = '> warning: here: versions.torch is "2.12" in the checkpoint and "3.0" now\n'
    assert capsys.readouterr().out == told
    other = {"config": {"lr": 0.2}, "data": {"rafdb": {"digest": "cd"}}, "versions": {"torch": "3.0"}}
    with pytest.raises(CheckpointMismatchError) as caught:
        check_identity(checkpoint, other, "here")
    assert str(caught.value).splitlines() == [
        "here is of another training; remove it, or name another checkpoint.uri:",
        "  config.lr is 0.1 in the checkpoint and 0.2 now",
        '  data.rafdb.digest is "ab" in the checkpoint and "cd" now',
    ]
    assert capsys.readouterr().out == told
