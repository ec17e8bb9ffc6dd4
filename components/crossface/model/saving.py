"""A model folder: ``model.safetensors`` and ``config.json``. No pickle anywhere."""

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from crossface.errors import DataError
from crossface.model.config import NetConfig
from crossface.model.networks import CrossfaceNet

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
TABLES_FILE = "tables.json"


def save_model(net: CrossfaceNet, folder: Path) -> None:
    """Write the weights and the configuration into an existing folder."""
    # contiguous: safetensors refuses the strides that channels_last leaves behind
    state = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE)
    (folder / CONFIG_FILE).write_text(json.dumps(net.config.model_dump(), indent=2) + "\n")


def load_model(folder: Path) -> CrossfaceNet:
    """Load what :func:`save_model` wrote, in evaluation mode on the CPU.

    Raises:
        DataError: a file is missing or the weights do not fit the configuration.
        ConfigError: the backbone cannot be built here; timm may be missing.
    """
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: not a model folder, {name} is missing")
    try:
        config = NetConfig.parse(json.loads((folder / CONFIG_FILE).read_text()), where=CONFIG_FILE)
    except json.JSONDecodeError as error:
        raise DataError(f"{folder / CONFIG_FILE}: not JSON: {error}") from None
    net = CrossfaceNet(config)
    try:
        net.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (RuntimeError, SafetensorError) as error:
        raise DataError(f"{folder / WEIGHTS_FILE}: damaged, or not of {CONFIG_FILE}: {error}") from None
    return net.eval()


Tables = dict[str, list[list[float]]]
"""By name 7 x 7 shares, from emotion to emotion: what training learned in small, such as g(y)."""


def save_tables(tables: Tables, folder: Path) -> None:
    """Write them beside the model."""
    (folder / TABLES_FILE).write_text(json.dumps(tables) + "\n")


def load_tables(folder: Path) -> Tables:
    """Read what :func:`save_tables` wrote; none where there is no such file.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / TABLES_FILE
    if not path.exists():
        return {}
    try:
        return TypeAdapter(Tables).validate_json(path.read_text())
    except ValidationError as error:
        raise DataError(f"{path}: not tables of numbers: {error.errors()[0]['msg']}") from None
