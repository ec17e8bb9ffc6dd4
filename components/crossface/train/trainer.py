"""The training loop."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor

from crossface.errors import CrossfaceError
from crossface.model.config import NetConfig
from crossface.model.inference import predict
from crossface.model.networks import CrossfaceNet, feature_width
from crossface.progress import Progress
from crossface.train.augment import augment
from crossface.train.config import TrainConfig
from crossface.train.data import Faces
from crossface.train.methods import METHODS, build_method
from crossface.train.sampling import epoch_batches

EpochCallback = Callable[[dict[str, float], int], None]
"""Called after each epoch with its metrics and its number, from 1."""


class DivergenceError(CrossfaceError):
    """The loss is no longer a number."""


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


class Trainer:
    """Trains one network on the faces of all datasets with the method that the configuration names.

    Everything random comes from ``config.seed``: on the CPU the same seed gives the same weights.
    """

    def __init__(self, config: TrainConfig, train: Faces, dev: Faces) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.train_faces = train
        self.dev_faces = dev
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.generator = torch.Generator().manual_seed(config.seed)
        self.net = CrossfaceNet(
            NetConfig(
                backbone=config.backbone,
                feature_dim=config.feature_dim,
                image_size=config.image_size,
                heads=METHODS[config.adapt].heads(train.datasets),
                adapt=config.adapt,
            )
        )
        self.method = build_method(config, train.datasets, feature_width(self.net.backbone))
        self.net.to(self.device)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.method.to(self.device)
        self.parameters = [*self.net.parameters(), *self.method.parameters()]
        self.optimizers = self._optimizers()
        self.epoch_steps = max(len(train) // config.batch_size, 1)
        self.total_steps = config.epochs * self.epoch_steps
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizers[0], self.total_steps)
        self.autocast = torch.autocast(
            self.device.type, torch.bfloat16, enabled=use_bf16(config.precision, self.device)
        )
        self.step = 0

    def fit(self, on_epoch: EpochCallback) -> Trained:
        """Train to the end.

        Args:
            on_epoch: called after each epoch with its metrics and its number, from 1.

        Raises:
            DivergenceError: a loss is not finite, naming step and parts.
        """
        history: list[dict[str, float]] = []
        scored = ""
        best, kept, best_state = -math.inf, {}, {}
        label = f"train {self.config.title}"
        with Progress(label, total=self.total_steps, unit="steps") as progress:
            for epoch in range(1, self.config.epochs + 1):
                note = f"epoch {epoch}/{self.config.epochs}  {scored}"
                row = {"epoch": float(epoch), **self._epoch(progress, note), **self._dev_metrics()}
                history.append(row)
                on_epoch(row, epoch)
                score = row["dev_balanced_accuracy"]
                scored = f"dev balanced accuracy {score:.3f}"
                progress.update(0, f"epoch {epoch}/{self.config.epochs}  {scored}")
                if self.config.select == "last" or score > best:
                    best, kept = score, row
                    best_state = copy.deepcopy(self.net.state_dict())
        self.net.load_state_dict(best_state)
        return Trained(self.net, history, kept, self.method.describe())

    def train_step(self, images: Tensor, emotion: Tensor, dataset: Tensor) -> dict[str, Tensor]:
        """One optimisation step.

        Args:
            images: uint8 [n, 3, size, size].
            emotion: int64 [n].
            dataset: int64 [n].

        Returns:
            The parts of the loss, the total and the gradient's norm: detached scalars on the device.
        """
        with self.autocast:
            features, head_logits = self.net(images)
            loss = self.method(features, head_logits, emotion, dataset, progress=self.step / self.total_steps)
        self.method.zero_grad(set_to_none=True)
        self.net.zero_grad(set_to_none=True)
        loss.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm or math.inf)
        for optimizer in self.optimizers:
            optimizer.step()
        self.schedule.step()
        self.step += 1
        return {**loss.parts, "loss": loss.total.detach(), "gradient_norm": norm.detach()}

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        """SGD for all, or for all but d, which then has an Adam of its own."""
        config = self.config
        rival = list(self.method.adversary_parameters()) if config.cda.dataset_lr else []
        apart = {id(parameter) for parameter in rival}
        others = [parameter for parameter in self.parameters if id(parameter) not in apart]
        sgd = torch.optim.SGD(
            others, config.lr, config.momentum, weight_decay=config.weight_decay, fused=True
        )
        return [sgd, torch.optim.Adam(rival, config.cda.dataset_lr, fused=True)] if rival else [sgd]

    def _epoch(self, progress: Progress, note: str) -> dict[str, float]:
        self.net.train()
        self.method.train()
        start = time.perf_counter()
        sums: dict[str, Tensor] = {}
        for images, emotion, dataset in self._batches():
            for name, value in self.train_step(images, emotion, dataset).items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value
            progress.update(1, note)
        means = {name: float(value) / self.epoch_steps for name, value in sums.items()}
        if not math.isfinite(means["loss"]):
            parts = ", ".join(f"{name}={value:.3g}" for name, value in means.items())
            raise DivergenceError(
                f"loss is not finite by step {self.step} ({parts}); try a smaller lr or clip_norm: 1"
            )
        images_per_s = self.epoch_steps * self.config.batch_size / (time.perf_counter() - start)
        return {
            **means,
            "progress": self.step / self.total_steps,
            "lr": float(self.schedule.get_last_lr()[0]),
            "images_per_s": images_per_s,
        }

    def _batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        faces = self.train_faces
        size = min(self.config.batch_size, len(faces))
        for rows in epoch_batches(faces.dataset, size, self.config.sampling, self.generator):
            images = augment(faces.images[rows].to(self.device, non_blocking=True), self.generator)
            yield images, faces.emotion[rows].to(self.device), faces.dataset[rows].to(self.device)

    def _dev_metrics(self) -> dict[str, float]:
        faces = self.dev_faces
        with self.autocast:
            outputs = predict(self.net, faces.images, [faces.datasets[key] for key in faces.dataset])
        predicted = outputs.mean.argmax(1)
        scores = {}
        for key, name in enumerate(faces.datasets):
            rows = (faces.dataset == key).numpy()
            scores[f"dev_balanced_accuracy/{name}"] = balanced_accuracy_score(
                faces.emotion.numpy()[rows], predicted[rows]
            )
        return {**scores, "dev_balanced_accuracy": sum(scores.values()) / len(scores)}


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether to train in bf16 autocast: as told, or where the hardware multiplies it natively."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(
        torch.cpu.get_capabilities().get("amx_bf16") or torch.cpu.get_capabilities().get("avx512_bf16")
    )
