"""The formats that ingest reads, by name."""

from pathlib import Path

from crossface.ingest.readers.affectnet import AffectNet
from crossface.ingest.readers.csv import CsvOptions, CsvTable
from crossface.ingest.readers.expw import ExpW
from crossface.ingest.readers.face import Reader
from crossface.ingest.readers.rafdb import RafDb

READERS = {"rafdb": RafDb, "expw": ExpW, "affectnet": AffectNet, "csv": CsvTable}


def open_reader(format_name: str, source: Path, options: CsvOptions | None) -> Reader:
    """Make the reader of a format; only csv has options."""
    reader = READERS[format_name]
    return reader(source, options) if options else reader(source)
