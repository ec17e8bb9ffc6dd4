"""The test manifest: which faces a model was tested on, as one hash."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc

from crossface.data.crops import open_crops


def manifest_digest(crops: Sequence[Path]) -> str:
    """Hash the test faces: their ids, labels and pixels, in whatever order they come.

    Args:
        crops: a crops folder a dataset.

    Returns:
        64 hexadecimal digits; equal only if the test faces are.
    """
    digest = hashlib.sha256()
    lines = []
    faces = open_crops(crops).filter(pc.field("split") == "test")
    for batch in faces.to_batches(columns=["face_id", "emotion", "image"]):
        for face, emotion, image in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            lines.append(f"{face}\t{emotion}\t{hashlib.sha256(image['bytes']).hexdigest()}\n")
    for line in sorted(lines):
        digest.update(line.encode())
    return digest.hexdigest()
