"""The cameras: what a source does to every photo, whoever is on it.

RAF-DB is clean and bright. ExpW is warm, grainy and compressed hard. AffectNet is soft, cool and flat, with
dark corners, in many file formats.
"""

import io
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from PIL import Image, ImageFilter

from crossface.data.sample.draw import Pixels
from crossface.data.sample.population import Source


@dataclass(frozen=True)
class Camera:
    """Ranges are drawn once a photo; gains multiply red, green and blue."""

    gains: tuple[float, float, float]
    contrast: tuple[float, float]
    brightness: tuple[float, float]
    noise: tuple[float, float]  # standard deviation, of 255
    blur: tuple[float, float]  # radius in pixels
    vignette: tuple[float, float]  # share of the light lost in the corners
    quality: tuple[int, int]  # of JPEG


CAMERAS: dict[Source, Camera] = {
    "rafdb": Camera((1.0, 1.0, 1.0), (0.95, 1.1), (-5, 12), (0, 0), (0, 0), (0, 0.05), (90, 96)),
    "expw": Camera((1.12, 1.0, 0.80), (0.95, 1.2), (-18, 8), (3, 8), (0, 0), (0, 0.15), (28, 50)),
    "affectnet": Camera((0.90, 1.0, 1.12), (0.62, 0.8), (-14, 10), (0, 0), (0.8, 1.7), (0.25, 0.5), (78, 92)),
}

_FORMATS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "bmp": "BMP", "tif": "TIFF"}


def expose(pixels: Pixels, camera: Camera, rng: np.random.Generator) -> Image.Image:
    """Pass what was drawn through a camera."""
    height, width = pixels.shape[:2]
    gains = np.array(camera.gains) * rng.normal(1.0, 0.03, 3)
    contrast, brightness = rng.uniform(*camera.contrast), rng.uniform(*camera.brightness)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :] ** 2
    fall = 1.0 - rng.uniform(*camera.vignette) * (x + y) / 2.0
    factors = (gains * contrast).astype(np.float32)
    light = pixels * factors + np.float32(128.0 * (1.0 - contrast) + brightness)
    light *= fall[..., None]
    grain = np.float32(rng.uniform(*camera.noise))
    if grain > 0:
        light += grain * rng.standard_normal((height, width, 1), dtype=np.float32)
    image = Image.fromarray(np.clip(light, 0, 255, out=light).astype(np.uint8))
    radius = rng.uniform(*camera.blur)
    return image.filter(ImageFilter.GaussianBlur(radius)) if radius > 0.2 else image


def encode(image: Image.Image, name: str, quality: int) -> bytes:
    """The bytes of an image file, in the format that the name's extension (in any case) asks for."""
    buffer = io.BytesIO()
    kind = _FORMATS[PurePosixPath(name).suffix[1:].lower()]
    options = {"JPEG": {"quality": quality}, "PNG": {"compress_level": 3}}.get(kind, {})
    image.save(buffer, kind, **options)
    return buffer.getvalue()
