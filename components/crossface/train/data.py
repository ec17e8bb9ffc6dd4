"""The crops of one split as tensors."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from crossface.data.crops import open_crops
from crossface.data.emotions import Split
from crossface.errors import DataError
from crossface.model.images import decode_crops


@dataclass(frozen=True)
class Faces:
    """All faces of one split: decoded once, kept as bytes."""

    images: Tensor
    """uint8 [n, 3, size, size], RGB."""
    emotion: Tensor
    """int64 [n]."""
    dataset: Tensor
    """int64 [n], index in ``datasets``."""
    datasets: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.emotion)


def load_faces(crops: Sequence[Path], split: Split, size: int, without: Collection[str] = ()) -> Faces:
    """Load one split of all datasets.

    Args:
        crops: a crops folder a dataset.
        split: which split.
        size: side of the images in pixels.
        without: ids of faces to leave out.

    Raises:
        DataError: a dataset has no face in this split.
    """
    everything = open_crops(crops)
    datasets = tuple(sorted(pc.unique(everything.to_table(columns=["dataset"])["dataset"]).to_pylist()))
    left_out = pc.field("face_id").isin(pa.array(list(without), pa.string()))
    part = everything.filter((pc.field("split") == split) & ~left_out)
    labels = part.to_table(columns=["dataset", "emotion"])
    names = labels["dataset"].to_pylist()
    for name in datasets:
        if name not in set(names):
            raise DataError(f"{name}: no face in split {split}")
    index = {name: position for position, name in enumerate(datasets)}
    return Faces(
        images=decode_crops(part, size),
        emotion=torch.tensor(labels["emotion"].to_pylist()),
        dataset=torch.tensor([index[name] for name in names]),
        datasets=datasets,
    )
