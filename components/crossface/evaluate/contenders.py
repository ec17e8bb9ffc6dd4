"""The models that are compared: the baseline, the adapted model, and any others of a study."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from crossface.errors import DataError
from crossface.measures.metrics import MODELS
from crossface.model.networks import CrossfaceNet
from crossface.model.saving import load_model, load_tables

_HISTORY_FILE = "history.parquet"


@dataclass(frozen=True)
class Contender:
    """One model and what is known of it."""

    name: str
    """``baseline``, ``adapted``, or what it is: ``heads``, ``none on rafdb``, ``cda without rafdb``."""
    net: CrossfaceNet
    folder: Path

    def about(self) -> dict[str, Any]:
        """What the report says of it, plain JSON values."""
        told = {"adapt", "backbone", "feature_dim", "image_size", "heads", "datasets"}
        about = self.net.config.model_dump(mode="json", include=told)
        return {**about, "tables": load_tables(self.folder), "training_seconds": self._training_seconds()}

    def _training_seconds(self) -> float | None:
        path = self.folder / _HISTORY_FILE
        if not path.is_file():
            return None
        return float(sum(pq.read_table(path, columns=["seconds"])["seconds"].to_pylist()))


def open_contenders(
    baseline: Path, adapted: Path, others: Sequence[Path], datasets: Sequence[str], device: str
) -> dict[str, Contender]:
    """Load the models, by name.

    Args:
        baseline: model folder.
        adapted: model folder.
        others: model folders of a study.
        datasets: all datasets there are; a model that was trained on fewer is named after those.
        device: where the networks go.

    Raises:
        DataError: a folder is no model folder, or two of the others are the same.
    """
    found = {}
    for name, folder in zip(MODELS, (baseline, adapted), strict=True):
        found[name] = Contender(name, load_model(folder).to(device), folder)
    for folder in others:
        net = load_model(folder).to(device)
        name = contender_name(net.config.adapt, net.config.datasets, datasets)
        if name in found:
            raise DataError(f"{folder}: there is another model of this training ({name})")
        found[name] = Contender(name, net, folder)
    return found


def contender_name(adapt: str, trained_on: Sequence[str], datasets: Sequence[str]) -> str:
    """What a model of a study is called, by its training."""
    unseen = [name for name in datasets if name not in trained_on]
    if not unseen:
        return adapt
    if len(unseen) == 1 and len(trained_on) > 1:
        return f"{adapt} without {unseen[0]}"
    return f"{adapt} on {' and '.join(name for name in datasets if name in trained_on)}"
