"""How fast does evaluation predict faces, and does its memory stay the same however many there are?

Speed: two ResNet-18 at 100 px, one with a pooled head and one with three, from crops in Parquet.

evaluation     to the table of predictions, in bf16 where the hardware has it
eager loop     as one would write it: a Dataset that decodes with Pillow, ToTensor, a DataLoader with workers,
               the network in eval mode and fp32, softmax, a list; a model after the other
bare network   forward passes on a batch that is there already, in the precision of the evaluation: the limit

They take turns, and the best turn of each counts, so that what else the machine does matters little. Memory:
the peak of a process of its own that predicts with two ResNet-8 at 48 px. Probe: CPU time, and memory beyond
that of the features, for 3,000 to 300,000 made-up faces, with two cross-validations instead of eleven.
"""

import io
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from report import arguments, table, write_ratios
from torch import Tensor
from torchvision.transforms.functional import to_tensor

from crossface.bias.config import ProbeSettings
from crossface.bias.probe import probe_dataset
from crossface.data.crops import ShardWriter
from crossface.data.emotions import EMOTIONS
from crossface.evaluate.tables import predict_test_faces
from crossface.model.config import NetConfig
from crossface.model.devices import use_bf16
from crossface.model.networks import CrossfaceNet

DATASETS = ("rafdb", "expw", "affectnet")
BATCH = 256
DISTINCT = 2_000  # crops that are drawn; others repeat them
FEATURE_WIDTH = 512
UNBOUNDED = 1 << 30
PROBED = (3_000, 30_000, 300_000)


@dataclass(frozen=True)
class Load:
    """How much is measured."""

    faces: int
    turns: int
    memory_faces: tuple[int, int]
    unbounded: Sequence[int]
    """Faces that all are probed, instead of the default's few."""


QUICK = Load(faces=256, turns=3, memory_faces=(1_000, 10_000), unbounded=())
FULL = Load(faces=2_048, turns=5, memory_faces=(10_000, 100_000), unbounded=(30_000,))


def main() -> None:
    """Measure, and print what came out."""
    options = arguments(__doc__)
    load = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        speed = measure_speed(Path(folder), load)
        memory = [measure_memory(Path(folder), faces) for faces in load.memory_faces]
    probes = measure_probes(load)
    few, many = (f"{faces // 1000}k" for faces in load.memory_faces)
    least, *_, most = (probes[faces, "default"] for faces in PROBED)
    write_ratios(
        {
            "faces_per_s_vs_eager_loop": speed["evaluation"] / speed["eager loop"],
            "faces_per_s_vs_bare_network": speed["evaluation"] / speed["bare network"],
            f"peak_memory_{many}_over_{few}": memory[1] / memory[0],
            "probe_time_300k_over_3k": most[0] / least[0],
            "probe_memory_300k_over_3k": most[1] / least[1],
        },
        options.json,
    )


def measure_speed(root: Path, load: Load) -> dict[str, float]:
    """Faces a second, each predicted by both models, in the best turn of every way."""
    crops = write_crops(root / "speed", load.faces, 100)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bf16 = use_bf16("auto", device)
    models = two_models("resnet18", 100, device)
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "evaluation": (load.faces, lambda: predict_test_faces([crops], models, bf16)),
        "eager loop": (load.faces, lambda: [eager_loop(crops, net, device) for net in models.values()]),
        "bare network": (BATCH, bare_network(models, device, bf16)),
        "bare network fp32": (BATCH, bare_network(models, device, False)),
    }
    ways["bare network"][1]()
    speed = dict.fromkeys(ways, 0.0)
    for _ in range(load.turns):
        for name, (faces, work) in ways.items():
            start = time.perf_counter()
            with redirect_stdout(io.StringIO()):
                work()
            speed[name] = max(speed[name], faces / (time.perf_counter() - start))
    bare = speed["bare network"]
    rows = [(name, f"{found:,.1f}", f"{found / bare:.3f}") for name, found in speed.items()]
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    print(f"two resnet18, 100 px, {'bf16' if bf16 else 'fp32'}, {device}{threads}\n")
    print(table(("", "faces a second", "of the bare network"), rows) + "\n")
    return speed


def write_crops(folder: Path, faces: int, size: int) -> Path:
    """Cuts of photographs in place of faces, as hard to decode; all in the split test."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    scenes = load_sample_images().images
    encoded = []
    for number in range(min(faces, DISTINCT)):
        scene = scenes[number % 2]
        top, left = (rng.integers(0, side - size) for side in scene.shape[:2])
        buffer = io.BytesIO()
        Image.fromarray(scene[top : top + size, left : left + size]).save(
            buffer, "PNG", compress_type=zlib.Z_RLE
        )
        encoded.append(buffer.getvalue())
    folder.mkdir()
    writer = ShardWriter(folder)
    for number in range(faces):
        writer.write(
            {
                "face_id": f"bench/{number}",
                "dataset": DATASETS[number % len(DATASETS)],
                "split": "test",
                "emotion": number % len(EMOTIONS),
                "image": {"bytes": encoded[number % len(encoded)], "path": f"{number}.png"},
                "group": str(number),
            }
        )
    writer.close()
    return folder


def two_models(backbone: str, size: int, device: torch.device) -> dict[str, CrossfaceNet]:
    """A pooled head and one of each dataset."""
    models = {}
    for name, adapt, heads in (("baseline", "none", ("pooled",)), ("adapted", "cda", DATASETS)):
        config = NetConfig(
            backbone=backbone, feature_dim=FEATURE_WIDTH, image_size=size, heads=heads, adapt=adapt
        )
        models[name] = CrossfaceNet(config).to(device).eval()
    return models


class PlainCrops(torch.utils.data.Dataset):
    """The images of a crops folder, as most would read them."""

    def __init__(self, folder: Path) -> None:
        self._images = pq.read_table(folder, columns=["image"])["image"].to_pylist()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tensor:
        return to_tensor(Image.open(io.BytesIO(self._images[index]["bytes"])).convert("RGB"))


def eager_loop(folder: Path, net: CrossfaceNet, device: torch.device) -> list[list[float]]:
    """Probabilities of every crop by one model."""
    loader = torch.utils.data.DataLoader(PlainCrops(folder), BATCH, num_workers=os.cpu_count() or 1)
    said = []
    with torch.no_grad():
        for images in loader:
            _, logits = net(255 * images.to(device))
            said += logits.softmax(-1).mean(0).tolist()
    return said


def bare_network(models: dict[str, CrossfaceNet], device: torch.device, bf16: bool) -> Callable[[], None]:
    """Both networks on one batch."""
    size = next(iter(models.values())).config.image_size
    images = torch.randint(0, 256, (BATCH, size, size, 3), dtype=torch.uint8, device=device).permute(
        0, 3, 1, 2
    )

    def work() -> None:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            for net in models.values():
                net(images)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return work


def measure_memory(root: Path, faces: int) -> float:
    """Peak MB of a process that predicts so many faces."""
    crops = write_crops(root / f"memory {faces}", faces, 48)
    start = time.perf_counter()
    peak = in_a_child(predict_in_child, crops)
    print(f"{faces:>7,} faces predicted: peak {peak:.0f} MB, {time.perf_counter() - start:.0f} s")
    return peak


def predict_in_child(crops: Path) -> float:
    """Predict, and give the peak MB of this process."""
    cpu = torch.device("cpu")
    with redirect_stdout(io.StringIO()):
        predict_test_faces([crops], two_models("resnet8", 48, cpu), use_bf16("auto", cpu))
    return memory_mb("VmHWM")


def measure_probes(load: Load) -> dict[tuple[int, str], tuple[float, float]]:
    """CPU seconds and MB of the probe, by the number of faces there are and the bound of its sample."""
    jobs = [(faces, "default", ProbeSettings().max_per_cell) for faces in PROBED]
    jobs += [(faces, "none", UNBOUNDED) for faces in load.unbounded]
    found, rows = {}, []
    for faces, bound, max_per_cell in jobs:
        probed, seconds, added = in_a_child(probe_in_child, faces, max_per_cell)
        found[faces, bound] = seconds, added
        rows.append((f"{faces:,}", bound, f"{probed:,}", f"{seconds:.1f}", f"{added:.0f}"))
    print("\n" + table(("faces", "bound of a cell", "probed", "CPU seconds", "MB beyond the features"), rows))
    return found


def probe_in_child(faces: int, max_per_cell: int) -> tuple[int, float, float]:
    """Faces that the probe takes, its CPU seconds, on one thread, and the MB it adds to the features'."""
    rng = np.random.default_rng(0)
    dataset, emotion = (rng.integers(0, count, faces) for count in (len(DATASETS), len(EMOTIONS)))
    features = rng.standard_normal((faces, FEATURE_WIDTH), np.float32)
    features[:, 0] += dataset  # something to find
    names, groups = np.array(DATASETS)[dataset], np.arange(faces).astype(str)
    settings = ProbeSettings(max_per_cell=max_per_cell, permutations=1)
    before, start = memory_mb("VmRSS"), time.process_time()
    with redirect_stdout(io.StringIO()):
        probe = probe_dataset(features, names, emotion, groups, settings, seed=0)
    assert probe is not None
    return probe.n, time.process_time() - start, memory_mb("VmHWM") - before


def in_a_child(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call it in a fresh process, of which nothing is shared with this one."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
        return child.submit(work, *arguments).result()


def memory_mb(field: str) -> float:
    """Of this process: ``VmRSS`` now, ``VmHWM`` at most; not by getrusage, which counts the parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
