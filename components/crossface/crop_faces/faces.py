"""Turns the recorded faces of one photo into crops, or into rejects."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image

from crossface.crop_faces.capture import capture_statistics, perceptual_hash
from crossface.crop_faces.config import CropConfig
from crossface.crop_faces.photo import Photo, UnreadableError, read_photo
from crossface.crop_faces.square import Box, OutsideError, Square, cut
from crossface.data.rejects import Reason, Reject

STAGE = "crop_faces"


def crop_photo(
    uri: str, records: Sequence[dict[str, Any]], config: CropConfig
) -> list[dict[str, Any] | Reject]:
    """Decode one photo once and cut all its faces.

    Args:
        uri: path of the photo.
        records: rows of ``RECORD_SCHEMA`` of that photo.
        config: size and margin.

    Returns:
        For each record, in order, a row of ``CROP_SCHEMA`` or the reason why there is none.
    """
    try:
        photo = read_photo(uri)
    except FileNotFoundError:
        return list(_reject_all(records, Reason.MISSING_FILE, "the photo is not there any more"))
    except UnreadableError as error:
        return list(_reject_all(records, Reason.UNREADABLE_IMAGE, str(error)))
    return [_crop_face(photo, record, config) for record in records]


def _reject_all(records: Sequence[dict[str, Any]], reason: Reason, message: str) -> Iterator[Reject]:
    for record in records:
        yield _reject(record, reason, message)


def _reject(record: dict[str, Any], reason: Reason, message: str) -> Reject:
    return Reject(record["image_uri"], STAGE, reason, f"{record['face_id']}: {message}")


def _crop_face(photo: Photo, record: dict[str, Any], config: CropConfig) -> dict[str, Any] | Reject:
    image = photo.image
    if record["box"] is not None:
        box, margin = Box(**record["box"]), config.margin
    elif config.whole_photo_without_box:
        box, margin = Box(0, 0, image.width, image.height), 0.0
    else:
        return _reject(record, Reason.BAD_BOX, "no box is published, and whole_photo_without_box is false")
    if not box.has_area:
        return _reject(record, Reason.BAD_BOX, f"{box} has no area")
    if not box.meets(image):
        return _reject(record, Reason.BOX_OUTSIDE, f"{box} in a photo of {image.width} x {image.height} px")
    try:
        crop = cut(image, Square.around(box, margin), config.size)
    except OutsideError as error:
        return _reject(record, Reason.BOX_OUTSIDE, str(error))
    return {
        "face_id": record["face_id"],
        "dataset": record["dataset"],
        "split": record["split"],
        "emotion": record["emotion"],
        "image": {"bytes": _png(crop), "path": f"{record['face_id']}.png"},
        "group": record["group"],
        "attributes": record["attributes"],
        "capture": capture_statistics(crop)
        | {"face_px": box.longer_side, "jpeg_quantisation": photo.jpeg_quantisation},
        "phash": perceptual_hash(crop),
    }


def _png(crop: Image.Image) -> bytes:
    """Encode without loss: a second JPEG would lay its own traces over those of the dataset."""
    buffer = io.BytesIO()
    crop.save(buffer, "PNG", compress_level=3)  # as small as 6 on faces, in half the time
    return buffer.getvalue()
