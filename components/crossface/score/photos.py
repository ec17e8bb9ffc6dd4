"""Which photos there are to score, and which faces in them."""

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from crossface.cropping.pool import FaceRecord, RecordedPhoto
from crossface.data import s3
from crossface.data.source import Source
from crossface.data.tree import Tree, relative_path
from crossface.errors import ConfigError, DataError
from crossface.score.config import ScoreConfig

_SIDES = ("left", "top", "width", "height")
_NO_FOLDERS = frozenset({"__macosx"})
_MOST_BOX_BYTES = 1 << 30

Boxes = Mapping[str, Sequence[Mapping[str, float]]]


@dataclass(frozen=True)
class Listing:
    """The photos of a source.

    Attributes:
        photos: where each is read from, with its faces, in order of their paths. A face has ``uri``, what the
            photo is called in the results, and ``box``.
        others: files that no pattern takes for a photo.
        digest: of their names, sizes and boxes, 32 hexadecimal digits.
    """

    photos: list[RecordedPhoto]
    others: int
    digest: str

    @property
    def faces(self) -> int:
        """How many there are to score."""
        return sum(len(faces) for _, faces in self.photos)


def list_photos(source: Source, config: ScoreConfig) -> Listing:
    """Find all photos. Hidden files and folders, and what macOS adds to archives, are left out.

    A photo that has a box and no file is listed too, and will be a reject.

    Raises:
        DataError: there are none, or the boxes cannot be read.
    """
    files = dict(_files(source.tree, ""))
    patterns = [pattern.lower() for pattern in config.patterns]
    sizes = {
        name: size for name, size in files.items() if any(fnmatchcase(name.lower(), one) for one in patterns)
    }
    if not sizes:
        raise DataError(
            f"{config.source}: none of {len(files)} files is a photo by score.patterns"
            f" ({', '.join(config.patterns)})"
        )
    boxes = read_boxes(config.boxes) if config.boxes else {}
    names = sorted(sizes.keys() | boxes.keys())
    digest = hashlib.sha256()
    photos = []
    for name in names:
        told = source.tree.uri(name) if source.lasting else f"{config.source}/{name}"
        # names on a disk need not be UTF-8, and text in Parquet has to be
        uri = told.encode(errors="backslashreplace").decode()
        faces: list[FaceRecord] = [{"uri": uri, "box": box} for box in boxes.get(name, [None])]
        photos.append((source.tree.uri(name), faces))
        line = f"{name}\0{sizes.get(name)}\0{boxes.get(name)}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return Listing(photos, len(files) - len(sizes), digest.hexdigest()[:32])


def read_boxes(uri: str) -> Boxes:
    """Read the boxes of faces, by the photo's path, in the order of the file.

    Raises:
        ConfigError: the file is not there.
        DataError: it is no such table; the message names the line.
    """
    found: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    rows = csv.DictReader(io.StringIO(_read_text(uri), newline=""))
    if missing := [name for name in ("image", *_SIDES) if name not in (rows.fieldnames or ())]:
        raise DataError(f"{uri}:1: the column {missing[0]} is missing")
    for row in rows:
        try:
            found[relative_path(row["image"])].append({side: float(row[side]) for side in _SIDES})
        except (TypeError, ValueError, csv.Error) as error:
            raise DataError(f"{uri}:{rows.line_num}: {error}") from None
    return found


def _read_text(uri: str) -> str:
    try:
        data = s3.read_object(uri, _MOST_BOX_BYTES) if uri.startswith(s3.SCHEME) else Path(uri).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"score.boxes: {uri}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{uri}: not UTF-8") from None


def _files(tree: Tree, folder: str) -> Iterator[tuple[str, int]]:
    """Path and bytes of every file below a folder."""
    start = f"{folder}/" if folder else ""
    for name, size in tree.sizes(folder).items():
        if name[0] != ".":
            yield start + name, size
    for name in tree.folders(folder):
        if name[0] != "." and name.lower() not in _NO_FOLDERS:
            yield from _files(tree, start + name)


def identity_of_photos(listing: Listing, config: ScoreConfig) -> dict[str, Any]:
    """What makes these photos the same as those of an earlier run."""
    return {"source": config.source, "revision": config.revision, "digest": listing.digest}
