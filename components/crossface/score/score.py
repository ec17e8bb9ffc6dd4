"""The step: a model and a source of photos in; scores, rejects and a drift report out."""

import importlib.metadata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import crossface
from crossface.cropping.detection import check_detector
from crossface.data.emotions import EMOTION_INDEX
from crossface.data.reference import capture_statistics_of, expression_counts
from crossface.data.rejects import Reject, check_reject_fraction, write_rejects
from crossface.data.source import open_source
from crossface.data.storage import atomic_folder
from crossface.errors import DataError
from crossface.model.served import ServedModel, open_served
from crossface.progress import say
from crossface.score.checkpoint import ShardStore
from crossface.score.config import ScoreConfig
from crossface.score.drift import Drift, in_words, measure_drift, worst
from crossface.score.photos import Listing, identity_of_photos, list_photos
from crossface.score.report import write_report
from crossface.score.shards import Scored, cut_config, score_shards

_PACKAGES = ("numpy", "onnxruntime", "pillow", "pyarrow", "scipy")


@dataclass(frozen=True)
class ScoreSummary:
    """What score wrote.

    Attributes:
        document: the content of ``drift.json``.
        drifts: empty where the model has no reference.
    """

    document: dict[str, Any]
    drifts: list[Drift]

    def metrics(self) -> dict[str, float]:
        """Flat numbers, such as ``faces``, ``expressions/fear``, ``drift/brightness``, ``rejects``."""
        values = {name: float(self.document[name]) for name in ("photos", "faces")}
        faces = self.document["faces"]
        for name, count in self.document["expressions"].items():
            values[f"expressions/{name}"] = count / faces
        values["rejects"] = float(sum(self.document["rejects"].values()))
        for reason, count in self.document["rejects"].items():
            values[f"rejects/{reason}"] = float(count)
        return values | {f"drift/{drift.name}": drift.distance for drift in self.drifts}

    def tags(self) -> dict[str, str]:
        """Which model, and the drift in words."""
        model = self.document["model"]
        return {
            "crossface.model": model["name"],
            "crossface.model_version": model["version"],
            "crossface.drift": self.document["drift"],
        }

    def __str__(self) -> str:
        return f"score: {self.document['faces']:,} faces; {self.document['drift']}"


def score(model: Path, config: ScoreConfig, out: Path) -> ScoreSummary:
    """Score every photo of a source.

    Writes ``part-*.parquet`` (rows of ``SCORE_SCHEMA``, a file a shard of photos, in the order of their
    paths), ``rejects.parquet``, ``drift.json`` and ``drift.html``. Shards that the checkpoint holds are taken
    from it; the result is the same, byte for byte.

    Args:
        model: a folder of pin_model.
        config: what is scored, and how.
        out: folder to write, whole or not at all.

    Raises:
        ConfigError: the detector is not installed, or a file is missing.
        DataError: the model's folder is not what was registered, there are no photos, or too many faces are
            rejected.
        CrossfaceError: a worker process died.
    """
    check_detector(config.detector)
    served = open_served(model)
    with (
        open_source(config.source) as source,
        atomic_folder(out) as part,
        TemporaryDirectory(prefix="crossface-") as scratch,
    ):
        listing = list_photos(source, config)
        rejects = _write_parts(served, config, listing, part, Path(scratch))
        used = listing.faces - len(rejects)
        check_reject_fraction(rejects, used, config.max_reject_fraction, f"score {config.source}")
        if not used:
            raise DataError(f"{config.source}: not one face could be scored")
        write_rejects(rejects, part)
        summary = _sum_up(served, config, listing, rejects, part)
        write_report(summary.document, part)
    return summary


def identity(model: ServedModel, config: ScoreConfig, listing: Listing) -> dict[str, Any]:
    """All that a shard follows from."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {
        "model": {"name": model.name, "version": model.version, "sha256": model.sha256},
        "photos": identity_of_photos(listing, config),
        "cut": cut_config(model, config).model_dump(mode="json", exclude={"workers"}),
        "shards": {"photos": config.shard_photos, "batch_size": config.batch_size},
        "versions": {"crossface": crossface.__version__, **versions},
    }


def _write_parts(
    model: ServedModel, config: ScoreConfig, listing: Listing, folder: Path, scratch: Path
) -> list[Reject]:
    """Write the Parquet files, those of the checkpoint first; the rejects come in the order of the photos."""
    size = config.shard_photos
    shards = [listing.photos[start : start + size] for start in range(0, len(listing.photos), size)]
    parts = [folder / f"part-{number:05d}.parquet" for number in range(len(shards))]
    rejects: dict[int, list[Reject]] = {}
    store: ShardStore | None = None
    if config.checkpoint:
        store = ShardStore(config.checkpoint, identity(model, config, listing), scratch)
        rejects = {
            number: store.fetch(number, parts[number]) for number in range(len(shards)) if store.has(number)
        }
        say(f"{len(rejects)} of {len(shards)} shards are done already: {store.location}")
    missing = [number for number in range(len(shards)) if number not in rejects]
    for number, (table, rejected) in _scored(missing, shards, model, config, scratch):
        pq.write_table(table, parts[number], compression="zstd")
        rejects[number] = rejected
        if store:
            store.keep(number, parts[number], rejected)
    return [reject for number in range(len(shards)) for reject in rejects[number]]


def _scored(
    numbers: list[int], shards: list, model: ServedModel, config: ScoreConfig, scratch: Path
) -> Iterator[tuple[int, Scored]]:
    if numbers:
        wanted = [shards[number] for number in numbers]
        yield from zip(numbers, score_shards(wanted, model, config, scratch), strict=True)


def _sum_up(
    model: ServedModel, config: ScoreConfig, listing: Listing, rejects: list[Reject], folder: Path
) -> ScoreSummary:
    rows = _read_columns(folder, ["expression", "confidence", "capture"])
    emotions = np.array([EMOTION_INDEX[name] for name in rows["expression"].to_pylist()])
    expressions = expression_counts(emotions)
    statistics = {"confidence": np.asarray(rows["confidence"]), **capture_statistics_of(rows["capture"])}
    reference = model.reference
    drifts = measure_drift(expressions, statistics, reference) if reference else []
    document = {
        "model": {"name": model.name, "version": model.version, "sha256": model.sha256},
        "source": config.source,
        "photos": len(listing.photos),
        "faces": len(rows),
        "other_files": listing.others,
        "expressions": expressions,
        "rejects": dict(sorted(Counter(str(reject.reason) for reject in rejects).items())),
        "statistics": {name: _spread(values) for name, values in statistics.items()},
        "drift": in_words(drifts) if drifts else "not known: no reference came with the model",
        "verdict": str(worst(drifts)) if drifts else None,
        "drifts": {drift.name: drift.as_dict() for drift in drifts},
        "reference": reference
        and {
            "labels": reference.labels,
            "answers": reference.answers,
            "statistics": {
                name: _spread(np.array(reference.quantiles[name])) for name in reference.quantiles
            },
        },
        "settings": config.model_dump(mode="json"),
        "identity": identity(model, config, listing),
    }
    return ScoreSummary(document, drifts)


def _read_columns(folder: Path, columns: list[str]) -> pa.Table:
    return pa.concat_tables(
        pq.read_table(part, columns=columns) for part in sorted(folder.glob("part-*.parquet"))
    )


def _spread(values: np.ndarray) -> Mapping[str, float]:
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95)).tolist()
    return {"low": low, "median": middle, "high": high}
