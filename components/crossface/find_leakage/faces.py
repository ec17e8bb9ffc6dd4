"""The faces of all datasets as columns: who they are, where they are, and what they look like."""

import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import compress, islice
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pad
from PIL import Image

from crossface.data.crops import iter_image_bytes, open_crops
from crossface.data.emotions import SPLITS
from crossface.errors import DataError
from crossface.find_leakage.registration import SIDE
from crossface.progress import Progress

_COLUMNS = ["face_id", "dataset", "split", "emotion", "group", "phash", "phash_mirrored"]
_DECODED_AT_ONCE = 512


@dataclass(frozen=True)
class Faces:
    """All crops, in the order of folders and shards.

    Attributes:
        crops: the crops themselves.
        table: face_id, dataset, split, emotion.
        protection: 0 train, 1 dev, 2 test, int64 [n]; training may see nothing of a better protected face.
        home: one number for each published group in a split, int64 [n]: copies with one home are no leakage.
        hashes: the perceptual hash, and that of the mirrored crop, uint64 [n, 2].
    """

    crops: pad.Dataset
    table: pa.Table
    protection: np.ndarray
    home: np.ndarray
    hashes: np.ndarray

    @classmethod
    def open(cls, folders: Sequence[Path]) -> Self:
        """Read everything but the images.

        Raises:
            DataError: a folder holds no crops, two crops have one ``face_id``, or one has no hash.
        """
        crops = open_crops(folders)
        table = crops.to_table(columns=_COLUMNS)
        counts = pc.value_counts(table["face_id"])
        twice = counts.filter(pc.greater(counts.field("counts"), 1))
        if len(twice):
            face = twice[0]["values"]
            raise DataError(
                f"{face}: {twice[0]['counts']} crops have this face_id; is a dataset given twice?"
            )
        for name in ("phash", "phash_mirrored"):
            if table[name].null_count:
                face = table.filter(pc.is_null(table[name]))["face_id"][0]
                raise DataError(f"{face}: the crop has no {name}; cut the faces again with crop_faces")
        split = table["split"].to_numpy()
        protection = np.select([split == name for name in SPLITS], range(len(SPLITS)))
        home = pc.binary_join_element_wise(table["dataset"], table["split"], table["group"], "\n")
        return cls(
            crops,
            table.select(_COLUMNS[:4]),
            protection.astype(np.int64),
            home.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64),
            np.stack([table[name].to_numpy() for name in ("phash", "phash_mirrored")], axis=1),
        )

    def __len__(self) -> int:
        return len(self.home)

    def pictures(self, rows: np.ndarray) -> np.ndarray:
        """Decode some crops, small and grey, as the registration compares them.

        Args:
            rows: which crops, int64 [m], ascending.

        Returns:
            luma, uint8 [m, SIDE, SIDE].

        Raises:
            DataError: an image cannot be decoded.
        """
        wanted = np.zeros(len(self), bool)
        wanted[rows] = True
        pictures = np.empty((len(rows), SIDE, SIDE), np.uint8)
        images = compress(iter_image_bytes(self.crops), wanted)
        done = 0
        with (
            Progress("compare: decode", total=len(rows), unit="crops") as progress,
            ThreadPoolExecutor(os.cpu_count()) as pool,
        ):
            for batch in _batches(images):
                try:
                    for picture in pool.map(_small_luma, batch):
                        pictures[done] = picture
                        done += 1
                except OSError as error:
                    face = self.table["face_id"][int(rows[done])]
                    raise DataError(f"{face}: the crop cannot be decoded: {error}") from None
                progress.update(len(batch))
        return pictures


def _batches(images: Iterator[bytes]) -> Iterator[list[bytes]]:
    while batch := list(islice(images, _DECODED_AT_ONCE)):
        yield batch


def _small_luma(image: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(image)) as crop:
        return np.asarray(crop.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS))
