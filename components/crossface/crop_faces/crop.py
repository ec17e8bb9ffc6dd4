"""Cuts all recorded faces of a dataset and writes them as shards, in the order of the records."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow.parquet as pq

from crossface.crop_faces.config import CropConfig
from crossface.crop_faces.rows import crop_row
from crossface.cropping.detection import check_detector
from crossface.cropping.pool import FaceRecord, RecordedPhoto, crop_photos
from crossface.data.crops import ShardWriter
from crossface.data.digest import content_digest
from crossface.data.provenance import StepTrace, read_provenance, write_provenance
from crossface.data.records import FaceCounts, open_records
from crossface.data.rejects import Reject, check_reject_fraction, read_rejects, write_rejects
from crossface.data.storage import atomic_folder
from crossface.errors import DataError
from crossface.progress import Progress

_BATCH_ROWS = 1024


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

    ``out`` gets the crops (``part-*.parquet``, rows of ``CROP_SCHEMA``), ``rejects.parquet``, which holds the
    rejects of ingest and then those of this step, and ``provenance.json``. The same records and configuration
    give the same crops, byte for byte, whatever the number of workers.

    Raises:
        ConfigError: the detector is not installed.
        DataError: there are no records, too many faces are rejected, or a split is left without faces.
        CrossfaceError: a worker process died.
    """
    start = time.monotonic()
    check_detector(config.detector)
    provenance = read_provenance(records)
    file = _open(records)
    total = file.metadata.num_rows
    earlier = read_rejects(records)
    used: Counter[tuple[str, int]] = Counter()
    rejects: list[Reject] = []
    dataset = next(_rows(file))["dataset"]
    with atomic_folder(out) as part:
        writer = ShardWriter(part)
        with Progress(f"crop {dataset}", total=total, unit="faces") as progress:
            for outcome in crop_photos(_photos(file), records, config, crop_row):
                for face in outcome:
                    if isinstance(face, Reject):
                        rejects.append(face)
                    else:
                        used[face["split"], face["emotion"]] += 1
                        writer.write(face)
                progress.update(len(outcome))
        writer.close()
        check_reject_fraction(rejects, used.total(), config.max_reject_fraction, f"{dataset}: crop_faces")
        counts = FaceCounts(used, Counter(reject.reason for reject in rejects))
        counts.check_splits(f"{dataset}: crop_faces")
        write_rejects([*earlier, *rejects], part)
        digest = content_digest(sorted(part.glob("part-*.parquet")))
        if provenance:
            trace = StepTrace(step="crop_faces", digest=digest, seconds=time.monotonic() - start)
            write_provenance(provenance.after(trace), part)
    return CropSummary(dataset, counts, digest)


def _open(records: Path) -> pq.ParquetFile:
    file = open_records(records)
    if not file.metadata.num_rows:
        raise DataError(f"{records}: the records hold no face")
    return file


def _rows(file: pq.ParquetFile) -> Iterator[FaceRecord]:
    for batch in file.iter_batches(_BATCH_ROWS):
        yield from batch.to_pylist()


def _photos(file: pq.ParquetFile) -> Iterator[RecordedPhoto]:
    """Yield every photo with its faces, which stand next to each other; few records are held at a time."""
    for uri, rows in groupby(_rows(file), key=itemgetter("image_uri")):
        yield uri, list(rows)
