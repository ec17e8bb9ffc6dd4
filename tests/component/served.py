"""A tiny model as the registry holds it, without a registry."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
import yaml

from crossface.data.emotions import EMOTIONS
from crossface.data.reference import QUANTILES, REFERENCE_FILE, STATISTICS, Reference, write_reference
from crossface.model.config import NetConfig
from crossface.model.export import export_onnx
from crossface.model.networks import CrossfaceNet
from crossface.model.served import MLMODEL_FILE, write_pin

SIZE, CROP_SIZE, MARGIN = 32, 40, 0.1
HEADS = ("light", "dark")


def network(seed: int = 0) -> CrossfaceNet:
    """Sure of itself in different ways for different faces."""
    torch.manual_seed(seed)
    config = NetConfig(backbone="resnet8", feature_dim=16, image_size=SIZE, heads=HEADS, adapt="heads")
    net = CrossfaceNet(config)
    for head in net.heads:
        torch.nn.init.normal_(head[-1].weight, std=0.3)
    with torch.no_grad():
        net(torch.from_numpy(noise(32)).permute(0, 3, 1, 2))  # statistics of its batch normalisations
    return net.eval()


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def write_files(folder: Path, seed: int = 0, reference: Reference | None = None) -> dict[str, str]:
    """Network, config and reference as they are logged to MLflow: their paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    export_onnx(network(seed), folder / "network.onnx", noise(4))
    config = {
        "emotions": EMOTIONS,
        "heads": HEADS,
        "image_size": SIZE,
        "margin": MARGIN,
        "network_sha256": hashlib.sha256((folder / "network.onnx").read_bytes()).hexdigest(),
    }
    (folder / "config.json").write_text(json.dumps(config))
    files = {"network": str(folder / "network.onnx"), "config": str(folder / "config.json")}
    if reference:
        write_reference(reference, folder)
        files["reference"] = str(folder / REFERENCE_FILE)
    return files


def write_served(folder: Path, seed: int = 0, version: str = "1", reference: Reference | None = None) -> Path:
    """The folder that pin_model would write."""
    files = write_files(folder / "artifacts", seed, reference)
    listed = {name: {"path": f"artifacts/{Path(path).name}"} for name, path in files.items()}
    flavors = {"flavors": {"python_function": {"artifacts": listed}}}
    (folder / MLMODEL_FILE).write_text(yaml.safe_dump(flavors))
    write_pin(folder, "faces", version)
    return folder


def flat_reference(**quantiles: float) -> Reference:
    """Crops of another size than the network's, and every statistic between 0 and what is given, or 1."""
    each = dict.fromkeys(EMOTIONS, 100)
    steps = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return Reference(
        crop_size=CROP_SIZE,
        labels=each,
        answers=each,
        quantiles={name: tuple((steps * quantiles.get(name, 1.0)).tolist()) for name in STATISTICS},
    )
