"""Reads one dataset where it lies and writes it as records: one row a labelled face."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from crossface.data.digest import content_digest
from crossface.data.emotions import Split
from crossface.data.photo_store import PhotoStore
from crossface.data.provenance import Provenance, StepTrace, write_provenance
from crossface.data.records import RECORDS_FILE, FaceCounts, write_records
from crossface.data.rejects import Reason, Reject, check_reject_fraction, write_rejects
from crossface.data.source import Source, open_source
from crossface.data.storage import atomic_folder
from crossface.data.tree import has_file
from crossface.errors import DataError
from crossface.ingest.config import IngestConfig
from crossface.ingest.readers.face import STAGE, Face, Reader, reject
from crossface.ingest.readers.registry import AUTO, fits, open_reader, recognise
from crossface.ingest.splits import assign_splits


@dataclass(frozen=True)
class IngestSummary:
    """What ingest wrote.

    Attributes:
        dataset: the dataset's key.
        format: as configured, or as it was recognised.
        counts: faces by split and emotion, rejects by reason.
        digest: of the records and of the photos beside them, 32 hexadecimal digits.
    """

    dataset: str
    format: str
    counts: FaceCounts
    digest: str

    def metrics(self) -> dict[str, float]:
        """The counts as flat metrics, such as ``faces/train/fear`` and ``rejects/missing_file``."""
        return self.counts.metrics()

    def __str__(self) -> str:
        return f"ingest {self.dataset}: {self.counts.total} faces, read as {self.format}\n{self.counts}"


def ingest(config: IngestConfig, out: Path) -> IngestSummary:
    """Read the dataset and write ``out``: ``records.parquet``, ``rejects.parquet`` and ``provenance.json``.

    Photos that are no lasting files, out of archives and tables, are written beside them.

    Raises:
        DataError: the source or a file of its layout is missing, no layout or several are recognised, a
            label is outside the format's table, too many faces are rejected, or a split is left without
            faces.
    """
    try:
        with open_source(config.source) as source, atomic_folder(out) as part:
            return _ingest(config, _entered(source, config), part)
    except DataError as error:
        raise DataError(f"{config.key}: {error}") from None


def _entered(source: Source, config: IngestConfig) -> Source:
    """Step into the only folder of an archive, unless its root has the layout already."""
    named = config.options.files if config.options else ()
    if source.only_folder is None or fits(config.format, source.tree):
        return source
    if named and all(has_file(source.tree, name) for name in named):
        return source
    return replace(source, tree=source.only_folder)


def _ingest(config: IngestConfig, source: Source, folder: Path) -> IngestSummary:
    start = time.monotonic()
    where = _Where(config.source, source)
    try:
        format_name = recognise(source.tree) if config.format == AUTO else config.format
        reader = open_reader(format_name, source.tree, config.options)
        with PhotoStore(folder) as store:
            faces, rejects = _read(reader, _Keeper(store, source), where)
        check_reject_fraction(rejects, len(faces), config.max_reject_fraction, where.name)
        splits = assign_splits(faces, config.dev_fraction, config.test_fraction, config.seed)
    except DataError as error:
        raise DataError(where.told(str(error))) from None
    counts = FaceCounts.of(
        ((split, face.emotion) for split, face in zip(splits, faces, strict=True)), rejects
    )
    counts.check_splits(where.name)
    write_records(_rows(config.key, faces, splits), folder)
    digest = content_digest([folder / RECORDS_FILE, *sorted(folder.glob("photos-*.zip"))])
    write_rejects(rejects, folder)
    trace = StepTrace(step="ingest", digest=digest, seconds=time.monotonic() - start)
    provenance = Provenance(
        dataset=config.key,
        format=format_name,
        revision=config.revision,
        licence=config.licence,
        steps=(trace,),
    )
    write_provenance(provenance, folder)
    return IngestSummary(config.key, format_name, counts, digest)


class _Where:
    """How messages call the source: by the name its user gave it, never by that of a scratch folder."""

    def __init__(self, name: str, source: Source) -> None:
        self._root = source.tree.uri("")
        self.name = self._root if source.lasting else name

    def told(self, text: str) -> str:
        return text.replace(self._root, self.name)


class _Keeper:
    """Writes photos that are no lasting files beside the records, each once."""

    def __init__(self, store: PhotoStore, source: Source) -> None:
        self._store = store
        self._root = "" if source.lasting else f"{source.tree.uri('')}/"
        self._kept: dict[str, str] = {}

    def keep(self, face: Face) -> Face:
        """Give the face a photo that lasts.

        Raises:
            OSError: its photo cannot be read.
        """
        if face.image is not None:
            return replace(face, photo=self._store.add(face.name, face.image), image=None)
        if not self._root:
            return face
        if face.photo not in self._kept:
            name = face.photo.removeprefix(self._root)
            self._kept[face.photo] = self._store.add(name, Path(face.photo).read_bytes())
        return replace(face, photo=self._kept[face.photo])


def _read(reader: Reader, keeper: _Keeper, where: _Where) -> tuple[list[Face], list[Reject]]:
    """Read all faces, those of one photo next to each other, and all rejects."""
    faces: dict[str, Face] = {}
    rejects: list[Reject] = []
    for found in reader.read():
        if isinstance(found, Reject):
            rejects.append(replace(found, uri=where.told(found.uri), message=where.told(found.message)))
        elif found.name in faces:
            message = f"{found.name} is listed twice"
            rejects.append(Reject(where.told(found.photo), STAGE, Reason.BAD_ROW, message))
        else:
            try:
                faces[found.name] = keeper.keep(found)
            except OSError as error:
                rejects.append(reject(where.told(found.photo), Reason.UNREADABLE_IMAGE, str(error.strerror)))
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
            "votes": face.votes,
            "attributes": face.attributes,
        }
