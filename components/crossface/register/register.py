"""The step: a model folder and its evaluation in, a version in the registry out."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.dataset as pad

from crossface.data.crops import CROP_SCHEMA
from crossface.model.images import decode_crops
from crossface.model.saving import CONFIG_FILE
from crossface.register.config import RegisterConfig
from crossface.register.registry import register_version


def register(model: Path, evaluation: Path, config: RegisterConfig, run_id: str) -> str:
    """Register a model with what its evaluation said as tags.

    Args:
        model: the model folder.
        evaluation: the folder that evaluate wrote: metrics.json and sample.parquet, a few test crops.
        config: name and alias.
        run_id: the MLflow run that will hold the files.

    Returns:
        The version.

    Raises:
        ExportError: the exported network differs from the trained one.
    """
    size = json.loads((model / CONFIG_FILE).read_text())["image_size"]
    metrics = json.loads((evaluation / "metrics.json").read_text())
    tags = {"pipeline_run": os.environ.get("KFP_RUN_ID", ""), **summary_tags(metrics)}
    return register_version(
        model, read_sample(evaluation, size), config.model_name, config.alias, tags, run_id
    )


def read_sample(evaluation: Path, size: int) -> np.ndarray:
    """The crops that evaluate set aside, uint8 [n, size, size, 3]."""
    images = decode_crops(pad.dataset(evaluation / "sample.parquet", schema=CROP_SCHEMA), size)
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())


def summary_tags(metrics: Mapping) -> dict[str, str]:
    """Headline figures of the adapted model, as tags of the version."""
    adapted = metrics["models"]["adapted"]
    tags = {"adapt": adapted["adapt"], "datasets": ",".join(metrics["datasets"])}
    for dataset, heads in adapted["per_dataset"].items():
        tags[f"balanced_accuracy.{dataset}"] = f"{heads['mean']['balanced_accuracy']:.4f}"
    if adapted["probe"]:
        tags["dataset_probe"] = f"{adapted['probe']['accuracy']:.4f}"
    return tags
