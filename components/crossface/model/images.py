"""Crops as one uint8 tensor."""

import io
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.dataset as pad
import torch
from PIL import Image
from torch import Tensor

from crossface.data.crops import iter_image_bytes
from crossface.errors import DataError

_BLOCK = 4096  # encoded images held at a time


def decode_crops(crops: pad.Dataset, size: int, file: Path | None = None) -> Tensor:
    """Decode every crop, in order.

    Args:
        crops: rows of ``CROP_SCHEMA``, as ``open_crops`` gives them (a filtered dataset is fine).
        size: side in pixels; crops of another size are resized with antialiasing.
        file: a ``.npy`` file to make, uint8 [n, size, size, 3], that the pixels are mapped to, for more crops
            than memory holds.

    Returns:
        uint8 [n, 3, size, size], RGB, channels_last.

    Raises:
        DataError: the file has no room.
    """
    shape = (crops.count_rows(), size, size, 3)
    images = _mapped(file, shape) if file else np.empty(shape, np.uint8)
    rows = len(images)
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
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def _mapped(file: Path, shape: tuple[int, int, int, int]) -> np.ndarray:
    images = np.lib.format.open_memmap(file, "w+", np.uint8, shape)
    if hasattr(os, "posix_fallocate"):
        # room for all of it now: a disk that fills up would end the process when a mapped page is written
        try:
            with file.open("r+b") as handle:
                os.posix_fallocate(handle.fileno(), 0, file.stat().st_size)
        except OSError as error:
            raise DataError(
                f"{file.parent}: no room for {images.nbytes:,} bytes of pixels ({error.strerror}); set TMPDIR"
            ) from None
    return images


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
        return np.asarray(rgb)
