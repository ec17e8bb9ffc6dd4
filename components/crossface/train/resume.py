"""Training that survives its process: saved when due and when told to end, and taken up where it was."""

import time
from importlib.metadata import version
from typing import Any

import crossface
from crossface.progress import say
from crossface.train.checkpoint import Checkpoint, CheckpointStore, CheckpointWriteError, check_identity
from crossface.train.config import CheckpointConfig
from crossface.train.distributed import rank
from crossface.train.flatten import flatten, unflatten
from crossface.train.interruption import Interruption
from crossface.train.trainer import Trainer

_NOT_COMPARED = {"preset", "checkpoint", "processes", "compile"}  # the same training, whatever these are


class Interrupted(BaseException):
    """The process was told to end, and everything is saved. Not an Exception: nothing should go on."""


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

    def resume(self) -> None:
        """Take up what the store holds, if anything.

        Raises:
            CheckpointMismatchError: it is of other faces or another configuration.
            DataError: it is damaged, or cannot be read.
        """
        checkpoint = self._store.load()
        if checkpoint is None:
            return
        check_identity(checkpoint, self._identity, self._store.location)
        self._trainer.load_state_dict(unflatten(checkpoint.tensors, checkpoint.state))
        say(
            f"going on after step {self._trainer.step} of {self._trainer.total_steps}: {self._store.location}"
        )

    def after_step(self) -> None:
        """Save if it is time.

        Raises:
            Interrupted: the process shall end.
            DivergenceError: there is nothing worth saving.
        """
        if rank() == 0 and (self._interruption or self._is_due()):
            self._save()
            if self._interruption:
                say(f"told to end after step {self._trainer.step} of {self._trainer.total_steps}")
                raise Interrupted

    def _is_due(self) -> bool:
        config = self._config
        by_steps = config.every_steps and self._trainer.step % config.every_steps == 0
        by_time = config.every_minutes and time.monotonic() - self._saved >= 60 * config.every_minutes
        return bool(by_steps or by_time)

    def _save(self) -> None:
        self._trainer.sums.check()
        tensors, state = flatten(self._trainer.state_dict())
        try:
            self._store.save(Checkpoint(tensors, state, self._identity))
        except CheckpointWriteError as error:
            say(f"warning: {error}; training goes on")
        self._saved = time.monotonic()


def identity(trainer: Trainer) -> dict[str, Any]:
    """What a checkpoint must have been made of to be taken up."""
    faces = {"train": trainer.train_faces, "dev": trainer.dev_faces}
    return {
        "config": trainer.config.model_dump(mode="json", exclude=_NOT_COMPARED),
        "data": {split: part.identity() for split, part in faces.items()},
        "versions": {"crossface": crossface.__version__, "torch": version("torch")},
    }
