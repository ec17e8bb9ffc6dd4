"""The training loop."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from crossface.model.config import NetConfig
from crossface.model.devices import use_bf16
from crossface.model.inference import predict
from crossface.model.networks import CrossfaceNet, feature_width
from crossface.model.weights import load_backbone_weights
from crossface.progress import Progress
from crossface.train.batches import Batch, Batches
from crossface.train.config import TrainConfig
from crossface.train.data import Faces
from crossface.train.distributed import device, rank, said_by_first, world_size
from crossface.train.epoch import GRADIENT_NORM, LOSS, EpochSums
from crossface.train.methods import METHODS, Method, StepLoss, Task, build_method
from crossface.train.optimisation import MovingAverage, Optimisation
from crossface.train.randomness import Stream, seed_of
from crossface.train.selection import SCORE, Selection

EpochCallback = Callable[[dict[str, float], int], None]
"""Called after each epoch with its metrics and its number, from 1."""
StepCallback = Callable[[], None]
"""Called after each step."""


@dataclass(frozen=True)
class Trained:
    """What training leaves behind."""

    net: CrossfaceNet
    history: list[dict[str, float]]
    """One row an epoch."""
    kept: dict[str, float]
    """The row of the epoch whose weights were kept."""
    tables: dict[str, list[list[float]]] = field(default_factory=dict)
    """Small tables the method has learned."""


class Objective(nn.Module):
    """Network and method as one module: a batch in, the loss out."""

    def __init__(self, net: CrossfaceNet, method: Method) -> None:
        super().__init__()
        self.net = net
        self.method = method

    def forward(self, images: Tensor, emotion: Tensor, dataset: Tensor, progress: float) -> StepLoss:
        """See :meth:`crossface.train.methods.base.Method.forward`."""
        return self.method(*self.net(images), emotion, dataset, progress)


class Trainer:
    """Trains one network on the faces of all datasets with the method that the configuration names.

    Everything random is a function of ``config.seed`` and of the step: on the CPU the same seed gives the
    same weights, also when training was interrupted and goes on from :meth:`state_dict`.
    """

    def __init__(self, config: TrainConfig, train: Faces, dev: Faces) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.train_faces = train
        self.dev_faces = dev
        self.device = device()
        self.net = CrossfaceNet(
            NetConfig(
                backbone=config.backbone,
                feature_dim=config.feature_dim,
                image_size=config.image_size,
                heads=METHODS[config.adapt].heads(train.datasets),
                datasets=train.datasets,
                adapt=config.adapt,
            )
        )
        task = Task(train.datasets, train.counts())
        self.method = build_method(config, task, feature_width(self.net.backbone))
        self.objective = Objective(self.net, self.method).to(self.device)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.compile:
            self.net.compile()
        self.parallel = DistributedDataParallel(self.objective) if world_size() > 1 else self.objective
        self.batches = Batches(config, train, self.device)
        self.epoch_steps = max(len(train) // self.batches.size, 1)
        self.total_steps = config.epochs * self.epoch_steps
        self.optimisation = Optimisation(config, self.net, self.method, self.total_steps)
        self.average = MovingAverage(self.net, config.ema_decay) if config.ema_decay else None
        self.selection = Selection(config)
        self.history: list[dict[str, float]] = []
        self.sums = EpochSums()
        self.step = 0

    def load_weights(self) -> None:
        """Start from the weights that the configuration names.

        Raises:
            ConfigError: they are not to be had, or are not of this backbone.
            DataError: the file is damaged.
        """
        load_backbone_weights(self.net.backbone, self.config.backbone, self.config.weights)

    def fit(self, on_epoch: EpochCallback, on_step: StepCallback = lambda: None) -> Trained:
        """Train to the end, from where it is.

        Args:
            on_epoch: called after each epoch with its metrics and its number, from 1, and at first with
                those of the epochs that were done before.
            on_step: called after each step, when everything is in :meth:`state_dict`.

        Raises:
            DivergenceError: a loss or gradient is not finite or out of all proportion, naming step and parts.
        """
        for row in self.history:
            on_epoch(row, int(row["epoch"]))
        left = self.total_steps - self.step
        with Progress(f"train {self.config.title}", total=left, unit="steps") as progress:
            while len(self.history) < self.config.epochs and not self._is_over():
                self._run_epoch(progress, on_step)
                on_epoch(self.history[-1], len(self.history))
        if rank() == 0:
            self.net.load_state_dict(self.selection.weights)
        return Trained(self.net, self.history, self.selection.kept, self.method.describe())

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """One optimisation step.

        Returns:
            The parts of the loss, the total and the gradient's norm, detached and still on the device.
        """
        torch.manual_seed(seed_of(self.config.seed, Stream.DROPOUT, self.step, rank()))
        with self._autocast():
            loss = self.parallel(batch.images, batch.emotion, batch.dataset, self.step / self.total_steps)
        loss.total.backward()
        norm = self.optimisation.step(self.step)
        self.step += 1
        if self.average:
            self.average.update(self.net, self.step)
        return {**loss.parts, LOSS: loss.total.detach(), GRADIENT_NORM: norm.detach()}

    def state_dict(self) -> dict[str, Any]:
        """All that a trainer of the same configuration and faces needs to go on: tensors and JSON values."""
        return {
            "step": self.step,
            "objective": self.objective.state_dict(),
            "optimizers": self.optimisation.state_dict(),
            "average": self.average.net.state_dict() if self.average else {},
            "kept": {"row": self.selection.kept, "weights": self.selection.weights},
            "sums": self.sums.state_dict(),
            "history": self.history,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.step, self.history = state["step"], state["history"]
        self.objective.load_state_dict(state["objective"])
        self.optimisation.load_state_dict(state["optimizers"])
        if self.average:
            self.average.net.load_state_dict(state["average"])
        self.selection.kept, self.selection.weights = state["kept"]["row"], state["kept"]["weights"]
        self.sums.load_state_dict(state["sums"], self.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=use_bf16(self.config.precision, self.device)
        )

    def _is_over(self) -> bool:
        return said_by_first(rank() == 0 and self.selection.is_over(len(self.history)))

    def _run_epoch(self, progress: Progress, on_step: StepCallback) -> None:
        """The steps that are left of the epoch, and its row of the history."""
        self.objective.train()
        epoch, start, steps_before = len(self.history) + 1, time.perf_counter(), self.step
        note = f"epoch {epoch}/{self.config.epochs}  {self._last_score()}"
        while self.step < epoch * self.epoch_steps:
            self.sums.add(self.step + 1, self.train_step(self.batches.of_step(self.step)))
            progress.update(1, note)
            on_step()
        self.sums.check()
        seconds = time.perf_counter() - start
        row = {
            "epoch": float(epoch),
            **self.sums.means(),
            "progress": self.step / self.total_steps,
            "lr": self.optimisation.lr(self.step - 1),
            "images_per_s": (self.step - steps_before) * self.batches.size / seconds,
            "seconds": seconds,
        }
        if rank() == 0:
            row |= self._dev_metrics()
            self.selection.offer(row, self._candidate().state_dict())
        self.history.append(row)
        self.sums = EpochSums()
        progress.update(0, f"epoch {epoch}/{self.config.epochs}  {self._last_score()}")

    def _candidate(self) -> CrossfaceNet:
        """The network that is evaluated and kept: the moving average, or the net itself."""
        return self.average.net if self.average else self.net

    def _last_score(self) -> str:
        return f"dev balanced accuracy {self.history[-1][SCORE]:.3f}" if self.history and rank() == 0 else ""

    def _dev_metrics(self) -> dict[str, float]:
        faces = self.dev_faces
        names = [faces.datasets[key] for key in faces.dataset]
        bf16 = use_bf16(self.config.precision, self.device)
        outputs = predict(self._candidate(), faces.images, names, bf16=bf16)
        predicted = outputs.mean.argmax(1)
        scores = {}
        for key, name in enumerate(faces.datasets):
            rows = (faces.dataset == key).numpy()
            scores[f"{SCORE}/{name}"] = balanced_accuracy_score(faces.emotion.numpy()[rows], predicted[rows])
        return {**scores, SCORE: sum(scores.values()) / len(scores)}
