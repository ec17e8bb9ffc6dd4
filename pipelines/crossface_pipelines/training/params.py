"""Parameters of the training pipeline: a YAML file, validated whole before anything starts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from crossface.config import Config
from crossface.crop_faces.config import CropConfig
from crossface.data import s3
from crossface.data.archives import SUFFIXES, is_archive
from crossface.errors import ConfigError
from crossface.evaluate.config import EvaluateConfig
from crossface.find_leakage.config import LeakageConfig
from crossface.ingest.config import IngestConfig
from crossface.probe_bias.config import ProbeConfig
from crossface.register.config import RegisterConfig
from crossface.train.config import TrainConfig

_SECTIONS: dict[str, type[Config]] = {
    "crop": CropConfig,
    "leakage": LeakageConfig,
    "probe": ProbeConfig,
    "baseline": TrainConfig,
    "adapted": TrainConfig,
    "evaluation": EvaluateConfig,
    "registration": RegisterConfig,
}
_KEYS = ("seed", "datasets", "train", *_SECTIONS)


class TrainingParams(Config):
    """All that the training pipeline is told."""

    datasets: tuple[IngestConfig, ...]
    crop: CropConfig
    leakage: LeakageConfig
    probe: ProbeConfig
    baseline: TrainConfig
    adapted: TrainConfig
    evaluation: EvaluateConfig
    registration: RegisterConfig

    def arguments(self) -> dict[str, Any]:
        """The pipeline's arguments, as plain JSON values; KFP knows no null, so those are left out."""
        return self.model_dump(mode="json", exclude_none=True)


def load_params(file: Path, assignments: Sequence[str] = (), check_sources: bool = True) -> TrainingParams:
    """Read a params file, apply ``key=value`` assignments and validate everything.

    Shorthands keep a file free of repetition: ``train`` holds what ``baseline`` and ``adapted`` share (its
    ``checkpoint.uri`` gets a folder for each), and the top-level ``seed`` and ``crop.size`` are the default
    of every step's ``seed`` and ``image_size``.

    Args:
        file: a YAML file, see ``params/sample.yaml``. Relative sources are relative to the working directory.
        check_sources: whether the sources must be here; not for a pipeline that will run elsewhere.
        assignments: such as ``train.epochs=3`` or ``datasets.rafdb.source=/data/raf``; values are YAML.

    Raises:
        ConfigError: one line a fault, each naming its key.
    """
    values = _read(file)
    for assignment in assignments:
        _assign(values, assignment)
    faults = [f"{key}: unknown key" for key in values if key not in _KEYS]
    parsed: dict[str, Any] = {}
    for name, section in _expand(values).items():
        try:
            parsed[name] = _SECTIONS[name].parse(section, where=name)
        except ConfigError as error:
            faults += str(error).splitlines()
    datasets, dataset_faults = _datasets(values)
    if check_sources:
        dataset_faults += [fault for dataset in datasets for fault in _missing_files(dataset)]
    faults += dataset_faults
    if not faults:
        faults += _shared_checkpoint(parsed)
    if faults:
        # a fault in the shared section shows up in both trainings
        raise ConfigError("\n".join(dict.fromkeys(faults)))
    return TrainingParams(datasets=tuple(datasets), **parsed)


def _read(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: not a mapping")
    return values


def _assign(values: dict[str, Any], assignment: str) -> None:
    """Apply ``a.b.c=value``; a member of ``datasets`` is named by its key."""
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


def _expand(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Fill each section with what it shares with others."""
    given = {name: _mapping(values, name) for name in ("train", *_SECTIONS)}
    shared: dict[str, Any] = {"seed": values.get("seed", 0), "image_size": given["crop"].get("size", 100)}
    expanded = {}
    for name, section in _SECTIONS.items():
        defaults = {key: value for key, value in shared.items() if key in section.model_fields}
        common = _training(given["train"], name) if section is TrainConfig else {}
        expanded[name] = _merge(defaults, common, given[name])
    return expanded


def _training(shared: dict[str, Any], name: str) -> dict[str, Any]:
    """What one of the trainings takes from the shared section; two may not use one checkpoint."""
    checkpoint = shared.get("checkpoint")
    if not isinstance(checkpoint, dict) or not isinstance(uri := checkpoint.get("uri"), str) or not uri:
        return shared
    return {**shared, "checkpoint": {**checkpoint, "uri": f"{uri.rstrip('/')}/{name}"}}


def _mapping(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = values.get(name)
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise ConfigError(f"{name}: should be a mapping (got {section!r})")
    return section


def _merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Later layers win; nested mappings are merged, not replaced."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = _merge(merged[key], value) if both else value
    return merged


def _datasets(values: Mapping[str, Any]) -> tuple[list[IngestConfig], list[str]]:
    """Parse the datasets, and find what a single one cannot show: names taken twice."""
    items = values.get("datasets")
    if not isinstance(items, list) or not items:
        return [], ["datasets: at least one is needed"]
    parsed: list[IngestConfig] = []
    faults: list[str] = []
    for position, item in enumerate(items):
        where = f"datasets.{item.get('key', position) if isinstance(item, dict) else position}"
        if not isinstance(item, dict):
            faults.append(f"{where}: should be a mapping (got {item!r})")
            continue
        try:
            dataset = IngestConfig.parse({"seed": values.get("seed", 0), **item}, where)
        except ConfigError as error:
            faults += str(error).splitlines()
            continue
        if dataset.key in {other.key for other in parsed}:
            faults.append(f"{where}.key: two datasets are called {dataset.key}")
        parsed.append(dataset)
    return parsed, faults


def _shared_checkpoint(parsed: Mapping[str, Any]) -> list[str]:
    uris = {parsed[name].checkpoint.uri.rstrip("/") for name in ("baseline", "adapted")}
    if len(uris) > 1 or uris == {""}:
        return []
    return ["adapted.checkpoint.uri: the baseline's too; each training needs one of its own"]


def _missing_files(dataset: IngestConfig) -> list[str]:
    """What the configuration names and is not there; what lies in S3 or in an archive, ingest will see."""
    where, source = f"datasets.{dataset.key}", Path(dataset.source)
    if dataset.source.startswith(s3.SCHEME):
        return []
    if not source.is_dir():
        if source.is_file() and is_archive(dataset.source):
            return []
        wanted = (
            f"neither a directory nor an archive ({', '.join(SUFFIXES)})" if source.exists() else "not there"
        )
        return [f"{where}.source: {source} is {wanted}"]
    for name in dataset.options.files if dataset.options else ():
        if not (source / name).is_file():
            return [f"{where}.options.file: {source / name} is not a file"]
    return []
