"""Scores photos, a shard after the other, each as it would come out alone."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from crossface.cropping.config import CutConfig
from crossface.cropping.faces import Fault, Outcome
from crossface.cropping.pool import FaceRecord, RecordedPhoto, crop_photos
from crossface.data.rejects import Reject
from crossface.model.served import Network, ServedModel
from crossface.progress import Progress
from crossface.score.config import ScoreConfig
from crossface.score.table import score_table

STAGE = "score"

Shard = list[RecordedPhoto]
Scored = tuple[pa.Table, list[Reject]]


def cut_config(model: ServedModel, config: ScoreConfig) -> CutConfig:
    """How faces are cut: as those that the model was trained on, where that is known."""
    return CutConfig(
        size=model.reference.crop_size if model.reference else model.image_size,
        margin=model.margin,
        detector=config.detector,
        whole_photo_without_box=not config.boxes,
        workers=config.workers,
    )


def score_shards(
    shards: list[Shard], model: ServedModel, config: ScoreConfig, folder: Path
) -> Iterator[Scored]:
    """Yield the rows and the rejects of each shard, in order.

    Photos are decoded ahead, also of the next shard; a batch of the network never reaches into it, so that a
    shard is the same bit for bit whichever shards come before it.

    Args:
        shards: photos and their faces.
        model: reads the expressions.
        config: batch size and workers.
        folder: any; photos beside records are not meant.

    Raises:
        CrossfaceError: a worker process died, or what holds the photos cannot be read.
    """
    network = Network(model)
    photos = (photo for shard in shards for photo in shard)
    finish = partial(face_pixels, size=model.image_size)
    outcomes = crop_photos(photos, folder, cut_config(model, config), finish)
    with Progress("score", total=sum(map(len, shards)), unit="photos") as progress:
        for shard in shards:
            yield _score(islice(outcomes, len(shard)), network, config.batch_size, progress)


def face_pixels(record: FaceRecord, face: Outcome, size: int) -> dict[str, Any] | Reject:
    """What the network and the table need of a face; resized as crops are in training."""
    if isinstance(face, Fault):
        return Reject(record["uri"], STAGE, face.reason, face.message)
    fits = face.crop.size == (size, size)
    crop = face.crop if fits else face.crop.resize((size, size), Image.Resampling.LANCZOS)
    return {
        "uri": record["uri"],
        "box": asdict(face.box),
        "capture": face.capture,
        "pixels": np.asarray(crop),
    }


def _score(photos: Iterator[list[Any]], network: Network, batch_size: int, progress: Progress) -> Scored:
    faces: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    waiting: list[np.ndarray] = []
    said: list[np.ndarray] = [np.empty((0, 7), np.float32)]
    for outcomes in photos:
        for face in outcomes:
            if isinstance(face, Reject):
                rejects.append(face)
                continue
            waiting.append(face.pop("pixels"))
            faces.append(face)
            if len(waiting) == batch_size:
                said.append(network(np.stack(waiting)))
                waiting = []
        progress.update(1)
    if waiting:
        said.append(network(np.stack(waiting)))
    return score_table(faces, np.concatenate(said)), rejects
