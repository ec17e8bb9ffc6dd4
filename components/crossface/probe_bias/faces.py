"""The faces that are probed, and what is read off them."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as pad
import torch

from crossface.bias.sampling import bounded_cells
from crossface.model.images import decode_crops
from crossface.model.inference import extract_features
from crossface.model.networks import build_backbone
from crossface.probe_bias.capture import capture_matrix
from crossface.probe_bias.config import ProbeConfig


@dataclass(frozen=True)
class Faces:
    """Labelled faces with two kinds of features."""

    dataset: np.ndarray
    """Keys [n]."""
    emotion: np.ndarray
    """int64 [n]."""
    group: np.ndarray
    """Photo or person [n]."""
    untrained: np.ndarray
    """Features of a backbone with its initial weights: float32 [n, width]."""
    capture: np.ndarray
    """Capture statistics: float64 [n, columns]."""


def sample_faces(crops: pad.Dataset, config: ProbeConfig) -> Faces:
    """Draw at most ``max_per_cell`` faces of each dataset and emotion from the splits that are probed."""
    pool = crops.filter(pc.field("split").isin(config.splits))
    table = pool.to_table(columns=["face_id", "dataset", "emotion"])
    chosen = bounded_cells(
        np.asarray(table["dataset"]), np.asarray(table["emotion"]), config.max_per_cell, config.seed
    )
    sample = pool.filter(pc.field("face_id").isin(table["face_id"].take(chosen).combine_chunks()))
    known = sample.to_table(columns=["dataset", "emotion", "group", "capture"])
    dataset, emotion, group = (np.asarray(known[name]) for name in ("dataset", "emotion", "group"))
    if not len(dataset):
        return Faces(dataset, emotion, group, np.empty((0, 0), np.float32), np.empty((0, 0)))
    torch.manual_seed(config.seed)
    backbone = build_backbone(config.backbone, config.feature_dim, config.image_size)
    return Faces(
        dataset,
        emotion,
        group,
        untrained=extract_features(backbone, decode_crops(sample, config.image_size)),
        capture=capture_matrix(known["capture"]),
    )
