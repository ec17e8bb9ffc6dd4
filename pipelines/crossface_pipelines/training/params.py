"""Parameters of the pipelines: a YAML file, validated whole before anything starts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossface.config import Config
from crossface.crop_faces.config import CropConfig
from crossface.data.digest import values_digest
from crossface.data.revision import listing_digest
from crossface.data.source import source_fault
from crossface.errors import ConfigError
from crossface.evaluate.config import EvaluateConfig
from crossface.find_leakage.config import LeakageConfig
from crossface.ingest.config import IngestConfig
from crossface.probe_bias.config import ProbeConfig
from crossface.register.config import RegisterConfig
from crossface.train.config import TrainConfig
from crossface_pipelines.benchmark.study import StudyConfig, study_trainings
from crossface_pipelines.params_file import assign, mapping_in, merged, read_values

_SECTIONS: dict[str, type[Config]] = {
    "crop": CropConfig,
    "leakage": LeakageConfig,
    "probe": ProbeConfig,
    "baseline": TrainConfig,
    "adapted": TrainConfig,
    "evaluation": EvaluateConfig,
    "registration": RegisterConfig,
    "study": StudyConfig,
}
POLICIES = Path(__file__).parent / "policies"
"""Policies of the gate that come along."""
_KEYS = ("seed", "datasets", "train", *_SECTIONS)


class TrainingParams(Config):
    """All that a pipeline is told."""

    datasets: tuple[IngestConfig, ...]
    crop: CropConfig
    leakage: LeakageConfig
    probe: ProbeConfig
    baseline: TrainConfig
    adapted: TrainConfig
    evaluation: EvaluateConfig
    registration: RegisterConfig
    study: StudyConfig

    def with_revisions(self) -> "TrainingParams":
        """Give each dataset that names no revision the fingerprint of its files.

        Raises:
            DataError: a dataset in S3 cannot be listed.
        """
        datasets = tuple(
            dataset
            if dataset.revision
            else dataset.model_copy(update={"revision": listing_digest(dataset.source)})
            for dataset in self.datasets
        )
        return self.model_copy(update={"datasets": datasets})

    def arguments(self, pipeline: str = "training") -> dict[str, Any]:
        """A pipeline's arguments, as plain JSON values; KFP knows no null, so those are left out.

        Raises:
            ConfigError: there is nothing for the benchmark to study.
        """
        without = {"study", "registration"} if pipeline == "benchmark" else {"study"}
        arguments = self.model_dump(mode="json", exclude_none=True, exclude=without)
        if pipeline == "benchmark":
            keys = [dataset.key for dataset in self.datasets]
            arguments["evaluation"]["champion"] = ""  # nothing is promoted
            arguments["trainings"] = study_trainings(self.study, keys, self.baseline, self.adapted)
        if pipeline == "retraining":
            for name in ("baseline", "adapted"):
                arguments[name]["checkpoint"]["replace"] = True  # nobody is there to remove it
            settings = {key: arguments[key] for key in _SECTIONS if key in arguments}
            arguments |= {"model_name": self.registration.model_name, "settings": values_digest(settings)}
        return arguments


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
    values = read_values(file)
    for assignment in assignments:
        assign(values, assignment)
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


def _expand(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Fill each section with what it shares with others."""
    given = {name: mapping_in(values, name) for name in ("train", *_SECTIONS)}
    given["evaluation"] = _evaluation(given)
    shared: dict[str, Any] = {
        "seed": values.get("seed", 0),
        "image_size": given["crop"].get("size", 100),
        "margin": given["crop"].get("margin", CropConfig.model_fields["margin"].default),
    }
    expanded = {}
    for name, section in _SECTIONS.items():
        defaults = {key: value for key, value in shared.items() if key in section.model_fields}
        common = _training(given["train"], name) if section is TrainConfig else {}
        expanded[name] = merged(defaults, common, given[name])
    return expanded


def _evaluation(given: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Held against the champion of the model that would be registered, by a policy that may be a file."""
    default = RegisterConfig.model_fields["model_name"].default
    champion = given["registration"].get("model_name", default)
    evaluation = {"champion": champion, **given["evaluation"]}
    if isinstance(policy := evaluation.get("gate"), str):
        shipped = POLICIES / f"{policy}.yaml"
        evaluation["gate"] = read_values(shipped if shipped.is_file() else Path(policy))
    return evaluation


def _training(shared: dict[str, Any], name: str) -> dict[str, Any]:
    """What one of the trainings takes from the shared section; two may not use one checkpoint."""
    checkpoint = shared.get("checkpoint")
    if not isinstance(checkpoint, dict) or not isinstance(uri := checkpoint.get("uri"), str) or not uri:
        return shared
    return {**shared, "checkpoint": {**checkpoint, "uri": f"{uri.rstrip('/')}/{name}"}}


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
    if fault := source_fault(dataset.source):
        return [f"{where}.source: {source} is {fault}"]
    if not source.is_dir():
        return []
    for name in dataset.options.files if dataset.options else ():
        if not (source / name).is_file():
            return [f"{where}.options.file: {source / name} is not a file"]
    return []
