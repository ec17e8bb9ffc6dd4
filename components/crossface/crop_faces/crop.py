"""Cuts all recorded faces of a dataset and writes them as shards, in the order of the records."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from crossface.crop_faces.config import CropConfig
from crossface.crop_faces.pool import RecordedPhoto, crop_photos
from crossface.data.crops import ShardWriter
from crossface.data.records import FaceCounts, read_records
from crossface.data.rejects import Reject, check_reject_fraction, read_rejects, write_rejects
from crossface.data.storage import atomic_folder
from crossface.errors import DataError
from crossface.progress import Progress


@dataclass(frozen=True)
class CropSummary:
    """What crop_faces wrote.

    Attributes:
        dataset: the dataset's key.
        counts: crops by split and emotion, rejects of this step by reason.
        digest: of the shards, 32 hexadecimal digits.
    """

    dataset: str
    counts: FaceCounts
    digest: str

    def metrics(self) -> dict[str, float]:
        """The counts as flat metrics, such as ``faces/train/fear`` and ``rejects/box_outside``."""
        return self.counts.metrics()

    def __str__(self) -> str:
        return f"crop_faces {self.dataset}: {self.counts.total} faces\n{self.counts}"


def crop_faces(records: Path, config: CropConfig, out: Path) -> CropSummary:
    """Cut the faces of a records folder and write ``out``.

    ``out`` gets the crops (``part-*.parquet``, rows of ``CROP_SCHEMA``) and ``rejects.parquet``, which holds
    the rejects of ingest and then those of this step. The same records and configuration give the same
    bytes, whatever the number of workers.

    Raises:
        DataError: there are no records, too many faces are rejected, or a split is left without faces.
        CrossfaceError: a worker process died.
    """
    table = read_records(records)
    if not table.num_rows:
        raise DataError(f"{records}: the records hold no face")
    dataset = table["dataset"][0].as_py()
    earlier = read_rejects(records)
    used: list[tuple[str, int]] = []
    rejects: list[Reject] = []
    rows_of = _rows_by_photo(table)
    with atomic_folder(out) as part:
        writer = ShardWriter(part)
        with Progress(f"crop {dataset}", total=len(rows_of), unit="photos") as progress:
            for outcome in crop_photos(_photos(table, rows_of), config):
                for face in outcome:
                    if isinstance(face, Reject):
                        rejects.append(face)
                    else:
                        used.append((face["split"], face["emotion"]))
                        writer.write(face)
                progress.update(1)
        writer.close()
        check_reject_fraction(rejects, len(used), config.max_reject_fraction, f"{dataset}: crop_faces")
        counts = FaceCounts.of(used, rejects)
        counts.check_splits(f"{dataset}: crop_faces")
        write_rejects([*earlier, *rejects], part)
        digest = _digest(sorted(part.glob("part-*.parquet")))
    return CropSummary(dataset, counts, digest)


def _rows_by_photo(table: pa.Table) -> dict[str, list[int]]:
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, uri in enumerate(table["image_uri"].to_pylist()):
        rows_of[uri].append(row)
    return rows_of


def _photos(table: pa.Table, rows_of: dict[str, list[int]]) -> Iterator[RecordedPhoto]:
    """Yield every photo once, in the order of its first face; ingest puts its faces next to each other."""
    table = table.combine_chunks()
    for uri, rows in rows_of.items():
        yield uri, table.take(rows).to_pylist()


def _digest(files: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for file in files:
        whole.update(file.read_bytes())
    return whole.hexdigest()[:32]
