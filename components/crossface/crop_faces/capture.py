"""Measures how a photo was taken, and a perceptual hash of what it shows."""

import imagehash
import numpy as np
from PIL import Image

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as in JPEG


def capture_statistics(crop: Image.Image) -> dict[str, float]:
    """Measure a crop.

    Args:
        crop: mode RGB, resized, so that the numbers compare between photos.

    Returns:
        brightness and contrast (mean and standard deviation of luma, 0..1), sharpness (variance of the
        4-neighbour Laplacian of luma), colourfulness (Hasler & Suesstrunk, "Measuring colourfulness in
        natural images", SPIE 2003, of 8-bit RGB).
    """
    rgb = np.asarray(crop, dtype=np.float64)
    luma = rgb @ LUMA / 255
    inner = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * inner
    red, green, blue = np.moveaxis(rgb, 2, 0)
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    offset = np.hypot(red_green.mean(), yellow_blue.mean())
    return {
        "brightness": float(luma.mean()),
        "contrast": float(luma.std()),
        "sharpness": float(laplacian.var()),
        "colourfulness": float(spread + 0.3 * offset),
    }


def perceptual_hash(crop: Image.Image) -> int:
    """64-bit pHash (DCT) as an unsigned integer, first bit highest: copies differ in few bits."""
    return int(str(imagehash.phash(crop)), 16)
