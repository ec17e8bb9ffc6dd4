"""What the datasets themselves give away: labels, photographs and the camera, before any training."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pad
import torch

from crossface.bias.document import write_bias
from crossface.bias.probe import Probe, label_only_rate, probe_dataset, random_parts_control
from crossface.bias.sampling import bounded_cells
from crossface.bias.shift import class_counts, mutual_information, prior_distances
from crossface.data.crops import open_crops
from crossface.data.emotions import EMOTIONS, SPLITS
from crossface.data.rejects import read_rejects
from crossface.data.storage import atomic_folder
from crossface.model.images import decode_crops
from crossface.model.inference import extract_features
from crossface.model.networks import build_backbone
from crossface.probe_bias.capture import capture_matrix
from crossface.probe_bias.config import ProbeConfig


@dataclass(frozen=True)
class BiasSummary:
    """The few numbers of ``bias.json`` that a run is compared by."""

    untrained: Probe | None
    capture: Probe | None
    random_parts: Probe | None
    label_only_rate: float
    mutual_information: float

    def metrics(self) -> dict[str, float]:
        """As flat, finite numbers."""
        flat = {"label_only_rate": self.label_only_rate, "mutual_information_bits": self.mutual_information}
        for name in ("untrained", "capture", "random_parts"):
            probe: Probe | None = getattr(self, name)
            if probe:
                flat[f"probe_{name}"] = probe.accuracy
                flat[f"probe_{name}_chance"] = probe.chance
        return flat


def probe_bias(crops: list[Path], config: ProbeConfig, out: Path) -> BiasSummary:
    """Measure the bias of the datasets and write ``out/bias.json``.

    Args:
        crops: one crops folder a dataset.
        config: the probe and the untrained backbone.
        out: folder to write, whole or not at all.

    Raises:
        DataError: a folder holds no crops.
    """
    faces = open_crops(crops)
    labels = faces.to_table(columns=["dataset", "split", "emotion"])
    dataset = np.asarray(labels["dataset"])
    emotion = np.asarray(labels["emotion"])
    counts = _counts(labels)
    totals = {name: np.sum(list(splits.values()), axis=0) for name, splits in counts.items()}
    probes = _probes(faces, config)
    summary = BiasSummary(
        **probes,
        label_only_rate=label_only_rate(dataset, emotion),
        mutual_information=mutual_information(np.stack(list(totals.values()))),
    )
    document = {
        "datasets": list(counts),
        "emotions": list(EMOTIONS),
        "counts": {
            name: {split: n.tolist() for split, n in splits.items()} for name, splits in counts.items()
        },
        "prior_distances": [asdict(distance) for distance in prior_distances(totals)],
        "mutual_information": summary.mutual_information,
        "label_only": {
            "rate": summary.label_only_rate,
            "largest_share": max(int(n.sum()) for n in totals.values()) / len(dataset),
        },
        "probes": {name: probe and asdict(probe) for name, probe in probes.items()},
        "rejects": [row for folder in crops for row in _reject_counts(folder)],
        "settings": config.model_dump(mode="json"),
    }
    with atomic_folder(out) as folder:
        write_bias(document, folder)
    return summary


def _counts(labels: pa.Table) -> dict[str, dict[str, np.ndarray]]:
    """Faces a class, by dataset and split, in the order in which the datasets first appear."""
    emotion = np.asarray(labels["emotion"])
    dataset = np.asarray(labels["dataset"])
    split = np.asarray(labels["split"])
    return {
        name: {part: class_counts(emotion[(dataset == name) & (split == part)]) for part in SPLITS}
        for name in labels["dataset"].unique().to_pylist()
    }


def _probes(faces: pad.Dataset, config: ProbeConfig) -> dict[str, Probe | None]:
    """The probe of untrained features, of capture statistics, and its control, on the same faces."""
    pool = faces.filter(pc.field("split").isin(config.splits))
    table = pool.to_table(columns=["face_id", "dataset", "emotion"])
    chosen = bounded_cells(
        np.asarray(table["dataset"]), np.asarray(table["emotion"]), config.max_per_cell, config.seed
    )
    sample = pool.filter(pc.field("face_id").isin(table["face_id"].take(chosen).combine_chunks()))
    known = sample.to_table(columns=["dataset", "emotion", "group", "capture"])
    dataset, emotion, group = (np.asarray(known[name]) for name in ("dataset", "emotion", "group"))
    if not len(dataset):
        return {"untrained": None, "capture": None, "random_parts": None}
    torch.manual_seed(config.seed)
    backbone = build_backbone(config.backbone, config.feature_dim, config.image_size)
    features = extract_features(backbone, decode_crops(sample, config.image_size))
    names, sizes = np.unique(dataset, return_counts=True)
    largest = dataset == names[sizes.argmax()]
    return {
        "untrained": probe_dataset(
            features, dataset, emotion, group, config, config.seed, label="probe of untrained features"
        ),
        "capture": probe_dataset(
            capture_matrix(known["capture"]),
            dataset,
            emotion,
            group,
            config,
            config.seed,
            label="probe of capture",
        ),
        "random_parts": random_parts_control(
            features[largest], emotion[largest], group[largest], len(names), config, config.seed
        )
        if len(names) > 1
        else None,
    }


def _reject_counts(folder: Path) -> list[dict[str, Any]]:
    """How many rejects of each stage and reason a dataset had."""
    dataset = open_crops([folder]).head(1, columns=["dataset"])["dataset"][0].as_py()
    counts = Counter((reject.stage, str(reject.reason)) for reject in read_rejects(folder))
    return [
        {"dataset": dataset, "stage": stage, "reason": reason, "count": count}
        for (stage, reason), count in sorted(counts.items())
    ]
