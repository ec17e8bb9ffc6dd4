"""Crops as one uint8 tensor."""

import io
import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow.dataset as pad
import torch
from PIL import Image
from torch import Tensor

from crossface.data.crops import iter_image_bytes

_BLOCK = 4096  # encoded images held at a time


def decode_crops(crops: pad.Dataset, size: int) -> Tensor:
    """Decode every crop, in order.

    Args:
        crops: rows of ``CROP_SCHEMA``, as ``open_crops`` gives them (a filtered dataset is fine).
        size: side in pixels; crops of another size are resized with antialiasing.

    Returns:
        uint8 [n, 3, size, size], RGB.
    """
    rows = crops.count_rows()
    images = np.empty((rows, 3, size, size), np.uint8)
    encoded = iter_image_bytes(crops)

    def decode(index_and_data: tuple[int, bytes]) -> None:
        index, data = index_and_data
        images[index] = _decode(data, size)

    # threads do: Pillow releases the GIL while it decodes and resizes
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for first in range(0, rows, _BLOCK):
            block = enumerate(itertools.islice(encoded, _BLOCK), start=first)
            for _ in pool.map(decode, block):
                pass
    return torch.from_numpy(images)


def encode_png(image: np.ndarray) -> bytes:
    """uint8 [height, width, 3] RGB -> a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _decode(data: bytes, size: int) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        rgb = image.convert("RGB")
        if rgb.size != (size, size):
            rgb = rgb.resize((size, size), Image.Resampling.LANCZOS)
        return np.asarray(rgb).transpose(2, 0, 1)
