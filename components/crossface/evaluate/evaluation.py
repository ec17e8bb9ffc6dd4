"""The evaluation: two models, every dataset, one folder that holds all that the report shows."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

import crossface
from crossface.bias.document import read_bias
from crossface.bias.features import FeatureBias, measure_features
from crossface.data.crops import dataset_of, open_crops
from crossface.data.emotions import EMOTIONS
from crossface.data.leakage import read_leakage
from crossface.data.manifest import manifest_digest
from crossface.data.provenance import read_provenance
from crossface.data.reference import make_reference, write_reference
from crossface.data.storage import atomic_folder
from crossface.evaluate.config import EvaluateConfig
from crossface.evaluate.contenders import open_contenders
from crossface.evaluate.crop_samples import CALIBRATION_FILE, calibration_crops
from crossface.evaluate.cross_dataset import cross_dataset
from crossface.evaluate.label_issues import LABEL_ISSUES_FILE, review_labels
from crossface.evaluate.precision import choose_precision
from crossface.evaluate.report import FEATURES_FILE, METRICS_FILE, PREDICTIONS_FILE, write_report
from crossface.evaluate.tables import (
    predict_dev_faces,
    predict_test_faces,
    sample_crops,
    sample_features,
)
from crossface.gate.champion import Judged, read_judged
from crossface.gate.judge import judge
from crossface.gate.verdict import Verdict
from crossface.measures.calibration import calibrate, scale
from crossface.measures.comparison import compare, gain
from crossface.measures.metrics import MODELS, flat_metrics, measure, stack
from crossface.measures.subgroups import score_subgroups
from crossface.progress import Clock, say

DEV_PREDICTIONS_FILE = "dev_predictions.parquet"
SAMPLE_FILE = "sample.parquet"

_PACKAGES = ("torch", "scikit-learn", "fairlearn", "cleanlab", "umap-learn", "pyarrow", "scipy", "numpy")


@dataclass(frozen=True)
class Evaluation:
    """What a caller needs to know; the folder holds the rest."""

    metrics: dict[str, Any]
    """The content of ``metrics.json``."""
    verdict: Verdict

    def flat(self) -> dict[str, float]:
        """Numbers for a tracker."""
        return flat_metrics(self.metrics)

    def tags(self) -> dict[str, str]:
        """The verdict, so that a refused model is seen in the tracker with its reason."""
        return {
            "crossface.verdict": "passed" if self.verdict.passed else "refused",
            "crossface.verdict_sentence": self.verdict.sentence,
            "crossface.compared_with": self.verdict.compared_with,
        }


def evaluate(
    crops: list[Path],
    baseline: Path,
    adapted: Path,
    bias: Path,
    config: EvaluateConfig,
    out: Path,
    leakage: Path | None = None,
    others: Sequence[Path] = (),
    champion: tuple[Path, str] | None = None,
) -> Evaluation:
    """Compare the adapted model with the baseline and decide whether it may be promoted.

    Writes ``predictions.parquet``, ``dev_predictions.parquet``, ``features.parquet``,
    ``label_issues.parquet``, ``metrics.json``, ``report.html``, ``summary.md``, ``figures/`` and
    ``sample.parquet`` and ``calibration.parquet``: a few test crops on which an export of the model can be
    checked, and dev crops for the ranges of one in 8-bit integers; ``reference.json``: what the data and the
    answers are like, for whoever watches for drift.
    The metrics are computed from the first three tables alone, and the report from the files alone.

    Args:
        crops: one crops folder a dataset.
        baseline: model folder.
        adapted: model folder.
        bias: folder of probe_bias.
        config: what is measured, and the gate.
        out: folder to write, whole or not at all.
        leakage: folder of find_leakage, by which both models were trained; the report tells of its copies.
        others: model folders of a study: trained on some of the datasets, or by other methods.
        champion: what was kept of the evaluation of the model in use, and its version.

    Raises:
        DataError: a folder is not what it should be, a dataset has no test or no dev faces, or two of the
            others were trained alike.
    """
    clock = Clock()
    facts = read_bias(bias)
    copies = read_leakage(leakage).model_dump(mode="json") if leakage else None
    datasets = [dataset_of(folder) for folder in crops]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    contenders = open_contenders(baseline, adapted, others, datasets, device)
    nets = {name: contender.net for name, contender in contenders.items()}
    inference = choose_precision(crops, nets, config)
    predictions = predict_test_faces(crops, nets, inference.bf16)
    dev_predictions = predict_dev_faces(crops, nets, inference.bf16)
    clock.lap("predictions")
    probed = [name for name in nets if name in MODELS or set(datasets) <= set(nets[name].config.datasets)]
    features = sample_features(crops, {name: nets[name] for name in probed}, config, inference.bf16)
    clock.lap("features and UMAP")
    found = {}
    for name, contender in contenders.items():
        dev, test = (rows.filter(pc.field("model") == name) for rows in (dev_predictions, predictions))
        found[name] = {
            "probe": None,
            **contender.about(),
            **measure(test, config.seed),
            "calibration": calibrate(dev, test),
            "subgroups": score_subgroups(test, config.min_group_faces, config.seed),
        }
    clock.lap("scores")
    for name in probed:
        found[name] |= asdict(measure_bias(features, name, config))
    clock.lap("dataset bias")
    models = {name: found.pop(name) for name in MODELS}
    comparison = compare(predictions, config.seed)
    label_issues, suspects = review_labels(
        predictions.filter(pc.field("model") == "adapted"), config.max_label_issues
    )
    clock.lap("comparison and labels")
    document: dict[str, Any] = {
        "datasets": datasets,
        "emotions": list(EMOTIONS),
        "models": models,
        "others": found,
        "cross_dataset": cross_dataset(models, found, predictions, config.seed),
        "gain": gain(comparison),
        "comparison": comparison,
        "label_issues": label_issues,
        "leakage": copies,
        "test_manifest": manifest_digest(crops),
        "data": [_provenance(folder) for folder in crops],
        "inference": asdict(inference),
        "seconds": clock.laps,
        "settings": config.model_dump(mode="json"),
        "versions": _versions(),
    }
    candidate = Judged("", document, predictions.filter(pc.field("model") == "adapted"))
    verdict = judge(candidate, read_judged(*champion) if champion else None, config.gate, config.seed)
    document["verdict"] = verdict.as_dict()
    with atomic_folder(out) as folder:
        pq.write_table(predictions, folder / PREDICTIONS_FILE, compression="zstd")
        pq.write_table(dev_predictions, folder / DEV_PREDICTIONS_FILE, compression="zstd")
        pq.write_table(features, folder / FEATURES_FILE, compression="zstd")
        pq.write_table(suspects, folder / LABEL_ISSUES_FILE, compression="zstd")
        pq.write_table(sample_crops(crops), folder / SAMPLE_FILE)
        pq.write_table(calibration_crops(crops, config.seed), folder / CALIBRATION_FILE)
        _keep_reference(crops, _deployed(dev_predictions, models["adapted"]), folder)
        (folder / METRICS_FILE).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")
        write_report(folder, facts)
    return Evaluation(document, verdict)


def measure_bias(features: pa.Table, model: str, config: EvaluateConfig) -> FeatureBias:
    """What one model's features give away of the dataset; the same faces and folds for every model.

    Args:
        features: rows of ``FEATURE_SCHEMA``.
        model: whose rows to take.
        config: settings and seed of the probe.
    """
    rows = features.filter(pc.field("model") == model)
    dataset, emotion, group = (np.asarray(rows[name]) for name in ("dataset", "emotion", "group"))
    seed, label = config.seed, f"{model} features"
    return measure_features(stack(rows["features"]), dataset, emotion, group, config.probe, seed, label)


def _deployed(predictions: pa.Table, adapted: Mapping[str, Any]) -> np.ndarray:
    """What the adapted model says with its temperature: float64 [n, 7]."""
    rows = predictions.filter(pc.field("model") == "adapted")
    return scale(stack(rows["mean"]), adapted["calibration"]["temperature"])


def _keep_reference(crops: list[Path], probabilities: np.ndarray, folder: Path) -> None:
    if open_crops(crops).filter(pc.field("split") == "train").count_rows():
        write_reference(make_reference(crops, probabilities), folder)
    else:
        say("no train faces among the crops: nothing is kept to see drift by")


def _provenance(crops: Path) -> dict[str, Any] | None:
    found = read_provenance(crops)
    return found.model_dump(mode="json") if found else None


def _versions() -> dict[str, str]:
    found = {"crossface": crossface.__version__, "python": platform.python_version()}
    return found | {name: version(name) for name in _PACKAGES}
