"""The evaluation: two models, every dataset, one folder that holds all that the report shows."""

import json
import platform
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
from crossface.bias.probe import Probe, probe_dataset
from crossface.data.emotions import EMOTIONS
from crossface.data.leakage import read_leakage
from crossface.data.storage import atomic_folder
from crossface.evaluate.calibration import calibrate
from crossface.evaluate.comparison import compare, gain
from crossface.evaluate.config import EvaluateConfig
from crossface.evaluate.gate import Verdict, decide
from crossface.evaluate.label_issues import LABEL_ISSUES_FILE, review_labels
from crossface.evaluate.metrics import MODELS, flat_metrics, measure, stack
from crossface.evaluate.report import FEATURES_FILE, METRICS_FILE, PREDICTIONS_FILE, write_report
from crossface.evaluate.subgroups import score_subgroups
from crossface.evaluate.tables import (
    predict_dev_faces,
    predict_test_faces,
    sample_crops,
    sample_features,
)
from crossface.model.saving import load_model, load_tables

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


def evaluate(
    crops: list[Path],
    baseline: Path,
    adapted: Path,
    bias: Path,
    config: EvaluateConfig,
    out: Path,
    leakage: Path | None = None,
) -> Evaluation:
    """Compare the adapted model with the baseline and decide whether it may be promoted.

    Writes ``predictions.parquet``, ``dev_predictions.parquet``, ``features.parquet``,
    ``label_issues.parquet``, ``metrics.json``, ``report.html``, ``summary.md``, ``figures/`` and
    ``sample.parquet``: a few test crops on which an export of the model can be checked.
    The metrics are computed from the first three tables alone, and the report from the files alone.

    Args:
        crops: one crops folder a dataset.
        baseline: model folder.
        adapted: model folder.
        bias: folder of probe_bias.
        config: what is measured, and the gate.
        out: folder to write, whole or not at all.
        leakage: folder of find_leakage, by which both models were trained; the report tells of its copies.

    Raises:
        DataError: a folder is not what it should be, or a dataset has no test or no dev faces.
    """
    facts = read_bias(bias)
    copies = read_leakage(leakage).model_dump(mode="json") if leakage else None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    folders = dict(zip(MODELS, (baseline, adapted), strict=True))
    nets = {name: load_model(folder).to(device) for name, folder in folders.items()}
    predictions = predict_test_faces(crops, nets)
    dev_predictions = predict_dev_faces(crops, nets)
    features = sample_features(crops, nets, config)
    metrics = measure(predictions)
    comparison = compare(predictions, config.seed)
    label_issues, suspects = review_labels(
        predictions.filter(pc.field("model") == "adapted"), config.max_label_issues
    )
    for name, net in nets.items():
        about = net.config.model_dump(
            mode="json", include={"adapt", "backbone", "feature_dim", "image_size", "heads"}
        )
        dev, test = (rows.filter(pc.field("model") == name) for rows in (dev_predictions, predictions))
        metrics[name] = {
            **about,
            **metrics[name],
            "calibration": calibrate(dev, test),
            "subgroups": score_subgroups(test, config.min_group_faces, config.seed),
            "probe": _as_dict(probe_features(features, name, config)),
            "tables": load_tables(folders[name]),
        }
    document: dict[str, Any] = {
        "datasets": predictions["dataset"].unique().to_pylist(),
        "emotions": list(EMOTIONS),
        "models": metrics,
        "gain": gain(comparison),
        "comparison": comparison,
        "label_issues": label_issues,
        "leakage": copies,
        "settings": config.model_dump(mode="json"),
        "versions": _versions(),
    }
    verdict = decide(document, config.gate)
    document["verdict"] = {"passed": verdict.passed, "reasons": list(verdict.reasons)}
    with atomic_folder(out) as folder:
        pq.write_table(predictions, folder / PREDICTIONS_FILE, compression="zstd")
        pq.write_table(dev_predictions, folder / DEV_PREDICTIONS_FILE, compression="zstd")
        pq.write_table(features, folder / FEATURES_FILE, compression="zstd")
        pq.write_table(suspects, folder / LABEL_ISSUES_FILE, compression="zstd")
        pq.write_table(sample_crops(crops), folder / SAMPLE_FILE)
        (folder / METRICS_FILE).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")
        write_report(folder, facts)
    return Evaluation(document, verdict)


def probe_features(features: pa.Table, model: str, config: EvaluateConfig) -> Probe | None:
    """Fresh dataset probe of one model's features; the same faces and folds for every model.

    Args:
        features: rows of ``FEATURE_SCHEMA``.
        model: whose rows to take.
        config: settings and seed of the probe.
    """
    rows = features.filter(pc.field("model") == model)
    dataset, emotion, group = (np.asarray(rows[name]) for name in ("dataset", "emotion", "group"))
    label = f"dataset probe of the {model}"
    return probe_dataset(stack(rows["features"]), dataset, emotion, group, config.probe, config.seed, label)


def _as_dict(probe: Probe | None) -> dict[str, Any] | None:
    return asdict(probe) if probe else None


def _versions() -> dict[str, str]:
    found = {"crossface": crossface.__version__, "python": platform.python_version()}
    return found | {name: version(name) for name in _PACKAGES}
