"""Turns a face that was cut, or could not be, into a row of the crops, or a reject."""

import io
import zlib
from typing import Any

from PIL import Image

from crossface.cropping.capture import perceptual_hashes
from crossface.cropping.faces import Fault, Outcome
from crossface.cropping.pool import FaceRecord
from crossface.data.rejects import Reject

STAGE = "crop_faces"


def crop_row(record: FaceRecord, face: Outcome) -> dict[str, Any] | Reject:
    """A row of ``CROP_SCHEMA``, or why there is none.

    Args:
        record: a row of ``RECORD_SCHEMA``.
        face: what became of it.
    """
    if isinstance(face, Fault):
        return Reject(record["image_uri"], STAGE, face.reason, f"{record['face_id']}: {face.message}")
    phash, phash_mirrored = perceptual_hashes(face.crop)
    return {
        "face_id": record["face_id"],
        "dataset": record["dataset"],
        "split": record["split"],
        "emotion": record["emotion"],
        "image": {"bytes": _png(face.crop), "path": f"{record['face_id']}.png"},
        "group": record["group"],
        "attributes": record["attributes"],
        "capture": face.capture,
        "phash": phash,
        "phash_mirrored": phash_mirrored,
    }


def _png(crop: Image.Image) -> bytes:
    """Encode without loss: a second JPEG would lay its own traces over those of the dataset."""
    buffer = io.BytesIO()
    # run lengths alone: on faces smaller than zlib's level 3, in two thirds of the time
    crop.save(buffer, "PNG", compress_type=zlib.Z_RLE)
    return buffer.getvalue()
