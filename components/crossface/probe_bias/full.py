"""Name that dataset with a whole network: the backbone itself is trained to tell the datasets apart.

Han et al. (IEEE Access 2020), section III-D and Figure 4. A linear probe of untrained features sees what
these happen to hold; this sees what there is to be learnt. The paper trains and tests on the natural mix,
where labels and sizes alone give much away. Here every epoch, and the test faces that the accuracy is of,
have equally many faces of every dataset in each emotion, so that chance is 1/K; all test faces as they are
are scored beside it.
"""

import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as pad
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossface.bias.probe import confusion_shares, group_interval, label_only_rate
from crossface.bias.sampling import bounded_cells, equal_cells
from crossface.data.emotions import Split
from crossface.errors import ConfigError
from crossface.model.augment import Augmentation
from crossface.model.config import AugmentationConfig
from crossface.model.devices import send, use_bf16
from crossface.model.images import decode_crops
from crossface.model.inference import extract_features
from crossface.model.networks import build_backbone, feature_width
from crossface.probe_bias.config import ProbeConfig
from crossface.progress import Progress, say

_MOMENTUM, _WEIGHT_DECAY, _CLIP_NORM = 0.9, 2e-4, 1.0  # as the emotions are trained


@dataclass(frozen=True)
class NaturalMix:
    """The same network on all test faces as they are."""

    accuracy: float
    low: float
    high: float
    """95 % interval of the accuracy, from a bootstrap over groups."""
    label_only: float
    """Best accuracy from the label alone, on these faces."""
    largest_share: float
    """Accuracy of who always names the largest dataset."""
    n: int
    """Faces."""


@dataclass(frozen=True)
class FullProbe:
    """What the network found on test faces, with equally many of every dataset in each emotion."""

    datasets: tuple[str, ...]
    accuracy: float
    low: float
    high: float
    """95 % interval of the accuracy, from a bootstrap over groups; the network is taken as given."""
    chance: float
    """1/K, exactly what labels alone give."""
    n: int
    """Faces."""
    confusion: tuple[tuple[float, ...], ...]
    """Row: true dataset, column: named dataset, as shares of the row (Figure 4)."""
    natural: NaturalMix
    train_faces: int
    """Faces that the epochs are drawn from."""
    epochs: int
    seconds: float
    """That all of it took."""


@dataclass(frozen=True)
class Faces:
    """Faces of one split."""

    images: Tensor
    """uint8 [n, 3, size, size], RGB, channels_last."""
    dataset: np.ndarray
    """Index of the dataset: int64 [n]."""
    emotion: np.ndarray
    """int64 [n]."""
    group: np.ndarray
    """Photo or person [n]."""


def full_probe(
    crops: pad.Dataset, counts: Mapping[str, Mapping[Split, np.ndarray]], config: ProbeConfig
) -> FullProbe | None:
    """Train the backbone on the train split to name the dataset, and let it name those of the test split.

    Args:
        crops: rows of ``CROP_SCHEMA``, of all datasets.
        counts: faces of each emotion, int64 [7], by dataset and split.
        config: backbone and image size, ``full`` and seed.

    Returns:
        None when no emotion has train and test faces in every dataset.

    Raises:
        ConfigError: the training diverged, or the network is not to be had.
        DataError: ``TMPDIR`` has no room for the pixels.
    """
    start = time.perf_counter()
    names = tuple(counts)
    fewest = np.min([counts[name][split] for name in names for split in ("train", "test")], axis=0)
    shared = np.flatnonzero(fewest)
    if not len(shared):
        say("full network: no emotion has train and test faces in every dataset: nothing can be named")
        return None
    with tempfile.TemporaryDirectory(prefix="crossface-", ignore_cleanup_errors=True) as scratch:
        train = _load(_bounded(crops, shared, config), names, config.image_size, Path(scratch) / "train.npy")
        test = _load(_of_split(crops, "test"), names, config.image_size, Path(scratch) / "test.npy")
        say(f"full network: {len(train.dataset):,} train and {len(test.dataset):,} test faces")
        named = _name(_train(train, len(names), config), test.images)
    rows = _equal_rows(test, shared, config.seed)
    accuracy, low, high = _score(named[rows], test, rows, config.seed)
    return FullProbe(
        datasets=names,
        accuracy=accuracy,
        low=low,
        high=high,
        chance=1 / len(names),
        n=len(rows),
        confusion=confusion_shares(test.dataset[rows], named[rows], len(names)),
        natural=_natural_mix(named, test, config.seed),
        train_faces=len(train.dataset),
        epochs=config.full.epochs,
        seconds=time.perf_counter() - start,
    )


def _of_split(crops: pad.Dataset, split: Split) -> pad.Dataset:
    return crops.filter(pc.field("split") == split)


def _bounded(crops: pad.Dataset, emotions: np.ndarray, config: ProbeConfig) -> pad.Dataset:
    """Train faces of these emotions, int64 [e]; each may be an equal part of ``max_faces`` a dataset."""
    pool = _of_split(crops, "train").filter(pc.field("emotion").isin(emotions.tolist()))
    table = pool.to_table(columns=["face_id", "dataset", "emotion"])
    dataset, emotion = np.asarray(table["dataset"]), np.asarray(table["emotion"])
    chosen = bounded_cells(dataset, emotion, config.full.max_faces // len(emotions), config.seed)
    return pool.filter(pc.field("face_id").isin(table["face_id"].take(chosen).combine_chunks()))


def _load(crops: pad.Dataset, names: tuple[str, ...], size: int, store: Path) -> Faces:
    known = crops.to_table(columns=["dataset", "emotion", "group"])
    index = {name: position for position, name in enumerate(names)}
    return Faces(
        images=decode_crops(crops, size, store),
        dataset=np.array([index[name] for name in known["dataset"].to_pylist()]),
        emotion=np.asarray(known["emotion"]),
        group=np.asarray(known["group"]),
    )


def _train(faces: Faces, datasets: int, config: ProbeConfig) -> nn.Module:
    """A network uint8 [n, 3, size, size] -> logits [n, datasets], trained on ``faces``."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = _build(datasets, config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(config.seed)
    augment = Augmentation(AugmentationConfig(), config.image_size)
    truth = torch.from_numpy(faces.dataset)
    epochs = [draw_epoch(faces, config.full.batch_size, generator) for _ in range(config.full.epochs)]
    optimizer = torch.optim.SGD(
        network.parameters(), config.full.lr, _MOMENTUM, weight_decay=_WEIGHT_DECAY, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, sum(map(len, epochs)))
    said = ""
    with Progress("train full network", total=sum(map(len, epochs)), unit="steps") as progress:
        for epoch, batches in enumerate(epochs, start=1):
            losses = []
            for rows in batches:
                images = augment(faces.images, rows, augment.draw(len(rows), generator))
                with _autocast(device):
                    logits = network(send(images, device))
                loss = F.cross_entropy(logits.float(), send(truth[rows], device))
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), _CLIP_NORM)
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
                losses.append(loss.detach())
                progress.update(1, f"epoch {epoch}/{len(epochs)}{said}")
            mean = float(torch.stack(losses).mean())
            if not math.isfinite(mean):
                raise ConfigError(f"probe.full.lr: training diverged in epoch {epoch}; try a smaller one")
            said = f"  loss {mean:.3f}"
    return network


def _build(datasets: int, config: ProbeConfig) -> nn.Module:
    torch.manual_seed(config.seed)
    backbone = build_backbone(config.backbone, config.feature_dim, config.image_size)
    return nn.Sequential(backbone, nn.Linear(feature_width(backbone), datasets))


def draw_epoch(faces: Faces, batch_size: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Draw equally many faces of every dataset in each emotion, as many as there are.

    Each epoch is drawn anew, so that all faces of the larger datasets have their turn.

    Returns:
        Batches of about one size: int64 [<= batch_size] each.
    """
    seed = int(torch.randint(2**31, (), generator=generator))
    rows = torch.from_numpy(equal_cells(faces.dataset, faces.emotion, len(faces.dataset), seed))
    order = torch.randperm(len(rows), generator=generator)
    return rows[order].tensor_split(math.ceil(len(rows) / batch_size))


def _name(network: nn.Module, images: Tensor) -> np.ndarray:
    """The dataset that is named for each face: int64 [n]."""
    with _autocast(next(network.parameters()).device):
        return extract_features(network, images).argmax(1)


def _autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=use_bf16("auto", device))


def _equal_rows(faces: Faces, emotions: np.ndarray, seed: int) -> np.ndarray:
    """Equally many faces of every dataset in each of these emotions, as many as there are: int64 [m]."""
    rows = np.flatnonzero(np.isin(faces.emotion, emotions))
    return rows[equal_cells(faces.dataset[rows], faces.emotion[rows], len(rows), seed)]


def _score(named: np.ndarray, faces: Faces, rows: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Accuracy of what is named for the faces ``rows``, and its interval."""
    hits = named == faces.dataset[rows]
    low, high = group_interval(hits, faces.group[rows], np.random.default_rng(seed))
    return float(hits.mean()), low, high


def _natural_mix(named: np.ndarray, faces: Faces, seed: int) -> NaturalMix:
    accuracy, low, high = _score(named, faces, np.arange(len(named)), seed)
    return NaturalMix(
        accuracy=accuracy,
        low=low,
        high=high,
        label_only=label_only_rate(faces.dataset, faces.emotion),
        largest_share=float(np.bincount(faces.dataset).max() / len(named)),
        n=len(named),
    )
