"""Training that survives its process: saved when due and when told to end, and taken up where it was."""

import time
from importlib.metadata import version
from typing import Any

import crossface
from crossface.model.devices import use_bf16
from crossface.progress import say
from crossface.train.checkpoint import (
    Checkpoint,
    CheckpointMismatchError,
    CheckpointStore,
    CheckpointWriteError,
    check_identity,
)
from crossface.train.config import CheckpointConfig
from crossface.train.distributed import rank
from crossface.train.flatten import flatten, unflatten
from crossface.train.interruption import Interrupted, Interruption
from crossface.train.trainer import Trainer

_NOT_COMPARED = {"preset", "checkpoint", "processes", "compile"}  # the same training, whatever these are


class Saver:
    """Keeps the checkpoint of one trainer.

    Args:
        trainer: whose state it is.
        store: where it is kept.
        config: how often.
        interruption: whether the process has been told to end.
    """

    def __init__(
        self, trainer: Trainer, store: CheckpointStore, config: CheckpointConfig, interruption: Interruption
    ) -> None:
        self._trainer = trainer
        self._store = store
        self._config = config
        self._interruption = interruption
        self._identity = identity(trainer)
        self._saved = time.monotonic()

    def resume(self) -> bool:
        """Take up what the store holds, if anything.

        A finished training of the same identity is taken up too, and so is over at once: what came after it
        may have failed. That of another identity is left aside, for there is nothing in it to lose; an
        unfinished one only where the configuration says so.

        Returns:
            Whether there was something to take up.

        Raises:
            CheckpointMismatchError: it is unfinished, and of other faces or another configuration.
            DataError: it is damaged, or cannot be read.
        """
        checkpoint = self._store.load()
        if checkpoint is None:
            return False
        state = unflatten(checkpoint.tensors, checkpoint.state)
        try:
            check_identity(checkpoint, self._identity, self._store.location)
        except CheckpointMismatchError:
            if not state["finished"] and not self._config.replace:
                raise
            end = "finished" if state["finished"] else "unfinished"
            say(f"the checkpoint of another, {end} training will be replaced: {self._store.location}")
            return False
        self._trainer.load_state_dict(state["trainer"])
        done, steps = self._trainer.step, self._trainer.total_steps
        say(f"going on after step {done} of {steps}: {self._store.location}")
        return True

    def after_step(self) -> None:
        """Save if it is time.

        Raises:
            Interrupted: the process shall end.
            DivergenceError: there is nothing worth saving.
        """
        if rank() != 0:
            return
        if self._interruption:
            say(f"told to end after step {self._trainer.step} of {self._trainer.total_steps}")
            self._save(finished=False)
            raise Interrupted
        if self._is_due():
            self._save(finished=False)

    def finish(self) -> None:
        """Save the end of training, for what comes after it may fail."""
        if rank() == 0:
            self._save(finished=True)

    def _is_due(self) -> bool:
        config = self._config
        by_steps = config.every_steps and self._trainer.step % config.every_steps == 0
        by_time = config.every_minutes and time.monotonic() - self._saved >= 60 * config.every_minutes
        return bool(by_steps or by_time)

    def _save(self, finished: bool) -> None:
        self._trainer.sums.check()
        tensors, state = flatten({"trainer": self._trainer.state_dict(), "finished": finished})
        try:
            self._store.save(Checkpoint(tensors, state, self._identity))
        except CheckpointWriteError as error:
            say(f"warning: {error}")
        self._saved = time.monotonic()


def identity(trainer: Trainer) -> dict[str, Any]:
    """What a checkpoint must have been made of to be taken up; other ``versions`` are only told."""
    config, faces = trainer.config, {"train": trainer.train_faces, "dev": trainer.dev_faces}
    compared = config.model_dump(mode="json", exclude=_NOT_COMPARED)
    return {
        "config": compared | {"batch_size": trainer.batches.size},
        "data": {split: part.identity() for split, part in faces.items()},
        "versions": {
            "crossface": crossface.__version__,
            "torch": version("torch"),
            "device": trainer.device.type,
            "bf16": use_bf16(config.precision, trainer.device),
        },
    }
