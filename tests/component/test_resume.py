"""Interrupted at any moment and started again, training ends where it would have ended."""

import json
import multiprocessing
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file
from stripes import config, stripes, write_crops

from crossface.errors import DataError
from crossface.train.checkpoint import CHECKPOINT_FILE, CheckpointMismatchError, open_store
from crossface.train.config import CheckpointConfig
from crossface.train.epoch import DivergenceError
from crossface.train.flatten import flatten, unflatten
from crossface.train.interruption import Interruption
from crossface.train.resume import Saver
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
    times = ("images_per_s", "seconds")
    return [{name: value for name, value in row.items() if name not in times} for row in history]


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
    settings = short(epochs=60, checkpoint=CheckpointConfig(uri=str(folder / "saved"), every_steps=1))
    return crops, settings


def work(crops, settings, out):
    torch.set_num_threads(1)
    train(crops, settings, out, ignore)


def test_killed_at_twenty_random_moments_it_ends_with_the_same_weights(tmp_path):
    crops, settings = write_problem(tmp_path)
    context = multiprocessing.get_context("forkserver")  # its children start with all that is slow imported
    context.set_forkserver_preload(["crossface.train.train", "timm.utils", "torchvision.models"])
    saved = tmp_path / "saved" / CHECKPOINT_FILE

    def start(out, uri=saved.parent):
        own = settings.model_copy(update={"checkpoint": CheckpointConfig(uri=str(uri), every_steps=1)})
        process = context.Process(target=work, args=(crops, own, out))
        process.start()
        return process

    start(tmp_path / "undisturbed", tmp_path / "elsewhere").join()
    chance = random.Random(0)
    for _ in range(KILLS):
        process, last = start(tmp_path / "model"), _written(saved)
        for _ in range(chance.randint(1, 2)):  # some steps only, so that it never comes to its end
            while process.is_alive() and _written(saved) == last:
                time.sleep(0.001)
            last = _written(saved)
        time.sleep(chance.uniform(0, 0.03))  # in the middle of a step, of a save, or of an evaluation
        assert process.is_alive(), "it came to its end before it was killed"
        process.kill()
        process.join()
    process = start(tmp_path / "model")
    process.join()
    assert process.exitcode == 0
    assert_same_models(tmp_path / "model", tmp_path / "undisturbed")
    start(tmp_path / "again").join()  # as when what came after training has failed
    assert_same_models(tmp_path / "again", tmp_path / "undisturbed")


def _written(file):
    return file.stat().st_mtime_ns if file.exists() else 0


def assert_same_models(found, expected):
    weights, others = (load_file(folder / "model.safetensors") for folder in (found, expected))
    assert all(torch.equal(weights[name], others[name]) for name in others)
    histories = [pq.read_table(folder / "history.parquet").to_pylist() for folder in (found, expected)]
    assert without_time(histories[0]) == without_time(histories[1])


def test_sigterm_saves_first_and_then_ends_the_process(tmp_path):
    crops, settings = write_problem(tmp_path)
    places = CheckpointConfig(uri=str(tmp_path / "saved"), every_steps=10)
    settings = settings.model_copy(update={"checkpoint": places})
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    command = [sys.executable, "-m", "crossface.train", *map(str, crops)]
    command += ["--config", str(tmp_path / "train.yaml"), "--out", str(tmp_path / "model")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path / "scratch")}
    (tmp_path / "scratch").mkdir()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    while not (tmp_path / "saved" / CHECKPOINT_FILE).exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.terminate()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    (step,) = re.findall(r"told to end after step (\d+) of", said)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "saved", "scratch", "train.yaml"}
    assert not list((tmp_path / "scratch").iterdir()), "no pixels are left behind"
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert f"going on after step {step} of" in done.stdout


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


def test_checkpoint_of_another_training_is_replaced_where_nobody_is_asked(tmp_path):
    crops, settings = write_problem(tmp_path)
    interrupt(crops, settings, tmp_path / "model")
    checkpoint = settings.checkpoint.model_copy(update={"replace": True})
    train(
        crops, settings.model_copy(update={"lr": 0.5, "checkpoint": checkpoint}), tmp_path / "model", ignore
    )
    assert (tmp_path / "model").exists()


def test_damaged_checkpoint_stops_before_the_first_step(tmp_path):
    crops, settings = write_problem(tmp_path)
    interrupt(crops, settings, tmp_path / "model")
    file = tmp_path / "saved" / CHECKPOINT_FILE
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"checkpoint\.safetensors"):
        train(crops, settings, tmp_path / "model", ignore)


def test_the_checkpoint_of_a_finished_training_is_no_hindrance(tmp_path, capsys):
    crops, settings = write_problem(tmp_path)
    settings = settings.model_copy(update={"epochs": 1})
    train(crops, settings, tmp_path / "model", ignore)
    train(crops, settings.model_copy(update={"lr": 0.5}), tmp_path / "other", ignore)
    assert "of another, finished training will be replaced" in capsys.readouterr().out
    train(crops, settings.model_copy(update={"lr": 0.5}), tmp_path / "again", ignore)
    assert "going on after step 2 of 2" in capsys.readouterr().out
    assert_same_models(tmp_path / "again", tmp_path / "other")


@pytest.mark.parametrize("spoilt", [torch.inf, torch.nan])
def test_nothing_diverged_is_ever_saved(tmp_path, spoilt):
    """A gradient that is no number ruins the weights, though the loss of that step is still sound."""
    trainer = Trainer(short(), stripes(2, 0), stripes(1, 1))
    store = open_store(str(tmp_path))
    saver = Saver(trainer, store, CheckpointConfig(uri=str(tmp_path), every_steps=1), Interruption())
    weight = trainer.net.heads[0][0].weight
    weight.register_hook(lambda gradient: gradient * (spoilt if trainer.step == 3 else 1))
    with pytest.raises(DivergenceError, match=r"diverged at step 4 \(.*gradient_norm=(inf|nan)"):
        trainer.fit(ignore, saver.after_step)
    checkpoint = store.load()
    state = unflatten(checkpoint.tensors, checkpoint.state)["trainer"]
    assert state["step"] == 3
    assert all(torch.isfinite(value).all() for value in state["objective"].values())


def test_early_stopping_also_after_a_resume():
    """Nothing is learned at this lr, so that the first epoch stays the best."""
    settings = short(epochs=9, patience=2, lr=1e-9, ema_decay=0, adapt="none")
    states = []
    trainer = Trainer(settings, stripes(2, 0), stripes(1, 1))
    whole = trainer.fit(ignore, lambda: states.append(flatten(trainer.state_dict())))
    assert [row["epoch"] for row in whole.history] == [1, 2, 3]
    assert whole.kept["epoch"] == 1
    for tensors, tree in states[-2:]:
        again = Trainer(settings, stripes(2, 0), stripes(1, 1))
        again.load_state_dict(unflatten(tensors, tree))
        assert len(again.fit(ignore).history) == 3


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
    assert "warning: checkpoint" in said
    assert not list((tmp_path / "saved").iterdir())
    assert (tmp_path / "model").exists() == (megabytes == 8)
    assert (f"the model cannot be written to {tmp_path}: " in said) == (megabytes == 2)
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]
