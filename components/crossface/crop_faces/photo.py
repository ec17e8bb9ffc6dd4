"""Decodes photos of any kind to upright 8-bit RGB."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

MAX_PIXELS = 100_000_000
"""Larger photos are refused before they are decoded: a small file can hold an image that fills memory."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000")
"""Nothing else is tried: some of Pillow's decoders start other programs (EPS), whatever a file is called."""


class UnreadableError(Exception):
    """A photo cannot be decoded, or not safely, or not completely."""


@dataclass(frozen=True)
class Photo:
    """A decoded photo.

    Attributes:
        image: mode RGB, as it is displayed: EXIF orientation applied, transparency flattened on white.
        jpeg_quantisation: mean of the luma quantisation table of the file, or None if it is no JPEG.
    """

    image: Image.Image
    jpeg_quantisation: float | None


def read_photo(path: str) -> Photo:
    """Decode a photo.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableError: it is no image, truncated, larger than ``MAX_PIXELS``, or of a kind without an
            agreed rendering.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata, and on sizes, checked here
        try:
            with Path(path).open("rb") as data, Image.open(data, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UnreadableError(f"{image.width} x {image.height} px are more than {MAX_PIXELS:,}")
                quantisation = getattr(image, "quantization", None)
                upright = ImageOps.exif_transpose(image)
                return Photo(_to_rgb(upright), _luma_mean(quantisation))
        except (FileNotFoundError, UnreadableError, MemoryError):
            raise
        except Exception as error:  # decoders raise what they like on broken files: KeyError, struct.error
            raise UnreadableError(f"{type(error).__name__}: {error}") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise UnreadableError("floating-point pixels have no agreed white")
    if image.mode.startswith("I"):  # 16 bits a pixel, also in mode I; Pillow's own conversion clips to white
        levels = np.asarray(image).clip(0, 65535) >> 8
        return Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _luma_mean(tables: dict[int, list[int]] | None) -> float | None:
    return float(np.mean(tables[min(tables)])) if tables else None
