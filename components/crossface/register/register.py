"""The step: a model folder and its evaluation in, a version in the registry out."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.dataset as pad

from crossface.data.crops import CROP_SCHEMA
from crossface.data.reference import REFERENCE_FILE
from crossface.errors import DataError
from crossface.gate.champion import read_judged
from crossface.gate.verdict import Rule
from crossface.model.export import Agreement, export_onnx
from crossface.model.images import decode_crops
from crossface.model.networks import CrossfaceNet
from crossface.model.quantization import compare_onnx, quantize_onnx
from crossface.model.saving import WEIGHTS_FILE, load_model
from crossface.progress import say
from crossface.register.config import RegisterConfig
from crossface.register.cost import Cost, cost_rules, measure_cost
from crossface.register.int8 import check_crops, evaluate_int8, write_judged
from crossface.register.judge import judge_copy
from crossface.register.model_card import Card, Precision
from crossface.register.names import (
    COMPARED_WITH_TAG,
    DATA_TAG,
    FP32_VERSION_TAG,
    PASSED,
    PRECISION_TAG,
    REFUSED,
    TEST_MANIFEST_TAG,
    VERDICT_SENTENCE_TAG,
    VERDICT_TAG,
)
from crossface.register.registry import Release, nested_run, promote_version, register_version, sha256

METRICS_FILE = "metrics.json"
SAMPLE_FILE = "sample.parquet"
CALIBRATION_FILE = "calibration.parquet"


def register(
    model: Path, evaluation: Path, config: RegisterConfig, run_id: str, crops: Sequence[Path] = ()
) -> str:
    """Register a model with its card, and with what its evaluation said as tags.

    A model that the gate refused, or that costs more than is allowed, becomes a version too, to be seen with
    its reason; it never carries an alias. Neither does a copy in int8, which the gate judges by what it says
    of the test faces itself.

    Args:
        model: the model folder.
        evaluation: the folder that evaluate wrote: ``metrics.json``; ``predictions.parquet``;
            ``sample.parquet``, few test crops; for int8 ``calibration.parquet``, dev crops.
        config: name, alias, limits, and whether there is a version in int8 too.
        run_id: the MLflow run that will hold the files.
        crops: for int8 a crops folder a dataset, those that were evaluated; else they are not looked at.

    Returns:
        The version in fp32.

    Raises:
        ExportError: the exported network differs from the trained one; nothing is registered.
        DataError: a file is missing, or the crops are others.
        PromotionError, ConfigError: it was to be promoted at once, and that did not work.
    """
    subject = _Subject.read(model, evaluation, config)
    if config.int8:
        check_crops(crops, subject.metrics)
    with TemporaryDirectory() as folder:
        network = Path(folder, "network.onnx")
        version, verdict = _register_fp32(subject, network, run_id)
        if config.int8:
            _register_int8(subject, network, version, run_id, crops)
    if config.promote and verdict[VERDICT_TAG] == PASSED and verdict[COMPARED_WITH_TAG]:
        promote_version(config.model_name, version)
    return version


@dataclass(frozen=True)
class _Subject:
    """What is registered, in whatever precision."""

    config: RegisterConfig
    net: CrossfaceNet
    metrics: Mapping
    evaluation: Path
    sample: np.ndarray
    """Test crops, uint8 [n, size, size, 3]."""
    calibration: np.ndarray | None
    """Dev crops, where there is to be a version in int8."""
    weights_sha256: str

    @classmethod
    def read(cls, model: Path, evaluation: Path, config: RegisterConfig) -> "_Subject":
        net = load_model(model)
        size = net.config.image_size
        return cls(
            config=config,
            net=net,
            metrics=read_metrics(evaluation),
            evaluation=evaluation,
            sample=read_crops(evaluation / SAMPLE_FILE, size),
            calibration=read_crops(evaluation / CALIBRATION_FILE, size) if config.int8 else None,
            weights_sha256=sha256(model / WEIGHTS_FILE),
        )

    def release(
        self, network: Path, precision: Precision, agreement: Agreement, cost: Cost, tags: Mapping[str, str]
    ) -> Release:
        """The version that a network becomes."""
        card = Card(self.config.model_name, precision, agreement, len(self.sample), self.metrics)
        about = {
            PRECISION_TAG: precision,
            "weights_sha256": self.weights_sha256,
            "export_difference": f"{agreement.difference:.2g}",
            "milliseconds": f"{cost.milliseconds:.2f}",
            "megabytes": f"{cost.megabytes:.1f}",
        }
        return Release(
            network=network,
            heads=self.net.config.heads,
            example=self.sample[0],
            margin=self.config.margin,
            card=card.text(),
            description=card.description(),
            tags={**summary_tags(self.metrics), **about, **tags},
            evaluation=self.evaluation,
        )


def _register_fp32(subject: _Subject, network: Path, run_id: str) -> tuple[str, dict[str, str]]:
    """The version, and the verdict on it as tags."""
    agreement = export_onnx(subject.net, network, subject.sample, temperature_of(subject.metrics))
    cost, config = measure_cost(network, subject.sample[0]), subject.config
    verdict = verdict_tags(subject.metrics["verdict"], cost_rules(cost, config))
    release = subject.release(network, "fp32", agreement, cost, verdict)
    alias = config.alias if verdict[VERDICT_TAG] == PASSED else None
    version = register_version(release, config.model_name, run_id, alias)
    say(f"{config.model_name} version {version}: {verdict[VERDICT_SENTENCE_TAG]}")
    return version, verdict


def _register_int8(
    subject: _Subject, network: Path, version: str, run_id: str, crops: Sequence[Path]
) -> None:
    """A version of its own, with a verdict of its own; its run holds what it was judged by."""
    assert subject.calibration is not None
    folder, config = network.with_name("int8"), subject.config
    folder.mkdir()
    quantized = folder / "network.onnx"
    quantize_onnx(network, subject.calibration, quantized)
    agreement = compare_onnx(network, quantized, subject.sample)
    cost = measure_cost(quantized, subject.sample[0])
    candidate = evaluate_int8(quantized, crops, subject.evaluation, subject.metrics, version)
    verdict = judge_copy(config.model_name, candidate, read_judged(subject.evaluation, version)).as_dict()
    candidate = replace(candidate, metrics={**candidate.metrics, "verdict": verdict})
    write_judged(candidate, folder)
    if (reference := subject.evaluation / REFERENCE_FILE).is_file():
        shutil.copy(reference, folder)
    tags = {
        FP32_VERSION_TAG: version,
        "changed_expressions": f"{agreement.changed:.4f}",
        **verdict_tags(verdict, cost_rules(cost, config)),
    }
    judged = replace(subject, metrics=candidate.metrics, evaluation=folder)
    release = judged.release(quantized, "int8", agreement, cost, tags)
    other = register_version(release, config.model_name, nested_run(run_id, "register int8"))
    say(f"{config.model_name} version {other}: int8 of version {version}; {tags[VERDICT_SENTENCE_TAG]}")


def verdict_tags(verdict: Mapping, rules: Iterable[Rule]) -> dict[str, str]:
    """The gate's verdict, and what the network's cost adds to it.

    Args:
        verdict: of ``metrics.json``.
        rules: of :func:`crossface.register.cost.cost_rules`.
    """
    broken = [rule.sentence for rule in rules if not rule.kept]
    passed = verdict["passed"] and not broken
    refused = f"Refused: {' '.join(broken)}" if verdict["passed"] else verdict["sentence"]
    return {
        VERDICT_TAG: PASSED if passed else REFUSED,
        VERDICT_SENTENCE_TAG: verdict["sentence"] if passed else refused,
        COMPARED_WITH_TAG: verdict["compared_with"],
    }


def read_metrics(evaluation: Path) -> dict:
    """What evaluate measured.

    Raises:
        DataError: the folder is none of its.
    """
    path = evaluation / METRICS_FILE
    if not path.is_file():
        raise DataError(f"{evaluation}: not an output of evaluate, {METRICS_FILE} is missing")
    return json.loads(path.read_text())


def read_crops(file: Path, size: int) -> np.ndarray:
    """Crops that evaluate set aside, uint8 [n, size, size, 3].

    Raises:
        DataError: there is no such file.
    """
    if not file.is_file():
        raise DataError(f"{file}: missing; evaluate writes it")
    images = decode_crops(pad.dataset(file, schema=CROP_SCHEMA), size)
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())


def temperature_of(metrics: Mapping) -> float:
    """The temperature that evaluate fitted to the adapted model."""
    return float(metrics["models"]["adapted"]["calibration"]["temperature"])


def data_digest(data: Iterable[Mapping | None]) -> str:
    """One hash of the crops of all datasets; empty where that of one is not known."""
    digests = [source["steps"][-1]["digest"] if source else "" for source in data]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest() if all(digests) else ""


def summary_tags(metrics: Mapping) -> dict[str, str]:
    """Headline figures of the adapted model, as tags of the version."""
    adapted = metrics["models"]["adapted"]
    tags = {
        DATA_TAG: data_digest(metrics["data"]),
        TEST_MANIFEST_TAG: metrics["test_manifest"],
        "adapt": adapted["adapt"],
        "datasets": ",".join(metrics["datasets"]),
        "temperature": f"{temperature_of(metrics):.4f}",
    }
    for dataset, heads in adapted["per_dataset"].items():
        tags[f"balanced_accuracy.{dataset}"] = f"{heads['mean']['balanced_accuracy']:.4f}"
    if adapted["probe"]:
        tags["dataset_probe"] = f"{adapted['probe']['accuracy']:.4f}"
    return tags
