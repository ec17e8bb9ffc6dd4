"""Measures how a photo was taken, and a perceptual hash of what it shows."""

import numpy as np
from PIL import Image
from scipy.fft import dct

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in JPEG


def capture_statistics(crop: Image.Image) -> dict[str, float]:
    """Measure a crop.

    Args:
        crop: mode RGB, resized, so that the numbers compare between photos.

    Returns:
        brightness and contrast (mean and standard deviation of luma, 0..1), sharpness (variance of the
        4-neighbour Laplacian of luma), colourfulness (Hasler & Suesstrunk, "Measuring colourfulness in
        natural images", SPIE 2003, of 8-bit RGB).
    """
    red, green, blue = (np.asarray(band, dtype=np.float64) for band in crop.split())
    luma = (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue) / 255
    inner = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * inner
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    offset = np.hypot(red_green.mean(), yellow_blue.mean())
    return {
        "brightness": float(luma.mean()),
        "contrast": float(luma.std()),
        "sharpness": float(laplacian.var()),
        "colourfulness": float(spread + 0.3 * offset),
    }


def perceptual_hashes(crop: Image.Image) -> tuple[int, int]:
    """64-bit pHash of a crop, and of its mirror image, as unsigned integers, first bit highest.

    Copies differ in few bits. Bit for bit the ``phash`` of the library imagehash: the 8 x 8 lowest
    frequencies of the cosine transform of 32 x 32 pixels of luma, each compared with their median.
    """
    luma = crop.convert("L")
    pictures = (luma, luma.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    small = np.stack([np.asarray(picture.resize((32, 32), Image.Resampling.LANCZOS)) for picture in pictures])
    low = dct(dct(small.astype(np.float64), axis=1)[:, :8], axis=2)[:, :, :8]
    bits = low > np.median(low, axis=(1, 2), keepdims=True)
    plain, mirrored = (int.from_bytes(np.packbits(picture).tobytes(), "big") for picture in bits)
    return plain, mirrored
