"""What is scored, and how."""

from typing import Literal

from pydantic import Field

from crossface.config import Config

_KINDS = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "jp2")


class ScoreConfig(Config):
    """Configuration of the step. How large a face is cut, and with how much around it, the model knows.

    Attributes:
        source: a local directory, ``s3://bucket/prefix``, or an archive in either.
        revision: any text; change it when photos changed that kept their names and sizes.
        patterns: of the paths below the source that are photos, such as ``2026/*.jpg``; ``*`` is any text,
            folders included, and case does not matter.
        boxes: a CSV file, local or ``s3://``, with the columns image (path below the source), left, top,
            width and height: a row a face. Without it each photo is a face crop.
        detector: "centerface" takes the largest face of each photo that has no box.
        shard_photos: photos a Parquet file, and between two savings to the checkpoint.
        batch_size: faces that go through the network at a time.
        workers: processes that decode photos; 0 is one a core.
        checkpoint: folder or ``s3://bucket/prefix`` for finished shards; empty: an interrupted run is lost.
        max_reject_fraction: the step fails when a greater share of the faces is rejected.
    """

    source: str = Field(min_length=1)
    revision: str = ""
    patterns: tuple[str, ...] = Field(tuple(f"*.{kind}" for kind in _KINDS), min_length=1)
    boxes: str = ""
    detector: Literal["none", "centerface"] = "none"
    shard_photos: int = Field(5000, ge=1)
    batch_size: int = Field(64, ge=1)
    workers: int = Field(0, ge=0)
    checkpoint: str = ""
    max_reject_fraction: float = Field(0.05, ge=0.0, le=1.0)
