"""Decodes photos of any kind to 8-bit RGB, and no more of them than the faces need."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from crossface.cropping.jpeg import MAX_SCANS, scans, shorten
from crossface.cropping.square import Cut, Square

MAX_PIXELS = 100_000_000
"""Larger photos are refused before they are decoded: a small file can hold an image that fills memory."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000")
"""Nothing else is tried: some of Pillow's decoders start other programs (EPS), whatever a file is called."""

_JPEG_SCALES = (8, 4, 2)  # the photo shrinks by these while it is decoded
_JPEG_FORMATS = ("JPEG", "MPO")  # MPO: a JPEG with further pictures behind it


class UnreadableError(Exception):
    """A photo cannot be decoded, or not safely, or not completely."""


@dataclass(frozen=True)
class Orientation:
    """How a photo that is stored on its side is displayed (EXIF 2.32, tag 0x0112).

    Attributes:
        swap: width and height change places.
        mirror_x: the stored x axis runs against the axis of the displayed photo that it becomes.
        mirror_y: the stored y axis does.
        turn: what turns stored pixels upright.
    """

    swap: bool = False
    mirror_x: bool = False
    mirror_y: bool = False
    turn: Image.Transpose | None = None

    def stored(self, square: Square, width: int, height: int) -> Square:
        """A square of the displayed photo in the stored one, which is ``width`` x ``height`` pixels."""
        left, top = (square.top, square.left) if self.swap else (square.left, square.top)
        return Square(
            width - left - square.side if self.mirror_x else left,
            height - top - square.side if self.mirror_y else top,
            square.side,
        )

    def upright(self, image: Image.Image) -> Image.Image:
        """Stored pixels as they are displayed."""
        return image if self.turn is None else image.transpose(self.turn)


_ORIENTATIONS = {
    2: Orientation(False, True, False, Image.Transpose.FLIP_LEFT_RIGHT),
    3: Orientation(False, True, True, Image.Transpose.ROTATE_180),
    4: Orientation(False, False, True, Image.Transpose.FLIP_TOP_BOTTOM),
    5: Orientation(True, False, False, Image.Transpose.TRANSPOSE),
    6: Orientation(True, False, True, Image.Transpose.ROTATE_270),
    7: Orientation(True, True, True, Image.Transpose.TRANSVERSE),
    8: Orientation(True, True, False, Image.Transpose.ROTATE_90),
}


@dataclass(frozen=True)
class Pixels:
    """Decoded pixels of a photo, as they are stored.

    Attributes:
        image: mode RGB, transparency flattened on white; rows at the bottom may be missing.
        shrink: stored pixels of the photo that one pixel of the image stands for, along each axis.
    """

    image: Image.Image
    shrink: int


class Photo:
    """A photo whose header is read. Its pixels are decoded when they are asked for.

    Attributes:
        width: in pixels, as it is displayed (EXIF orientation applied).
        height: likewise.
        jpeg_quantisation: mean of the luma quantisation table of the file, or None if it is no JPEG.

    Args:
        data: the file.

    Raises:
        UnreadableError: it is no image, larger than ``MAX_PIXELS``, or would take hours to decode.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        with _broken_is_unreadable():
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableError(f"{image.width} x {image.height} px are more than {MAX_PIXELS:,}")
            if image.format == "PNG":
                Image.open(io.BytesIO(data)).verify()  # checksums, which decoding does not look at
            self._is_jpeg = image.format in _JPEG_FORMATS
            if image.info.get("progressive") and scans(data) > MAX_SCANS:
                raise UnreadableError(f"more than {MAX_SCANS} scans")
            self._orientation = _orientation(image)
            self.jpeg_quantisation = _luma_mean(getattr(image, "quantization", None))
        self._image = image
        self._stored = image.size  # a scaled decode will change that of the image
        self.width, self.height = image.size[::-1] if self._orientation.swap else image.size

    def plan(self, square: Square, size: int) -> Cut:
        """Plan how a square of the displayed photo becomes a crop.

        Raises:
            OutsideError: not one pixel of the crop would lie wholly in the photo.
        """
        return Cut.plan(self._orientation.stored(square, *self._stored), *self._stored, size)

    def decode(self, cuts: Sequence[Cut]) -> Pixels:
        """Decode as little as serves the cuts: a JPEG at the smallest scale and with as few rows as will do.

        Raises:
            UnreadableError: it is truncated or broken, or of a kind without an agreed rendering.
        """
        with _broken_is_unreadable():
            if not self._is_jpeg:
                return Pixels(_to_rgb(self._image), 1)
            scale = min(cut.scale for cut in cuts)
            shrink = next((shrink for shrink in _JPEG_SCALES if scale >= shrink), 1)
            rows = max(cut.rows_needed(shrink) for cut in cuts)
            shorter = shorten(self._data, max(rows, shrink))
            image = Image.open(shorter, formats=("JPEG",)) if shorter else self._image
            return _decode_jpeg(image, shrink, len(self._data))

    def decode_whole(self) -> Pixels:
        """Decode every pixel.

        Raises:
            UnreadableError: as :meth:`decode`.
        """
        with _broken_is_unreadable():
            return Pixels(_to_rgb(self._image), 1)

    def cut(self, pixels: Pixels, cut: Cut) -> Image.Image:
        """Cut a crop, mode RGB and upright, out of what was decoded for it."""
        return self._orientation.upright(cut.crop(pixels.image, pixels.shrink))

    def overview(self, pixels: Pixels, longer_side: int) -> Image.Image:
        """The displayed photo, all of which is decoded, with sides of at most ``longer_side`` pixels."""
        small = pixels.image.copy()
        small.thumbnail((longer_side, longer_side), Image.Resampling.BILINEAR)
        return self._orientation.upright(small)


@contextmanager
def _broken_is_unreadable() -> Iterator[None]:
    """Decoders raise what they like on broken files: KeyError, struct.error, SyntaxError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata, and on sizes, checked here
        try:
            yield
        except (UnreadableError, MemoryError):
            raise
        except UnidentifiedImageError:  # its own message has an address, another one each time
            raise UnreadableError(f"no image, or of another kind than {', '.join(FORMATS)}") from None
        except Exception as error:
            raise UnreadableError(f"{type(error).__name__}: {error}") from None


def _decode_jpeg(image: Image.Image, shrink: int, file_bytes: int) -> Pixels:
    width, height = image.size
    draft = image.draft(None, (max(width // shrink, 1), max(height // shrink, 1))) if shrink > 1 else None
    image.decodermaxblock = file_bytes  # type: ignore[attr-defined]  # all at once: a tenth faster
    # the last pixel of a scaled row may lie partly beyond the photo: the ratio is the scale itself, always
    return Pixels(_to_rgb(image), round(width / draft[1][2]) if draft else 1)


def _orientation(image: Image.Image) -> Orientation:
    if image.format == "TIFF":  # Pillow turns these itself
        return Orientation()
    try:
        return _ORIENTATIONS.get(image.getexif().get(ExifTags.Base.Orientation, 1), Orientation())
    except Exception:  # broken metadata do not change what a photo shows
        return Orientation()


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise UnreadableError("floating-point pixels have no agreed white")
    if image.mode.startswith("I"):  # 16 bits a pixel, also in mode I; Pillow's own conversion clips to white
        levels = np.asarray(image).clip(0, 65535) >> 8
        return Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    image.load()
    if image.has_transparency_data:
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        flat = Image.new("RGB", layer.size, "white")
        flat.paste(layer, mask=layer)
        return flat
    return image if image.mode == "RGB" else image.convert("RGB")


def _luma_mean(tables: dict[int, list[int]] | None) -> float | None:
    return float(np.mean(tables[min(tables)])) if tables else None
