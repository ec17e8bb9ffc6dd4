"""Cuts the faces of one photo, or says why one cannot be cut."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from crossface.cropping.capture import capture_statistics
from crossface.cropping.config import CutConfig
from crossface.cropping.detection import DETECTION_SIDE, Detector
from crossface.cropping.photo import Photo, Pixels, UnreadableError
from crossface.cropping.square import Box, Cut, OutsideError, Square
from crossface.data.rejects import Reason


@dataclass(frozen=True)
class CutFace:
    """A face as a crop.

    Attributes:
        crop: mode RGB, square.
        box: where the face is, in the pixels of the upright photo.
        capture: the fields of ``crossface.data.crops.CAPTURE``.
    """

    crop: Image.Image
    box: Box
    capture: dict[str, float | None]


@dataclass(frozen=True)
class Fault:
    """Why a face cannot be cut."""

    reason: Reason
    message: str


Outcome = CutFace | Fault


def cut_photo(
    data: bytes | Exception,
    boxes: Sequence[Box | None],
    config: CutConfig,
    detector: Detector | None = None,
) -> list[Outcome]:
    """Decode one photo at most once and cut all its faces.

    Args:
        data: the file, or why it could not be read.
        boxes: of its faces; None for a face without one.
        config: size and margin.
        detector: finds the faces that have no box; None: they are the whole photo, or cannot be cut.

    Returns:
        For each box, in order, the face or the reason why there is none.
    """
    if isinstance(data, Exception):
        return [_reading_failed(data)] * len(boxes)
    try:
        return _cut_faces(Photo(data), boxes, config, detector)
    except UnreadableError as error:
        return [Fault(Reason.UNREADABLE_IMAGE, str(error))] * len(boxes)
    except MemoryError:
        return [Fault(Reason.UNREADABLE_IMAGE, "it does not fit into memory")] * len(boxes)


def _reading_failed(error: Exception) -> Fault:
    if isinstance(error, FileNotFoundError):
        return Fault(Reason.MISSING_FILE, "the photo is not there any more")
    return Fault(Reason.UNREADABLE_IMAGE, f"{type(error).__name__}: {error}")


def _cut_faces(
    photo: Photo, boxes: Sequence[Box | None], config: CutConfig, detector: Detector | None
) -> list[Outcome]:
    pixels: Pixels | None = None
    found: Iterator[Box] | None = None
    if detector and None in boxes:
        pixels = photo.decode_whole()
        found = iter(_largest_first(photo, pixels, detector))
    plans = [_plan(photo, box, config, found) for box in boxes]
    cuts = [plan[1] for plan in plans if not isinstance(plan, Fault)]
    if not cuts:
        return [plan for plan in plans if isinstance(plan, Fault)]
    pixels = pixels or photo.decode(cuts)
    return [plan if isinstance(plan, Fault) else _cut(photo, pixels, *plan) for plan in plans]


def _largest_first(photo: Photo, pixels: Pixels, detector: Detector) -> list[Box]:
    overview = photo.overview(pixels, DETECTION_SIDE)
    across, down = photo.width / overview.width, photo.height / overview.height
    boxes = [
        Box(box.left * across, box.top * down, box.width * across, box.height * down)
        for box in detector(overview)
    ]
    return sorted(boxes, key=lambda box: (-box.width * box.height, box.left, box.top))


def _plan(
    photo: Photo, box: Box | None, config: CutConfig, found: Iterator[Box] | None
) -> tuple[Box, Cut] | Fault:
    """Find a face's box and how it is cut; ``found`` are the detected faces that are still to be had."""
    margin = config.margin
    if box is None and found is not None:
        box = next(found, None)
        if box is None:
            return Fault(Reason.NO_FACE, "no box is given, and no face is found for it")
    elif box is None and config.whole_photo_without_box:
        box, margin = Box(0, 0, photo.width, photo.height), 0.0
    elif box is None:
        return Fault(Reason.NO_FACE, "no box is given, and the whole photo is not to be taken for one")
    if not box.has_area:
        return Fault(Reason.BAD_BOX, f"{box} has no area")
    if not box.meets(photo.width, photo.height):
        where = f"a photo of {photo.width} x {photo.height} px"
        return Fault(Reason.BOX_OUTSIDE, f"{box} in {where}")
    try:
        return box, photo.plan(Square.around(box, margin), config.size)
    except OutsideError as error:
        return Fault(Reason.BOX_OUTSIDE, str(error))


def _cut(photo: Photo, pixels: Pixels, box: Box, cut: Cut) -> CutFace:
    crop = photo.cut(pixels, cut)
    capture = capture_statistics(crop)
    return CutFace(
        crop, box, {**capture, "face_px": box.longer_side, "jpeg_quantisation": photo.jpeg_quantisation}
    )
