"""Reads one dataset where it lies and writes it as records: one row a labelled face."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crossface.data.emotions import Split
from crossface.data.records import RECORDS_FILE, FaceCounts, write_records
from crossface.data.rejects import Reason, Reject, check_reject_fraction, write_rejects
from crossface.data.storage import atomic_folder
from crossface.errors import DataError
from crossface.ingest.config import IngestConfig
from crossface.ingest.readers.face import STAGE, Face
from crossface.ingest.readers.registry import open_reader
from crossface.ingest.splits import assign_splits


@dataclass(frozen=True)
class IngestSummary:
    """What ingest wrote.

    Attributes:
        dataset: the dataset's key.
        counts: faces by split and emotion, rejects by reason.
        digest: of the records, 32 hexadecimal digits.
    """

    dataset: str
    counts: FaceCounts
    digest: str

    def metrics(self) -> dict[str, float]:
        """The counts as flat metrics, such as ``faces/train/fear`` and ``rejects/missing_file``."""
        return self.counts.metrics()

    def __str__(self) -> str:
        return f"ingest {self.dataset}: {self.counts.total} faces\n{self.counts}"


def ingest(config: IngestConfig, out: Path) -> IngestSummary:
    """Read the dataset and write ``out`` with ``records.parquet`` and ``rejects.parquet``.

    Raises:
        DataError: the source or a file of its layout is missing, a label is outside the format's table,
            too many faces are rejected, or a split is left without faces.
    """
    source = Path(config.source).absolute()
    if not source.is_dir():
        raise DataError(f"{config.key}: source {source} is not a directory")
    try:
        faces, rejects = _read(config, source)
        check_reject_fraction(rejects, len(faces), config.max_reject_fraction, str(source))
        splits = assign_splits(faces, config.dev_fraction, config.test_fraction, config.seed)
    except DataError as error:
        raise DataError(f"{config.key}: {error}") from None
    counts = FaceCounts.of(
        ((split, face.emotion) for split, face in zip(splits, faces, strict=True)), rejects
    )
    counts.check_splits(f"{config.key}: {source}")
    with atomic_folder(out) as part:
        write_records(_rows(config.key, faces, splits), part)
        write_rejects(rejects, part)
        with (part / RECORDS_FILE).open("rb") as records:
            digest = hashlib.file_digest(records, "sha256").hexdigest()[:32]
    return IngestSummary(config.key, counts, digest)


def _read(config: IngestConfig, source: Path) -> tuple[list[Face], list[Reject]]:
    """Read all faces, those of one photo next to each other, and all rejects."""
    faces: dict[str, Face] = {}
    rejects: list[Reject] = []
    for found in open_reader(config.format, source, config.options).read():
        if isinstance(found, Reject):
            rejects.append(found)
        elif found.name in faces:
            rejects.append(Reject(found.photo, STAGE, Reason.BAD_ROW, f"{found.name} is listed twice"))
        else:
            faces[found.name] = found
    first_of: dict[str, int] = {}
    for face in faces.values():
        first_of.setdefault(face.photo, len(first_of))
    return sorted(faces.values(), key=lambda face: first_of[face.photo]), rejects


def _rows(dataset: str, faces: list[Face], splits: list[Split]) -> Iterator[dict]:
    for face, split in zip(faces, splits, strict=True):
        yield {
            "face_id": f"{dataset}/{face.name}",
            "dataset": dataset,
            "split": split,
            "emotion": face.emotion,
            "raw_label": face.raw_label,
            "image_uri": face.photo,
            "box": face.box and face.box._asdict(),
            "group": f"{dataset}/{face.group}",
            "votes": None,
            "attributes": face.attributes,
        }
