"""Crops as uint8 tensors: all of them at once, or a batch after the other in bounded memory."""

import io
import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pad
import torch
from PIL import Image
from torch import Tensor

from crossface.data.crops import iter_batches
from crossface.errors import DataError

_Item = TypeVar("_Item")


class DecodedBatch(NamedTuple):
    """Some crops."""

    labels: pa.Table
    """The columns that were asked for."""
    images: dict[int, Tensor]
    """By size: uint8 [n, 3, size, size], RGB, channels_last."""


def iter_decoded(
    crops: pad.Dataset, sizes: Collection[int], columns: Sequence[str] = (), batch_size: int = 256
) -> Iterator[DecodedBatch]:
    """Decode every crop, in order and once for all sizes, a batch ahead of whoever works on them.

    Two batches are in memory, however many crops there are.

    Args:
        crops: rows of ``CROP_SCHEMA``, as ``open_crops`` gives them (a filtered dataset is fine).
        sizes: sides in pixels; crops of another size are resized with antialiasing.
        columns: what else to read of each crop.
        batch_size: crops in a batch; the last one has what is left.
    """
    # threads do: Pillow releases the GIL while it decodes and resizes
    with ThreadPoolExecutor(os.cpu_count()) as decoders:
        batches = _rebatched(iter_batches(crops, ["image", *columns]), batch_size)
        yield from _one_ahead(map(partial(_decode_batch, sizes=sizes, decoders=decoders), batches))


def decode_crops(crops: pad.Dataset, size: int, file: Path | None = None) -> Tensor:
    """Decode every crop, in order.

    Args:
        crops: as of :func:`iter_decoded`.
        size: side in pixels; crops of another size are resized with antialiasing.
        file: a ``.npy`` file to make, uint8 [n, size, size, 3], that the pixels are mapped to, for more crops
            than memory holds.

    Returns:
        uint8 [n, 3, size, size], RGB, channels_last.

    Raises:
        DataError: the file has no room.
    """
    shape = (crops.count_rows(), size, size, 3)
    pixels = _mapped(file, shape) if file else np.empty(shape, np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    done = 0
    for batch in iter_decoded(crops, [size]):
        images[done : done + len(batch.labels)] = batch.images[size]
        done += len(batch.labels)
    return images


def encode_png(image: np.ndarray) -> bytes:
    """uint8 [height, width, 3] RGB -> a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


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


def _rebatched(batches: Iterator[pa.RecordBatch], size: int) -> Iterator[pa.Table]:
    """The same rows, ``size`` at a time: a filter leaves few of a row group, or many."""
    held: list[pa.Table] = []
    for batch in batches:
        held.append(pa.Table.from_batches([batch]))
        if sum(map(len, held)) >= size:
            table = pa.concat_tables(held)
            while len(table) >= size:
                yield table.slice(0, size)
                table = table.slice(size)
            held = [table]
    if any(map(len, held)):
        yield pa.concat_tables(held)


def _decode_batch(rows: pa.Table, sizes: Collection[int], decoders: ThreadPoolExecutor) -> DecodedBatch:
    images = {size: np.empty((len(rows), size, size, 3), np.uint8) for size in sizes}

    def decode(row: int, data: pa.Scalar) -> None:
        with Image.open(io.BytesIO(data.as_py())) as image:
            rgb = image.convert("RGB")
        for size, pixels in images.items():
            fits = rgb.size == (size, size)
            pixels[row] = np.asarray(rgb if fits else rgb.resize((size, size), Image.Resampling.LANCZOS))

    encoded = pc.struct_field(rows["image"], "bytes")
    for _ in decoders.map(decode, range(len(rows)), encoded):
        pass
    tensors = {size: torch.from_numpy(pixels).permute(0, 3, 1, 2) for size, pixels in images.items()}
    return DecodedBatch(rows.drop_columns("image"), tensors)


def _one_ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """The same; a thread makes the next one while the caller works on this one."""
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = maker.submit(next, items, None)
            yield item
