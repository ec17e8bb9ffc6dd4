"""Evaluations of models that never were: everything that a report shows, of as many datasets as one likes."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crossface.data.emotions import EMOTIONS
from crossface.evaluate.config import EvaluateConfig
from crossface.evaluate.contenders import contender_name
from crossface.evaluate.cross_dataset import cross_dataset
from crossface.evaluate.label_issues import review_labels
from crossface.evaluate.report import write_report
from crossface.evaluate.tables import FEATURE_SCHEMA
from crossface.gate.champion import Judged
from crossface.gate.judge import judge
from crossface.gate.policy import GatePolicy
from crossface.measures.calibration import calibrate
from crossface.measures.comparison import compare, gain
from crossface.measures.metrics import MODELS, measure
from crossface.measures.predictions import PREDICTION_SCHEMA
from crossface.measures.subgroups import score_subgroups

_PRIORS = np.array([0.1, 0.05, 0.08, 0.37, 0.1, 0.1, 0.2])
_VERSIONS = {"crossface": "0.1.0", "python": "3.11.9", "torch": "2.11.0"}


def write_evaluation(
    folder: Path,
    datasets: tuple[str, ...],
    gain_of_logits: float = 0.5,
    absent: int | None = None,
    study: bool = False,
    sizes: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, Any]:
    """An evaluation whose numbers follow from drawn predictions, and its report.

    Args:
        folder: made; gets ``bias.json`` too.
        datasets: their keys, in order.
        gain_of_logits: how much surer than the baseline the adapted model is of the truth.
        absent: a class that the first dataset lacks.
        study: whether there are models of some of the datasets, and of other methods.
        sizes: test faces of a dataset, where not 300.

    Returns:
        the content of ``metrics.json``.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    faces = {
        name: _labels(rng, absent if name == datasets[0] else None, sizes.get(name, 300)) for name in datasets
    }
    trained = {"baseline": ("none", datasets), "adapted": ("cda", datasets)}
    if study:
        trained |= _studied(datasets)
    predictions = pa.concat_tables(_predict(rng, faces, model, gain_of_logits) for model in trained)
    models = {}
    for name, (adapt, trained_on) in trained.items():
        rows = predictions.filter(pc.field("model") == name)
        probe = 0.8 if adapt == "none" else 0.8 - 0.2 * gain_of_logits
        models[name] = {
            **measure(rows),
            "adapt": adapt,
            "backbone": "resnet50",
            "image_size": 100,
            "feature_dim": 1000,
            "heads": ["pooled"] if adapt == "none" else list(trained_on),
            "datasets": list(trained_on),
            "training_seconds": 3600.0,
            "calibration": calibrate(rows, rows),
            "subgroups": score_subgroups(rows, 30, 0),
            "probe": _probe(datasets, probe) if len(datasets) > 1 else None,
            "within_emotion": _within_emotion(datasets, probe),
            "tables": {} if name == "baseline" else _tables(datasets[:2]),
        }
    others = {name: models.pop(name) for name in trained if name not in MODELS}
    comparison = compare(predictions, 0)
    adapted = predictions.filter(pc.field("model") == "adapted")
    metrics: dict[str, Any] = {
        "datasets": list(datasets),
        "emotions": list(EMOTIONS),
        "models": models,
        "others": others,
        "cross_dataset": cross_dataset(models, others, predictions, 0),
        "gain": gain(comparison),
        "comparison": comparison,
        "label_issues": review_labels(adapted, 100)[0],
        "leakage": None,
        "test_manifest": "0" * 64,
        "data": [_provenance(name) for name in datasets[:-1]] + [None],
        "inference": {"precision": "bf16", "requested": "auto", "faces": 256}
        | {"max_probability_difference": 0.0081, "changed_expressions": 1 / 256},
        "seconds": {"predictions": 12.5},
        "settings": EvaluateConfig().model_dump(mode="json"),
        "versions": _VERSIONS,
    }
    champion = Judged("7", metrics, predictions.filter(pc.field("model") == "baseline")) if study else None
    metrics["verdict"] = judge(Judged("", metrics, adapted), champion, GatePolicy()).as_dict()
    (folder / "metrics.json").write_text(json.dumps(metrics, allow_nan=False))
    pq.write_table(predictions, folder / "predictions.parquet")
    pq.write_table(_features(rng, faces), folder / "features.parquet")
    bias = _bias(rng, faces)
    (folder / "bias.json").write_text(json.dumps(bias))
    write_report(folder, bias)
    return metrics


def _studied(datasets: tuple[str, ...]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """How the models of a study were trained, by name: method and datasets."""
    alone = [("none", (name,)) for name in datasets]
    rests = [tuple(other for other in datasets if other != name) for name in datasets]
    left_out = [(adapt, rest) for rest in rests for adapt in ("none", "cda")]
    trained = [*alone, *left_out, ("heads", datasets), ("dann", datasets)]
    return {contender_name(adapt, names, datasets): (adapt, names) for adapt, names in trained}


def _provenance(dataset: str) -> dict[str, Any]:
    steps = [
        {"step": step, "digest": "0123456789abcdef" * 2, "seconds": 61.0} for step in ("ingest", "crop_faces")
    ]
    return {"dataset": dataset, "format": "imagefolder", "revision": "2026-01", "licence": "", "steps": steps}


def _labels(rng: np.random.Generator, absent: int | None, count: int) -> np.ndarray:
    priors = _PRIORS * (np.arange(len(EMOTIONS)) != absent)
    return rng.choice(len(EMOTIONS), count, p=priors / priors.sum())


def _predict(
    rng: np.random.Generator, faces: dict[str, np.ndarray], model: str, gain_of_logits: float
) -> pa.Table:
    parts = []
    for name, labels in faces.items():
        sureness = 2.2 + (gain_of_logits if model == "adapted" else 0)
        if (model.startswith("none on") and not model.endswith(name)) or model.endswith(f"without {name}"):
            sureness -= 0.8  # it has never seen this dataset
        own, mean, others = (
            np.exp(rng.normal(0, 1, (len(labels), 7)) + sureness * np.eye(7)[labels]) for _ in range(3)
        )
        people = rng.choice(["female", "male", "unsure"], len(labels), p=[0.55, 0.4, 0.05])
        columns = {
            "model": [model] * len(labels),
            "face_id": [f"{name}/{index}" for index in range(len(labels))],
            "dataset": [name] * len(labels),
            "emotion": labels,
            "own": list((own / own.sum(1, keepdims=True)).astype(np.float32)),
            "mean": list((mean / mean.sum(1, keepdims=True)).astype(np.float32)),
            "others": list((others / others.sum(1, keepdims=True)).astype(np.float32)),
            "attributes": [{"gender": gender, "race": None, "age": None} for gender in people],
        }
        parts.append(pa.table(columns, schema=PREDICTION_SCHEMA))
    return pa.concat_tables(parts)


def _tables(datasets: tuple[str, ...]) -> dict[str, Any]:
    """With every share that a cell can be shaded by."""
    shares = np.arange(49 * len(datasets)).reshape(len(datasets), 7, 7) / (49 * len(datasets) - 1)
    return {f"label_extractor/{name}": table.tolist() for name, table in zip(datasets, shares, strict=True)}


def _features(rng: np.random.Generator, faces: dict[str, np.ndarray]) -> pa.Table:
    rows = [
        {"model": model, "face_id": f"{name}/{index}", "dataset": name, "split": "test", "emotion": label}
        | {"group": str(index), "features": [0.0]}
        | {"umap_x": rng.normal(place, 1.5), "umap_y": rng.normal(label, 1.0)}
        for model in MODELS
        for place, (name, labels) in enumerate(faces.items())
        for index, label in enumerate(labels[:80].tolist())
    ]
    return pa.Table.from_pylist(rows, schema=FEATURE_SCHEMA)


def _within_emotion(datasets: tuple[str, ...], accuracy: float) -> list[dict[str, Any]]:
    several = len(datasets) > 1
    return [
        {"emotion": emotion, "probe": _probe(datasets, accuracy), "reason": None}
        if several and emotion != "fear"
        else {"emotion": emotion, "probe": None, "reason": "fewer than two datasets have 10 groups"}
        for emotion in EMOTIONS
    ]


def _probe(datasets: tuple[str, ...], accuracy: float) -> dict[str, Any]:
    count = len(datasets)
    rest = (1 - accuracy) / (count - 1)
    return {
        "datasets": list(datasets),
        "accuracy": accuracy,
        "low": accuracy - 0.03,
        "high": accuracy + 0.03,
        "chance": 1 / count,
        "null_mean": 1 / count,
        "null_high": 1 / count + 0.04,
        "n": 100 * count,
        "confusion": [
            [accuracy if row == column else rest for column in range(count)] for row in range(count)
        ],
    }


def _full(datasets: tuple[str, ...]) -> dict[str, Any]:
    probe = {key: value for key, value in _probe(datasets, 0.951).items() if not key.startswith("null_")}
    mix = {
        "accuracy": 0.962,
        "low": 0.955,
        "high": 0.969,
        "label_only": 0.47,
        "largest_share": 0.44,
        "n": 12345,
    }
    return probe | {"natural": mix, "train_faces": 45678, "epochs": 30, "seconds": 99.5}


def _bias(rng: np.random.Generator, faces: dict[str, np.ndarray]) -> dict[str, Any]:
    names = tuple(faces)
    several = len(names) > 1
    counts = {name: np.bincount(labels, minlength=7).tolist() for name, labels in faces.items()}
    pairs = [(first, second) for place, first in enumerate(names) for second in names[place + 1 :]]
    return {
        "datasets": list(names),
        "counts": {
            name: {"train": [10 * n for n in test], "dev": test, "test": test}
            for name, test in counts.items()
        },
        "prior_distances": [
            {"first": first, "second": second}
            | {"jensen_shannon": rng.uniform(0, 0.1), "total_variation": rng.uniform(0, 0.3)}
            for first, second in pairs
        ],
        "mutual_information": 0.044,
        "label_only": {"rate": 0.46, "largest_share": 0.45},
        "probes": {
            name: _probe(names, accuracy) if several else None
            for name, accuracy in (("untrained", 0.93), ("capture", 0.97), ("random_parts", 1 / len(names)))
        },
        "full": _full(names) if several else None,
        "within_emotion": {"untrained": _within_emotion(names, 0.9)},
        "a_distance": {
            source: [
                {"first": first, "second": second, "reason": None}
                | {"found": {"distance": 1.5, "low": 1.4, "high": 1.6, "error": 0.125, "n": 400}}
                for first, second in pairs
            ]
            for source in ("untrained", "capture")
        },
        "rejects": [{"dataset": names[0], "stage": "ingest", "reason": "empty_file", "count": 3}],
        "settings": {"backbone": "resnet50", "folds": 5, "splits": ["dev", "test"]},
    }
