"""The faces of one split as tensors: decoded once, kept as bytes in a file that processes share."""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from crossface.data.crops import open_crops
from crossface.data.emotions import EMOTIONS, Split
from crossface.errors import DataError
from crossface.model.images import decode_crops

_PIXELS_FILE = "pixels.npy"
_LABELS_FILE = "labels.json"
_BLOCK = 4096  # images hashed at a time


@dataclass(frozen=True)
class Faces:
    """All faces of one split."""

    images: Tensor
    """uint8 [n, 3, size, size], RGB, channels_last."""
    emotion: Tensor
    """int64 [n]."""
    dataset: Tensor
    """int64 [n], index in ``datasets``."""
    datasets: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.emotion)

    def counts(self) -> Tensor:
        """Faces of each emotion in each dataset: int64 [datasets, 7]."""
        shape = len(self.datasets), len(EMOTIONS)
        return torch.bincount(self.dataset * shape[1] + self.emotion, minlength=shape[0] * shape[1]).view(
            shape
        )

    def identity(self) -> dict[str, Any]:
        """Number of faces a dataset, and a digest of all pixels and labels, in their order."""
        digest = hashlib.sha256()
        for labels in (self.emotion, self.dataset):
            digest.update(labels.numpy().data)
        for block in self.images.permute(0, 2, 3, 1).split(_BLOCK):
            digest.update(block.contiguous().numpy().data)
        faces = dict(zip(self.datasets, self.counts().sum(1).tolist(), strict=True))
        return {"faces": faces, "digest": digest.hexdigest()}


def load_faces(
    crops: Sequence[Path], split: Split, size: int, store: Path, without: Collection[str] = ()
) -> Faces:
    """Decode one split of all datasets into ``store``, and open it.

    Args:
        crops: a crops folder a dataset.
        split: which split.
        size: side of the images in pixels.
        store: folder to make, of 3 x size^2 bytes a face.
        without: ids of faces to leave out.

    Raises:
        DataError: a dataset has no face in this split, or the folder has no room.
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
    store.mkdir(parents=True)
    decode_crops(part, size, store / _PIXELS_FILE)
    rows = {"emotion": labels["emotion"].to_pylist(), "dataset": [index[name] for name in names]}
    (store / _LABELS_FILE).write_text(json.dumps({"datasets": datasets, **rows}))
    return open_faces(store)


def open_faces(store: Path) -> Faces:
    """Map what :func:`load_faces` wrote: all processes of a machine share one copy of the pixels."""
    labels = json.loads((store / _LABELS_FILE).read_text())
    pixels = np.load(store / _PIXELS_FILE, mmap_mode="c", allow_pickle=False)  # "c": torch wants to write
    return Faces(
        images=torch.from_numpy(pixels).permute(0, 3, 1, 2),
        emotion=torch.tensor(labels["emotion"]),
        dataset=torch.tensor(labels["dataset"]),
        datasets=tuple(labels["datasets"]),
    )
