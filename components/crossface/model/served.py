"""The folder of a registered model as others than MLflow read it: no torch, and no code in it is run."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from crossface.data.emotions import EMOTIONS
from crossface.data.reference import Reference, read_reference
from crossface.errors import DataError

MODEL_TAG = "crossface.model_sha256"
"""Tag of a registered version: the hash of the network that answers."""

MLMODEL_FILE = "MLmodel"
PIN_FILE = "pinned.json"


@dataclass(frozen=True)
class ServedModel:
    """What answers, and how faces have to be cut for it."""

    name: str
    """Of the registered model."""
    version: str
    network: Path
    """ONNX, as of :class:`crossface.model.export.Deployed`."""
    sha256: str
    """Of the network."""
    image_size: int
    margin: float
    reference: Reference | None
    """What its training data were like; None where nothing was kept."""


def write_pin(folder: Path, name: str, version: str) -> None:
    """Note in a model's folder which one it is; no file of MLflow's says so in every store."""
    (folder / PIN_FILE).write_text(json.dumps({"name": name, "version": version}) + "\n")


def open_served(folder: Path) -> ServedModel:
    """Read a model's folder and check that its network is the one that was registered.

    Raises:
        DataError: a file is missing or damaged, or the network is another.
    """
    pin = _mapping(folder / PIN_FILE)
    files = _artifacts(folder)
    config = _mapping(files["config"])
    try:
        if config["emotions"] != list(EMOTIONS):
            raise DataError(f"{files['config']}: the emotions are {config['emotions']}")
        expected, image_size, margin = config["network_sha256"], config["image_size"], config["margin"]
        name, version = pin["name"], pin["version"]
    except KeyError as error:
        raise DataError(f"{folder}: not a pinned model of crossface, {error} is not said") from None
    found = _sha256(files["network"])
    if found != expected:
        raise DataError(f"{files['network']}: not what was registered: sha256 {found}, not {expected}")
    reference = read_reference(files["reference"]) if "reference" in files else None
    return ServedModel(name, version, files["network"], found, image_size, margin, reference)


class Network:
    """The open network.

    Args:
        model: which.
    """

    def __init__(self, model: ServedModel) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(model.network, providers=["CPUExecutionProvider"])

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """What is deployed, the mean over the heads: uint8 [n, size, size, 3] RGB -> float32 [n, 7]."""
        return self._session.run(None, {"image": images})[0][:, 0]


def _artifacts(folder: Path) -> dict[str, Path]:
    """The files of the model by the names under which they were logged."""
    try:
        listed = _mapping(folder / MLMODEL_FILE)["flavors"]["python_function"]["artifacts"]
        files = {name: folder / entry["path"] for name, entry in listed.items()}
    except (KeyError, TypeError, AttributeError):
        raise DataError(f"{folder / MLMODEL_FILE}: not a model that crossface registered") from None
    for name in ("config", "network"):
        if name not in files or not files[name].is_file():
            raise DataError(f"{folder}: the model's {name} is missing")
    return files


def _mapping(file: Path) -> dict[str, Any]:
    """JSON, or YAML, of which it is a part."""
    try:
        values = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{file}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise DataError(f"{file}: damaged")
    return values


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
