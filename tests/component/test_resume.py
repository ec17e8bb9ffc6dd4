"""Interrupted at any moment and started again, training ends where it would have ended."""

import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file
from stripes import config, stripes, write_crops

from crossface.errors import DataError
from crossface.train.checkpoint import CHECKPOINT_FILE, CheckpointMismatchError
from crossface.train.config import CheckpointConfig
from crossface.train.epoch import DivergenceError
from crossface.train.flatten import flatten, unflatten
from crossface.train.train import train
from crossface.train.trainer import Trainer

KILLS = 20


class Stop(Exception):  # noqa: N818  it is none of the trainer's
    pass


def short(**changes):
    """A training with everything that has a state: two optimisers, a moving average, dropout, ACE."""
    values = {"adapt": "cda", "feature_dim": 8, "epochs": 3, "batch_size": 12, "ema_decay": 0.9}
    adversary = config().adversary.model_copy(update={"lr": 0.001})
    return config(**{**values, "adversary": adversary, **changes})


def ignore(row, epoch):
    pass


def without_time(history):
    return [{name: value for name, value in row.items() if name != "images_per_s"} for row in history]


def test_taken_up_after_any_step_it_is_the_same_training_bit_for_bit():
    faces, dev, settings = stripes(2, 0), stripes(1, 1), short()
    states = []
    trainer = Trainer(settings, faces, dev)

    def keep():
        tensors, tree = flatten(trainer.state_dict())
        states.append(({name: value.clone() for name, value in tensors.items()}, json.dumps(tree)))

    whole = trainer.fit(ignore, keep)
    assert len(states) == 6, "two steps an epoch, so that some checkpoints lie in the middle of one"
    for tensors, tree in states:
        again = Trainer(settings, faces, dev)
        again.load_state_dict(unflatten(tensors, json.loads(tree)))
        rows = []
        resumed = again.fit(lambda row, epoch, rows=rows: rows.append(epoch))
        found, expected = resumed.net.state_dict(), whole.net.state_dict()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        assert without_time(resumed.history) == without_time(whole.history)
        assert resumed.tables == whole.tables
        assert rows == [1, 2, 3], "epochs from before are told again: a retried step has a new run"


def write_problem(folder):
    """Crops of two datasets and a configuration that saves after every step."""
    faces = stripes(3, 0)
    crops = [write_crops(folder / name, faces, key) for key, name in enumerate(faces.datasets)]
    settings = short(epochs=40, checkpoint=CheckpointConfig(uri=str(folder / "saved"), every_steps=1))
    return crops, settings


def work(crops, settings, out):
    torch.set_num_threads(1)
    train(crops, settings, out, ignore)


def test_killed_at_twenty_random_moments_it_ends_with_the_same_weights(tmp_path):
    crops, settings = write_problem(tmp_path)
    context = multiprocessing.get_context("forkserver")  # its children start with torch already imported
    context.set_forkserver_preload(["crossface.train.train"])

    def start(out):
        process = context.Process(target=work, args=(crops, settings, out))
        process.start()
        return process

    undisturbed = start(tmp_path / "undisturbed")
    undisturbed.join()
    chance, kills, steps = random.Random(0), 0, set()
    while True:
        process = start(tmp_path / "model")
        if kills == KILLS:
            process.join()
            break
        saved = tmp_path / "saved" / CHECKPOINT_FILE
        before = saved.stat().st_mtime_ns if saved.exists() else 0
        while process.is_alive() and not (saved.exists() and saved.stat().st_mtime_ns != before):
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.1))  # in the middle of a step, of a save, or of an evaluation
        if not process.is_alive():
            pytest.fail(f"it came to its end after {kills} kills")
        process.kill()
        process.join()
        kills += 1
        steps.add(saved.stat().st_mtime_ns)
    assert process.exitcode == 0
    assert len(steps) == KILLS, "each attempt saved something"
    weights, expected = (
        load_file(tmp_path / name / "model.safetensors") for name in ("model", "undisturbed")
    )
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    histories = [pq.read_table(tmp_path / name / "history.parquet") for name in ("model", "undisturbed")]
    assert without_time(histories[0].to_pylist()) == without_time(histories[1].to_pylist())
    assert not (tmp_path / "saved" / CHECKPOINT_FILE).exists(), "a finished training leaves no checkpoint"


def test_sigterm_saves_first_and_then_ends_the_process(tmp_path):
    crops, settings = write_problem(tmp_path)
    settings = settings.model_copy(update={"checkpoint": CheckpointConfig(uri=str(tmp_path / "saved"))})
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    command = [sys.executable, "-m", "crossface.train", *map(str, crops)]
    command += ["--config", str(tmp_path / "train.yaml"), "--out", str(tmp_path / "model")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path / "scratch")}
    (tmp_path / "scratch").mkdir()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    # nothing is due for minutes, so that there is a checkpoint only because of the signal
    while not _holds_sigterm(process.pid):
        assert process.poll() is None
        time.sleep(0.02)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert (tmp_path / "saved" / CHECKPOINT_FILE).exists()
    assert not (tmp_path / "model").exists()
    assert not list((tmp_path / "scratch").rglob("*.npy")), "no pixels are left behind"
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "going on after step" in done.stdout


def _holds_sigterm(process):
    """Whether a process catches SIGTERM, as it does from the first step on."""
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    caught = next(line for line in status if line.startswith("SigCgt:"))
    return int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1


def interrupt(crops, settings, out):
    """Stop a training after its first epoch, as an exception anywhere would."""

    def stop(row, epoch):
        raise Stop

    with pytest.raises(Stop):
        train(crops, settings, out, stop)


def test_checkpoint_of_another_training_is_refused_with_the_differences(tmp_path):
    crops, settings = write_problem(tmp_path)
    interrupt(crops, settings, tmp_path / "model")
    with pytest.raises(CheckpointMismatchError, match=r"config\.lr is 0\.02 in the checkpoint and 0\.5 now"):
        train(crops, settings.model_copy(update={"lr": 0.5}), tmp_path / "model", ignore)
    other = stripes(3, seed=7)
    crops[1] = write_crops(tmp_path / "other", other, 1)
    with pytest.raises(CheckpointMismatchError) as error:
        train(crops, settings, tmp_path / "model", ignore)
    assert "data.train.digest is" in str(error.value)
    assert "data.train.faces" not in str(error.value), "as many faces, only others"
    assert not (tmp_path / "model").exists()


def test_damaged_checkpoint_stops_before_the_first_step(tmp_path):
    crops, settings = write_problem(tmp_path)
    interrupt(crops, settings, tmp_path / "model")
    file = tmp_path / "saved" / CHECKPOINT_FILE
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"checkpoint\.safetensors"):
        train(crops, settings, tmp_path / "model", ignore)


def test_nothing_diverged_is_ever_saved(tmp_path):
    crops, settings = write_problem(tmp_path)
    wild = settings.model_copy(update={"lr": 1e9, "clip_norm": 0.0})
    with pytest.raises(DivergenceError):
        train(crops, wild, tmp_path / "model", ignore)
    assert not (tmp_path / "model").exists()
    if (tmp_path / "saved" / CHECKPOINT_FILE).exists():
        state = load_file(tmp_path / "saved" / CHECKPOINT_FILE)
        assert all(
            torch.isfinite(value).all() for name, value in state.items() if name.startswith("objective")
        )


def fill_the_disk(crops, settings, out, said, largest):
    """No file of this process may grow beyond what the pixels need: like a disk that is full by then."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    with said.open("w") as file:
        sys.stdout = file
        try:
            train(crops, settings, out, ignore)
        except DataError as error:
            print(error)


@pytest.mark.parametrize("megabytes", [8, 2])
def test_on_a_full_disk_a_checkpoint_is_a_warning_and_the_model_a_clear_stop(tmp_path, megabytes):
    """The model has 5.6 MB and its checkpoint, which holds the optimiser too, 17 MB."""
    crops, settings = write_problem(tmp_path)
    settings = settings.model_copy(update={"epochs": 2, "adapt": "none", "ema_decay": 0.0})
    context = multiprocessing.get_context("forkserver")
    arguments = crops, settings, tmp_path / "model", tmp_path / "said.txt", megabytes << 20
    process = context.Process(target=fill_the_disk, args=arguments)
    process.start()
    process.join()
    said = (tmp_path / "said.txt").read_text()
    assert "File too large" in said
    assert "training goes on" in said
    assert not list((tmp_path / "saved").iterdir())
    assert (tmp_path / "model").exists() == (megabytes == 8)
    assert (f"the model cannot be written to {tmp_path}: " in said) == (megabytes == 2)
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]
