"""Crops: face images in Parquet shards that Hugging Face ``datasets`` opens as they are.

``datasets.load_dataset("parquet", data_files="crops/part-*.parquet")`` shows images and class names,
because the schema carries the feature types in its metadata.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as pad
import pyarrow.parquet as pq

from crossface.data.emotions import EMOTIONS
from crossface.data.records import ATTRIBUTES
from crossface.errors import DataError

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

CAPTURE = pa.struct(
    [
        (name, pa.float32())
        for name in ("brightness", "contrast", "sharpness", "colourfulness", "face_px", "jpeg_quantisation")
    ]
)
"""How the photo was taken, never what it shows: mean and standard deviation of luma (0..1), variance of
the Laplacian of luma, Hasler & Suesstrunk's colourfulness (of 8-bit RGB), all of the resized crop, so that
they compare between photos; longer side of the face in the photo's pixels, mean of the photo's JPEG luma
quantisation table (null for other formats)."""

_FEATURES = {
    "face_id": {"dtype": "string", "_type": "Value"},
    "dataset": {"dtype": "string", "_type": "Value"},
    "split": {"dtype": "string", "_type": "Value"},
    "emotion": {"names": list(EMOTIONS), "_type": "ClassLabel"},
    "image": {"_type": "Image"},
    "group": {"dtype": "string", "_type": "Value"},
    "attributes": {field.name: {"dtype": "string", "_type": "Value"} for field in ATTRIBUTES},
    "capture": {field.name: {"dtype": "float32", "_type": "Value"} for field in CAPTURE},
    "phash": {"dtype": "uint64", "_type": "Value"},
    "phash_mirrored": {"dtype": "uint64", "_type": "Value"},
}

CROP_SCHEMA = pa.schema(
    [
        pa.field("face_id", pa.string()),
        pa.field("dataset", pa.string()),
        pa.field("split", pa.string()),
        pa.field("emotion", pa.int64()),
        pa.field("image", IMAGE),
        pa.field("group", pa.string()),
        pa.field("attributes", ATTRIBUTES),
        pa.field("capture", CAPTURE),
        pa.field("phash", pa.uint64()),  # 64-bit perceptual hash (DCT) of the crop
        pa.field("phash_mirrored", pa.uint64()),  # the same of the crop mirrored left to right
    ],
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)


class ShardWriter:
    """Writes crops to ``part-00000.parquet``, ``part-00001.parquet``, ... of bounded size.

    Rows go to disk in small row groups, so neither the writer nor a reader that streams the images ever
    holds a whole shard. A row group ends when it has its rows or its bytes, whichever comes first, and a
    shard when it has its row groups.

    Args:
        folder: where the shards go; it must exist.
        shard_groups: row groups in a shard.
        group_rows: most crops in a row group.
        group_bytes: bytes of images from which a row group is full; about that much is held in memory.
    """

    def __init__(
        self, folder: Path, shard_groups: int = 16, group_rows: int = 512, group_bytes: int = 16 << 20
    ) -> None:
        self._folder = folder
        self._shard_groups = shard_groups
        self._group_rows = group_rows
        self._group_bytes = group_bytes
        self._rows: list[dict] = []
        self._bytes = 0
        self._groups = 0
        self._shard: pq.ParquetWriter | None = None

    def write(self, row: dict) -> None:
        """Add one row of ``CROP_SCHEMA``."""
        self._rows.append(row)
        self._bytes += len(row["image"]["bytes"])
        if len(self._rows) == self._group_rows or self._bytes >= self._group_bytes:
            self._write_group()

    def close(self) -> None:
        """Write what is left and close the last shard."""
        if self._rows:
            self._write_group()
        if self._shard:
            self._shard.close()
            self._shard = None

    def _write_group(self) -> None:
        self._open_shard().write_table(pa.Table.from_pylist(self._rows, schema=CROP_SCHEMA))
        self._groups += 1
        self._rows = []
        self._bytes = 0

    def _open_shard(self) -> pq.ParquetWriter:
        number, group = divmod(self._groups, self._shard_groups)
        if self._shard is None or group == 0:
            if self._shard:
                self._shard.close()
            self._shard = pq.ParquetWriter(
                self._folder / f"part-{number:05d}.parquet", CROP_SCHEMA, compression="zstd"
            )
        return self._shard


def open_crops(folders: Sequence[Path]) -> pad.Dataset:
    """Open the crops of one or several datasets as one; rows come in the order of folders and shards.

    Raises:
        DataError: a folder holds no shard.
    """
    shards = []
    for folder in folders:
        found = sorted(folder.glob("part-*.parquet"))
        if not found:
            raise DataError(f"{folder}: no crops (part-*.parquet) here")
        shards += found
    return pad.dataset(shards, schema=CROP_SCHEMA, format="parquet")


def dataset_of(folder: Path) -> str:
    """Key of the dataset whose crops a folder holds.

    Raises:
        DataError: the folder holds none.
    """
    first = open_crops([folder]).head(1, columns=["dataset"])["dataset"]
    if not len(first):
        raise DataError(f"{folder}: its shards hold no crop")
    return first[0].as_py()


def iter_batches(crops: pad.Dataset, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield some columns of every crop, in order, some hundred crops at a time, in bounded memory."""
    # as it comes, Arrow reads ahead while the caller works: whole shards, a gigabyte of images
    yield from crops.to_batches(
        columns=list(columns),
        batch_size=512,
        batch_readahead=1,
        fragment_readahead=1,
        fragment_scan_options=pad.ParquetFragmentScanOptions(pre_buffer=False),
        use_threads=False,
    )


def iter_image_bytes(crops: pad.Dataset) -> Iterator[bytes]:
    """Yield the encoded image of every crop, in order, in bounded memory."""
    for batch in iter_batches(crops, ["image"]):
        for value in batch.column("image").field("bytes"):
            yield value.as_py()
