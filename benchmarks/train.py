"""How fast does training go, beside the bare step, the usual loop, and other DANNs?

All train one network on the same faces, with the same batch, and all but one in the same precision:

a  bare step      forward, backward and SGD step on one constant batch: the limit
b  crossface      the whole loop of the step, for every ``adapt``: sampling, augmentation, clipping, history
c  ImageFolder    torchvision's ImageFolder, a DataLoader with workers, and the loop of most tutorials; also
                  in fp32 and the default memory format, as it is usually run
d  DomainBed      a DANN step as in DomainBed: discriminator and network in turn, with gradient penalty
   skada          a DANN step of skada, if it is installed (``pip install skada skorch``)

They take short turns, and the best turn of each counts, so that what else the machine does matters little.
With a GPU the network is a ResNet-50 at 100 px with 2,048 faces a batch; on the CPU a ResNet-18 with 64, and
after it what ``make run`` trains (``resnet8``, 48 px). The bare step in fp32 tells what precision brings.
"""

import itertools
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from report import arguments, table, write_ratios
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from crossface.data.emotions import EMOTIONS
from crossface.model.config import NetConfig
from crossface.model.devices import use_bf16
from crossface.model.networks import CrossfaceNet
from crossface.train.config import TrainConfig
from crossface.train.data import Faces
from crossface.train.epoch import EpochSums
from crossface.train.trainer import Trainer

FEATURE_DIM = 0  # the pooled feature itself
DATASETS = ("rafdb", "expw", "affectnet")
ADAPTS = ("none", "heads", "dann", "coral", "cda")
WORKER_TURN = 6  # times as many steps
PAPER_IMAGES, PAPER_EPOCHS = 381_272, 120

Way = Callable[[int], None]
"""Trains for a number of steps; 0: makes ready for a turn."""


@dataclass(frozen=True)
class Setting:
    """What is trained, and where."""

    backbone: str
    size: int  # px
    batch: int
    faces: int
    steps: int  # a turn
    turns: int
    device: torch.device
    precision: str = "auto"

    def sync(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def autocast(self) -> torch.autocast:
        """bf16 where the step would use it."""
        bf16 = use_bf16(self.precision, self.device)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bf16)


def main() -> None:
    """Measure, and print what came out."""
    options = arguments(__doc__)
    turns = 3 if options.quick else 8
    if torch.cuda.is_available():
        settings = [Setting("resnet50", 100, 2048, 16_384, 4, turns, torch.device("cuda"))]
    else:
        cpu = torch.device("cpu")
        settings = [
            Setting("resnet18", 100, 64, 2_048, 1 if options.quick else 2, turns, cpu),
            Setting("resnet8", 48, 48, 2_048, 6 if options.quick else 20, turns, cpu),
        ]
    first, *_ = [compare(setting) for setting in settings]
    write_ratios(first, options.json)


def compare(setting: Setting) -> dict[str, float]:
    """Measure one setting, print its tables, and give its ratios."""
    with tempfile.TemporaryDirectory() as folder:
        faces = draw_faces(setting)
        write_image_folder(faces, Path(folder))
        trainers = {adapt: make_trainer(adapt, faces, setting) for adapt in ADAPTS}
        ways = {"a bare step": bare_steps(faces, setting)}
        ways |= {f"b crossface {adapt}": our_steps(trainer) for adapt, trainer in trainers.items()}
        ways["c ImageFolder"] = image_folder_steps(Path(folder), setting, as_usual=False)
        ways["c ImageFolder fp32"] = image_folder_steps(Path(folder), setting, as_usual=True)
        ways["d DomainBed DANN"] = domainbed_steps(faces, setting)
        if find_spec("skada") and find_spec("skorch"):
            ways["d skada DANN"] = skada_steps(faces, setting)
        ways["  bare step fp32"] = bare_steps(faces, replace(setting, precision="fp32"))
        seconds = take_turns(ways, setting)
    bare = seconds["a bare step"]
    rows = []
    for name, best in seconds.items():
        rows.append((name, f"{setting.batch / best:,.1f}", f"{bare / best:.3f}"))
    threads = f", {torch.get_num_threads()} threads" if setting.device.type == "cpu" else ""
    print(f"{setting.backbone}, {setting.size} px, batch {setting.batch}, {setting.device}{threads}\n")
    print(table(("training", "images a second", "of the bare step"), rows))
    print_phases(trainers["cda"], setting)
    data = data_path(trainers["none"], setting)
    ours = setting.batch / seconds["b crossface cda"]
    print(f"\ndata path alone: {data:,.0f} images a second; peak memory {peak_memory(setting) / 1e9:.1f} GB")
    print_utilisation(trainers["cda"], ours, setting)
    print()
    none, cda = seconds["b crossface none"], seconds["b crossface cda"]
    return {
        "loop_vs_bare_step": bare / none,
        "cda_cost_over_none": cda / none - 1,
        "vs_imagefolder_fp32": seconds["c ImageFolder fp32"] / cda,
        "data_path_headroom": data / ours,
    }


def take_turns(ways: dict[str, Way], setting: Setting) -> dict[str, float]:
    """Seconds a step of every way in its best turn, after two steps of each to warm up."""
    for train in ways.values():
        train(2)
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(setting.turns):
        for name, train in ways.items():
            # longer turns with workers, so that what they have ready when the clock starts counts little
            steps = setting.steps * (WORKER_TURN if name.startswith("c ") else 1)
            train(0)
            setting.sync()
            start = time.perf_counter()
            train(steps)
            setting.sync()
            seconds[name] = min(seconds[name], (time.perf_counter() - start) / steps)
    return seconds


def draw_faces(setting: Setting) -> Faces:
    """Cuts of photographs in place of faces: as hard to decode, and speed does not see the difference."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    scenes = load_sample_images().images
    number, size = setting.faces, setting.size
    pixels = np.empty((number, size, size, 3), np.uint8)
    for row in range(number):
        scene = scenes[row % 2]
        top, left = rng.integers(0, scene.shape[0] - size), rng.integers(0, scene.shape[1] - size)
        pixels[row] = scene[top : top + size, left : left + size]
    return Faces(
        torch.from_numpy(pixels).permute(0, 3, 1, 2),
        torch.from_numpy(rng.integers(0, len(EMOTIONS), number)),
        torch.from_numpy(rng.integers(0, len(DATASETS), number)),
        DATASETS,
    )


def write_image_folder(faces: Faces, folder: Path) -> None:
    """One folder an emotion, as ImageFolder wants it."""
    for emotion in EMOTIONS:
        (folder / emotion).mkdir()
    for row, image in enumerate(faces.images.permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image).save(folder / EMOTIONS[int(faces.emotion[row])] / f"{row}.jpg", quality=95)


def make_trainer(adapt: str, faces: Faces, setting: Setting) -> Trainer:
    """The step's own trainer, as the pipeline makes it."""
    config = TrainConfig(
        preset="robust",
        adapt=adapt,
        loss="ce" if adapt == "none" else "ace",
        backbone=setting.backbone,
        feature_dim=FEATURE_DIM,
        image_size=setting.size,
        batch_size=setting.batch,
        epochs=1000,
    )
    trainer = Trainer(config, faces, faces)
    trainer.objective.train()
    return trainer


def bare_steps(faces: Faces, setting: Setting) -> Way:
    """(a): nothing but the network, on a batch that is there already."""
    net = pooled_net(setting)
    optimizer = torch.optim.SGD(net.parameters(), 0.01, 0.9, weight_decay=2e-4, fused=True)
    images = faces.images[: setting.batch].to(setting.device, memory_format=torch.channels_last)
    emotion = faces.emotion[: setting.batch].to(setting.device)

    def train(steps: int) -> None:
        for _ in range(steps):
            with setting.autocast():
                loss = F.cross_entropy(net(images)[1][0].float(), emotion)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return train


def our_steps(trainer: Trainer) -> Way:
    """(b): what an epoch does for each of its batches."""
    sums = EpochSums()

    def train(steps: int) -> None:
        for _ in range(steps):
            sums.add(trainer.step, trainer.train_step(trainer.batches.of_step(trainer.step)))

    return train


def image_folder_steps(folder: Path, setting: Setting, as_usual: bool) -> Way:
    """(c): files, workers, transforms, and a loss that is read after each step.

    The workers start before each turn, and leave none of their work to the next way.
    """
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToTensor

    transform = Compose(
        [
            RandomCrop(setting.size, padding=setting.size // 10, padding_mode="edge"),
            RandomHorizontalFlip(),
            ToTensor(),
            Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    loader = torch.utils.data.DataLoader(
        ImageFolder(folder, transform), setting.batch, shuffle=True, num_workers=os.cpu_count() or 1,
        pin_memory=setting.device.type == "cuda", drop_last=True,
    )  # fmt: skip
    if as_usual:
        setting = replace(setting, precision="fp32")
    layout = torch.contiguous_format if as_usual else torch.channels_last
    net = pooled_net(setting).to(memory_format=layout)
    net.backbone[0] = nn.Identity()  # the transform has normalised
    optimizer = torch.optim.SGD(net.parameters(), 0.01, 0.9, weight_decay=2e-4)

    ready: list[Iterator[list[Tensor]]] = []

    def train(steps: int) -> None:
        if not steps:
            endless = itertools.chain.from_iterable(itertools.repeat(loader))
            ready.append(itertools.chain([next(endless)], endless))
            return
        for images, emotion in itertools.islice(ready.pop() if ready else loader, steps):
            images = images.to(setting.device, memory_format=layout, non_blocking=True)
            emotion = emotion.to(setting.device, non_blocking=True)
            optimizer.zero_grad()
            with setting.autocast():
                loss = F.cross_entropy(net(images)[1][0], emotion)
            loss.backward()
            optimizer.step()
            loss.item()

    return train


def domainbed_steps(faces: Faces, setting: Setting) -> Way:
    """(d): AbstractDANN.update with its defaults: Adam, gradient penalty, a step of d for each one of f."""
    net = pooled_net(setting)
    width = net.heads[0][0].in_features
    discriminator = nn.Sequential(
        nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, len(DATASETS))
    ).to(setting.device)
    f_optimizer = torch.optim.Adam(net.parameters(), 5e-5, betas=(0.5, 0.9))
    d_optimizer = torch.optim.Adam(discriminator.parameters(), 5e-5, betas=(0.5, 0.9))
    order = itertools.cycle(range(0, len(faces) - setting.batch + 1, setting.batch))
    count = itertools.count()

    def train(steps: int) -> None:
        for _ in range(steps):
            start = next(order)
            rows = slice(start, start + setting.batch)
            images = faces.images[rows].to(setting.device, memory_format=torch.channels_last)
            emotion, dataset = faces.emotion[rows].to(setting.device), faces.dataset[rows].to(setting.device)
            with setting.autocast():
                features, logits = net(images)
            features = features.float()
            d_loss = F.cross_entropy(discriminator(features), dataset)
            right = discriminator(features).softmax(1).gather(1, dataset[:, None]).sum()
            (gradient,) = torch.autograd.grad(right, features, create_graph=True)
            d_loss = d_loss + 0.0 * gradient.square().sum(1).mean()
            f_optimizer.zero_grad()
            d_optimizer.zero_grad()
            if next(count) % 2:
                d_loss.backward()
                d_optimizer.step()
            else:
                (F.cross_entropy(logits[0].float(), emotion) - d_loss).backward()
                f_optimizer.step()

    return train


def skada_steps(faces: Faces, setting: Setting) -> Way:
    """(d): skada's DANN through skorch, two domains (it knows source and target only), half a batch each."""
    from skada.deep import DANN

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            net = pooled_net(setting)
            self.backbone, self.head = nn.Sequential(net.backbone, _Float()), net.heads[0]

        def forward(self, images: Tensor, sample_weight: object = None) -> Tensor:
            with setting.autocast():
                return self.head(self.backbone(images)).float()

    width = pooled_net(setting).heads[0][0].in_features
    model = DANN(
        Net(),
        layer_name="backbone",
        num_features=width,
        optimizer=torch.optim.SGD,
        lr=0.01,
        optimizer__momentum=0.9,
        train_split=None,
        device=str(setting.device),
    )
    model.initialize()
    half = setting.batch // 2
    order = itertools.cycle(range(0, len(faces) - setting.batch + 1, setting.batch))

    def train(steps: int) -> None:
        for _ in range(steps):
            start = next(order)
            rows = slice(start, start + setting.batch)
            images = faces.images[rows].to(memory_format=torch.channels_last)
            domain = torch.cat([torch.ones(half), -2 * torch.ones(setting.batch - half)]).long()
            emotion = torch.where(domain > 0, faces.emotion[rows], -1)
            model.train_step(({"X": images, "sample_domain": domain}, emotion))

    return train


class _Float(nn.Module):
    """bf16 features as float32: skada's domain classifier runs outside autocast."""

    def forward(self, features: Tensor) -> Tensor:
        return features.float()


def pooled_net(setting: Setting) -> CrossfaceNet:
    """The network of the baseline."""
    net = CrossfaceNet(
        NetConfig(
            backbone=setting.backbone,
            feature_dim=FEATURE_DIM,
            image_size=setting.size,
            heads=("pooled",),
            adapt="none",
        )
    )
    return net.to(setting.device).to(memory_format=torch.channels_last).train()


def print_phases(trainer: Trainer, setting: Setting) -> None:
    """Where the time of a CDA step goes; waiting for the device after each phase, which costs a little."""
    spent: dict[str, list[float]] = {}

    def phase(name: str, work: Callable[[], object]) -> object:
        start = time.perf_counter()
        done = work()
        setting.sync()
        spent.setdefault(name, []).append(time.perf_counter() - start)
        return done

    for _ in range(5):
        batch = phase("data", lambda: trainer.batches.of_step(trainer.step))
        with setting.autocast():
            outputs = phase("network", lambda batch=batch: trainer.net(batch.images))
            loss = phase(
                "loss", lambda batch=batch, o=outputs: trainer.method(*o, batch.emotion, batch.dataset, 0.5)
            )
        phase("backward", lambda loss=loss: loss.total.backward())
        phase("optimiser", lambda: trainer.optimisation.step(trainer.step))
    medians = {name: statistics.median(times) for name, times in spent.items()}
    whole = sum(medians.values())
    shares = [(name, f"{seconds / whole:.1%}") for name, seconds in medians.items()]
    print("\n" + table(("phase of a cda step", "share"), shares))


def data_path(trainer: Trainer, setting: Setting) -> float:
    """Images a second that sampling, gathering and augmentation alone put on the device."""
    best = float("inf")
    for turn in range(10):
        setting.sync()
        start = time.perf_counter()
        trainer.batches.of_step(turn)
        setting.sync()
        best = min(best, time.perf_counter() - start)
    return setting.batch / best


def print_utilisation(trainer: Trainer, speed: float, setting: Setting) -> None:
    """Model FLOPs a second beside those of a large matrix product, and the paper's run in hours."""
    batch = trainer.batches.of_step(0)
    with FlopCounterMode(display=False) as counter, setting.autocast():
        trainer.method(*trainer.net(batch.images), batch.emotion, batch.dataset, 0.5).total.backward()
    each = counter.get_total_flops() / len(batch.emotion)
    limit = matmul_flops(setting)
    print(
        f"{each / 1e9:.2f} GFLOP an image; {each * speed / 1e12:.3f} TFLOP/s are "
        f"{each * speed / limit:.1%} of the {limit / 1e12:.3f} of a matrix product\n"
        f"the paper's run ({PAPER_IMAGES:,} images, {PAPER_EPOCHS} epochs) with this network: "
        f"{PAPER_IMAGES * PAPER_EPOCHS / speed / 3600:,.1f} hours"
    )


def matmul_flops(setting: Setting) -> float:
    """FLOPs a second of a large product in the precision of training."""
    side = 8192 if setting.device.type == "cuda" else 2048
    dtype = torch.bfloat16 if use_bf16("auto", setting.device) else torch.float32
    left, right = (torch.randn(side, side, device=setting.device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        setting.sync()
        start = time.perf_counter()
        left @ right
        setting.sync()
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def peak_memory(setting: Setting) -> int:
    """Bytes: of the GPU, or of this process, all ways together."""
    if setting.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
