"""Turns the recorded faces of one photo into crops, or into rejects."""

import io
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image

from crossface.crop_faces.capture import capture_statistics, perceptual_hashes
from crossface.crop_faces.config import CropConfig
from crossface.crop_faces.detection import DETECTION_SIDE, Detector
from crossface.crop_faces.photo import Photo, Pixels, UnreadableError
from crossface.crop_faces.square import Box, Cut, OutsideError, Square
from crossface.data.rejects import Reason, Reject

STAGE = "crop_faces"

FaceRecord = dict[str, Any]  # a row of RECORD_SCHEMA
Outcome = list[dict[str, Any] | Reject]  # a row of CROP_SCHEMA or a reject for each record of one photo


def crop_photo(
    data: bytes | Exception,
    records: Sequence[FaceRecord],
    config: CropConfig,
    detector: Detector | None = None,
) -> Outcome:
    """Decode one photo at most once and cut all its faces.

    Args:
        data: the file, or why it could not be read.
        records: rows of ``RECORD_SCHEMA`` of that photo.
        config: size and margin.
        detector: finds the faces that have no box; None: they are the whole photo, or rejected.

    Returns:
        For each record, in order, a row of ``CROP_SCHEMA`` or the reason why there is none.
    """
    if isinstance(data, Exception):
        return _reject_all(records, *_reading_failed(data))
    try:
        return _crop_faces(Photo(data), records, config, detector)
    except UnreadableError as error:
        return _reject_all(records, Reason.UNREADABLE_IMAGE, str(error))
    except MemoryError:
        return _reject_all(records, Reason.UNREADABLE_IMAGE, "it does not fit into memory")


def _reading_failed(error: Exception) -> tuple[Reason, str]:
    if isinstance(error, FileNotFoundError):
        return Reason.MISSING_FILE, "the photo is not there any more"
    return Reason.UNREADABLE_IMAGE, f"{type(error).__name__}: {error}"


def _reject_all(records: Sequence[FaceRecord], reason: Reason, message: str) -> Outcome:
    return [_reject(record, reason, message) for record in records]


def _reject(record: FaceRecord, reason: Reason, message: str) -> Reject:
    return Reject(record["image_uri"], STAGE, reason, f"{record['face_id']}: {message}")


def _crop_faces(
    photo: Photo, records: Sequence[FaceRecord], config: CropConfig, detector: Detector | None
) -> Outcome:
    pixels: Pixels | None = None
    found: Iterator[Box] | None = None
    if detector and any(record["box"] is None for record in records):
        pixels = photo.decode_whole()
        found = iter(_largest_first(photo, pixels, detector))
    plans = [_plan(photo, record, config, found) for record in records]
    cuts = [plan[1] for plan in plans if not isinstance(plan, Reject)]
    if not cuts:
        return [plan for plan in plans if isinstance(plan, Reject)]
    pixels = pixels or photo.decode(cuts)
    return [
        plan if isinstance(plan, Reject) else _row(record, photo, plan[0], photo.cut(pixels, plan[1]))
        for record, plan in zip(records, plans, strict=True)
    ]


def _largest_first(photo: Photo, pixels: Pixels, detector: Detector) -> list[Box]:
    overview = photo.overview(pixels, DETECTION_SIDE)
    across, down = photo.width / overview.width, photo.height / overview.height
    boxes = [
        Box(box.left * across, box.top * down, box.width * across, box.height * down)
        for box in detector(overview)
    ]
    return sorted(boxes, key=lambda box: (-box.width * box.height, box.left, box.top))


def _plan(
    photo: Photo, record: FaceRecord, config: CropConfig, found: Iterator[Box] | None
) -> tuple[Box, Cut] | Reject:
    """Find a record's box and how it is cut; ``found`` are the detected faces that are still to be had."""
    box: Box | None
    if record["box"] is not None:
        box, margin = Box(**record["box"]), config.margin
    elif found is not None:
        box, margin = next(found, None), config.margin
        if box is None:
            return _reject(record, Reason.NO_FACE, "no box is published, and no face is found for it")
    elif config.whole_photo_without_box:
        box, margin = Box(0, 0, photo.width, photo.height), 0.0
    else:
        return _reject(record, Reason.NO_FACE, "no box is published, and whole_photo_without_box is false")
    if not box.has_area:
        return _reject(record, Reason.BAD_BOX, f"{box} has no area")
    if not box.meets(photo.width, photo.height):
        where = f"a photo of {photo.width} x {photo.height} px"
        return _reject(record, Reason.BOX_OUTSIDE, f"{box} in {where}")
    try:
        return box, photo.plan(Square.around(box, margin), config.size)
    except OutsideError as error:
        return _reject(record, Reason.BOX_OUTSIDE, str(error))


def _row(record: FaceRecord, photo: Photo, box: Box, crop: Image.Image) -> dict[str, Any]:
    phash, phash_mirrored = perceptual_hashes(crop)
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
        "phash": phash,
        "phash_mirrored": phash_mirrored,
    }


def _png(crop: Image.Image) -> bytes:
    """Encode without loss: a second JPEG would lay its own traces over those of the dataset."""
    buffer = io.BytesIO()
    # run lengths alone: on faces smaller than zlib's level 3, in two thirds of the time
    crop.save(buffer, "PNG", compress_type=zlib.Z_RLE)
    return buffer.getvalue()
