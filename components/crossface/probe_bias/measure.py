"""What the datasets themselves give away: labels, photographs and the camera, before any training."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from crossface.bias.document import write_bias
from crossface.bias.features import FeatureBias, measure_features
from crossface.bias.probe import Probe, label_only_rate, random_parts_control
from crossface.bias.shift import class_counts, mutual_information, prior_distances
from crossface.data.crops import open_crops
from crossface.data.emotions import EMOTIONS, SPLITS, Split
from crossface.data.rejects import read_rejects
from crossface.data.storage import atomic_folder
from crossface.probe_bias.config import ProbeConfig
from crossface.probe_bias.faces import Faces, sample_faces
from crossface.probe_bias.full import FullProbe, full_probe
from crossface.progress import say


@dataclass(frozen=True)
class BiasSummary:
    """The few numbers of ``bias.json`` that a run is compared by."""

    untrained: FeatureBias
    capture: FeatureBias
    random_parts: Probe | None
    full: FullProbe | None
    label_only_rate: float
    mutual_information: float

    def metrics(self) -> dict[str, float]:
        """As flat, finite numbers: those that there are; emotions and pairs by untrained features."""
        flat = {"label_only_rate": self.label_only_rate, "mutual_information_bits": self.mutual_information}
        probes: dict[str, Probe | FullProbe | None] = {
            "untrained": self.untrained.probe,
            "capture": self.capture.probe,
            "random_parts": self.random_parts,
            "full": self.full,
        }
        probes |= {f"within_{within.emotion}": within.probe for within in self.untrained.within_emotion}
        for name, probe in probes.items():
            if probe:
                flat[f"probe_{name}"] = probe.accuracy
                flat[f"probe_{name}_chance"] = probe.chance
        for a_distance in self.untrained.a_distance:
            if a_distance.found:
                flat[f"a_distance_{a_distance.key}"] = a_distance.found.distance
        for mmd in self.untrained.mmd:
            if mmd.found:
                flat[f"mmd2_{mmd.key}"] = mmd.found.mmd2
                flat[f"mmd_p_value_{mmd.key}"] = mmd.found.p_value
        return flat


def probe_bias(crops: list[Path], config: ProbeConfig, out: Path) -> BiasSummary:
    """Measure the bias of the datasets and write ``out/bias.json``.

    Args:
        crops: one crops folder a dataset.
        config: the probe, the untrained backbone, and whether to train it too.
        out: folder to write, whole or not at all.

    Raises:
        DataError: a folder holds no crops; or, with ``full``, ``TMPDIR`` has no room for their pixels.
        ConfigError: the backbone is not to be had; or, with ``full``, its training diverged.
    """
    faces = open_crops(crops)
    labels = faces.to_table(columns=["dataset", "split", "emotion"])
    dataset = np.asarray(labels["dataset"])
    emotion = np.asarray(labels["emotion"])
    counts = _counts(labels)
    totals = {name: np.sum(list(splits.values()), axis=0) for name, splits in counts.items()}
    sample = sample_faces(faces, config)
    if len(np.unique(sample.dataset)) < 2:
        say("fewer than two datasets: nothing can be probed")
    summary = BiasSummary(
        untrained=_measure(sample, sample.untrained, config, "untrained features"),
        capture=_measure(sample, sample.capture, config, "capture"),
        random_parts=_random_parts(sample, config),
        full=full_probe(faces, counts, config) if config.full.enabled and len(counts) > 1 else None,
        label_only_rate=label_only_rate(dataset, emotion),
        mutual_information=mutual_information(np.stack(list(totals.values()))),
    )
    untrained, capture = asdict(summary.untrained), asdict(summary.capture)
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
        "probes": {
            "untrained": untrained["probe"],
            "capture": capture["probe"],
            "random_parts": summary.random_parts and asdict(summary.random_parts),
        },
        "full": summary.full and asdict(summary.full),
        **{
            measure: {"untrained": untrained[measure], "capture": capture[measure]}
            for measure in ("within_emotion", "a_distance", "mmd")
        },
        "rejects": [row for folder in crops for row in _reject_counts(folder)],
        "settings": config.model_dump(mode="json"),
    }
    with atomic_folder(out) as folder:
        write_bias(document, folder)
    return summary


def _counts(labels: pa.Table) -> dict[str, dict[Split, np.ndarray]]:
    """Faces a class, by dataset and split, in the order in which the datasets first appear."""
    emotion = np.asarray(labels["emotion"])
    dataset = np.asarray(labels["dataset"])
    split = np.asarray(labels["split"])
    return {
        name: {part: class_counts(emotion[(dataset == name) & (split == part)]) for part in SPLITS}
        for name in labels["dataset"].unique().to_pylist()
    }


def _measure(sample: Faces, features: np.ndarray, config: ProbeConfig, label: str) -> FeatureBias:
    return measure_features(
        features, sample.dataset, sample.emotion, sample.group, config, config.seed, label
    )


def _random_parts(sample: Faces, config: ProbeConfig) -> Probe | None:
    """The control of the probe of untrained features: the largest dataset against itself."""
    names, sizes = np.unique(sample.dataset, return_counts=True)
    if len(names) < 2:
        return None
    largest = sample.dataset == names[sizes.argmax()]
    return random_parts_control(
        sample.untrained[largest],
        sample.emotion[largest],
        sample.group[largest],
        len(names),
        config,
        config.seed,
    )


def _reject_counts(folder: Path) -> list[dict[str, Any]]:
    """How many rejects of each stage and reason a dataset had."""
    dataset = open_crops([folder]).head(1, columns=["dataset"])["dataset"][0].as_py()
    counts = Counter((reject.stage, str(reject.reason)) for reject in read_rejects(folder))
    return [
        {"dataset": dataset, "stage": stage, "reason": reason, "count": count}
        for (stage, reason), count in sorted(counts.items())
    ]
