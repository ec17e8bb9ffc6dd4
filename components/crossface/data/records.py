"""Records: one row a labelled face, as ingest writes them and crop_faces reads them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from crossface.data.emotions import EMOTIONS, SPLITS
from crossface.data.rejects import Reason, Reject
from crossface.errors import DataError

RECORDS_FILE = "records.parquet"

BOX = pa.struct([(side, pa.float32()) for side in ("left", "top", "width", "height")])
"""A face in the pixels of its photo as it is displayed (EXIF orientation applied). It may leave the photo."""

ATTRIBUTES = pa.struct([(name, pa.string()) for name in ("gender", "race", "age")])
"""What a publisher says of a person, in the publisher's words, lower case; null where it says nothing."""

RECORD_SCHEMA = pa.schema(
    [
        pa.field("face_id", pa.string(), nullable=False),  # unique in the pipeline: "<dataset>/<...>"
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # train, dev or test
        pa.field("emotion", pa.int64(), nullable=False),  # index in EMOTIONS
        pa.field("raw_label", pa.string(), nullable=False),  # as published
        pa.field("image_uri", pa.string(), nullable=False),
        pa.field("box", BOX),  # null: no published box
        pa.field("group", pa.string(), nullable=False),  # photo or person: never in two splits
        pa.field("votes", pa.list_(pa.float32())),  # 7 annotator shares where published
        pa.field("attributes", ATTRIBUTES),
    ]
)


def write_records(rows: Iterable[dict], folder: Path) -> None:
    """Write rows of ``RECORD_SCHEMA`` to ``folder/records.parquet``.

    The faces of one photo stand next to each other: crop_faces decodes a photo once and keeps the order.
    """
    remaining = iter(rows)
    with pq.ParquetWriter(folder / RECORDS_FILE, RECORD_SCHEMA, compression="zstd") as writer:
        while batch := list(islice(remaining, 50_000)):  # Python dicts of a whole dataset fill gigabytes
            writer.write_table(pa.Table.from_pylist(batch, schema=RECORD_SCHEMA))


def open_records(folder: Path) -> pq.ParquetFile:
    """Open the table that :func:`write_records` wrote.

    Raises:
        DataError: the folder holds no records.
    """
    if not (folder / RECORDS_FILE).is_file():
        raise DataError(f"{folder}: no records ({RECORDS_FILE}) here")
    return pq.ParquetFile(folder / RECORDS_FILE)


@dataclass(frozen=True)
class FaceCounts:
    """What became of a dataset's faces in a step.

    Attributes:
        used: faces by (split, emotion index); pairs without a face may be absent.
        rejected: rejects of this step by reason.
    """

    used: Mapping[tuple[str, int], int]
    rejected: Mapping[Reason, int]

    @classmethod
    def of(cls, used: Iterable[tuple[str, int]], rejects: Iterable[Reject]) -> "FaceCounts":
        """Count (split, emotion index) pairs and rejects."""
        return cls(Counter(used), Counter(reject.reason for reject in rejects))

    @property
    def total(self) -> int:
        """Faces used, over all splits."""
        return sum(self.used.values())

    def in_split(self, split: str) -> int:
        """Faces used in one split."""
        return sum(count for (name, _), count in self.used.items() if name == split)

    def check_splits(self, dataset: str) -> None:
        """Fail when there is nothing to train on, to select on or to test on.

        Raises:
            DataError: naming the dataset and its empty splits.
        """
        empty = [split for split in SPLITS if not self.in_split(split)]
        if not empty:
            return
        left_out = ", ".join(f"{count} {reason}" for reason, count in self.rejected.items()) or "none"
        counts = ", ".join(f"{split} {self.in_split(split)}" for split in SPLITS)
        what = "no face at all" if not self.total else f"no face in split {' and '.join(empty)} ({counts})"
        raise DataError(f"{dataset}: {what}; rejects: {left_out}")

    def metrics(self) -> dict[str, float]:
        """Flat metrics: ``faces``, ``faces/<split>``, ``faces/<split>/<emotion>``, ``rejects/<reason>``."""
        values = {"faces": float(self.total)}
        for split in SPLITS:
            values[f"faces/{split}"] = float(self.in_split(split))
            for index, emotion in enumerate(EMOTIONS):
                values[f"faces/{split}/{emotion}"] = float(self.used.get((split, index), 0))
        values["rejects"] = float(sum(self.rejected.values()))
        for reason in Reason:
            values[f"rejects/{reason}"] = float(self.rejected.get(reason, 0))
        return values

    def __str__(self) -> str:
        rows = [("", *SPLITS)]
        for index, emotion in enumerate(EMOTIONS):
            rows.append((emotion, *(str(self.used.get((split, index), 0)) for split in SPLITS)))
        rows.append(("faces", *(str(self.in_split(split)) for split in SPLITS)))
        lines = [f"{name:<10}" + "".join(f"{cell:>9}" for cell in cells) for name, *cells in rows]
        rejected = ", ".join(f"{count} {reason}" for reason, count in sorted(self.rejected.items())) or "none"
        return "\n".join([*lines, f"rejects: {rejected}"])
