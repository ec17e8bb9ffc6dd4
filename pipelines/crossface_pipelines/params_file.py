"""A params file as plain values: YAML, with ``key=value`` assignments on top."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from crossface.errors import ConfigError

PARAMS = Path(__file__).parent / "training" / "params"
"""Params files that come along, of every pipeline but scoring."""


def params_file(name: str) -> Path:
    """A path, or the name of a params file that comes along."""
    shipped = PARAMS / f"{name}.yaml"
    return shipped if shipped.is_file() else Path(name)


def read_values(file: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        ConfigError: it is not there, or no such file.
    """
    try:
        values = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: not a mapping")
    return values


def assign(values: dict[str, Any], assignment: str) -> None:
    """Apply ``a.b.c=value``, the value as YAML; a member of a list is named by its ``key``.

    Raises:
        ConfigError: it is of another form, or names nothing.
    """
    path, separator, text = assignment.partition("=")
    if not separator or not path:
        raise ConfigError(f"--set {assignment}: not of the form key=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {path}: {text!r} is not YAML") from None
    *parents, last = path.split(".")
    place: Any = values
    for name in parents:
        if isinstance(place, list):
            place = next((item for item in place if isinstance(item, dict) and item.get("key") == name), None)
        elif isinstance(place, dict):
            place = place.setdefault(name, {})
        if place is None:
            raise ConfigError(f"--set {path}: nothing is called {name}")
    if not isinstance(place, dict):
        raise ConfigError(f"--set {path}: {parents[-1] if parents else path} holds no keys")
    place[last] = value


def mapping_in(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A mapping in the file; empty where it is not given.

    Raises:
        ConfigError: it is none.
    """
    found = values.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"{name}: should be a mapping (got {found!r})")
    return found


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Later layers win; nested mappings are merged, not replaced."""
    values: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(values.get(key), dict)
            values[key] = merged(values[key], value) if both else value
    return values
