"""Photos by the URI in a record: local files, objects in S3, and photos that travel with the records.

Photos out of archives, Parquet columns and pixel tables lie nowhere that outlives ingest. It puts them into
few, large files beside its records: ``photos-00000.zip``, ``photos-00001.zip``, ..., uncompressed, so that
any photo can be read alone. Their URIs are ``store://<zip>/<name>``.
"""

import errno
import re
import stat
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from crossface.data import s3
from crossface.data.tree import relative_path
from crossface.errors import CrossfaceError, DataError

SCHEME = "store://"

MAX_PHOTO_BYTES = 256 << 20
"""Longer files are not read: they are no photos, and would fill the memory."""

_STORE_URI = re.compile(r"store://(photos-\d{5,}\.zip)/(.+)", re.DOTALL)
_OPEN_STORES = 4  # records stand in the order of their photos, so a reader needs one or two at a time
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same photos give the same bytes, whenever they are written


class PhotoStore:
    """Writes photos into uncompressed zip files of bounded size.

    Args:
        folder: where they go; it must exist, and hold no store.
        zip_bytes: bytes of photos in one file; a photo longer than that has a file for itself.
    """

    def __init__(self, folder: Path, zip_bytes: int = 512 << 20) -> None:
        self._folder = folder
        self._zip_bytes = zip_bytes
        self._zip: zipfile.ZipFile | None = None
        self._file = ""
        self._count = 0
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def add(self, name: str, data: bytes) -> str:
        """Store an encoded photo and give its URI.

        Args:
            name: a relative path, different for each photo.
            data: the photo as a file.

        Raises:
            ValueError: the name is no relative path, or was given just before.
        """
        name = relative_path(name)
        if self._zip is None or self._bytes + len(data) > self._zip_bytes:
            self._zip = self._next_zip()
        if name in self._zip.NameToInfo:
            raise ValueError(f"{name!r} is stored already")
        info = zipfile.ZipInfo(name, date_time=_EPOCH)
        info.create_system = 3  # Unix, wherever this runs
        info.external_attr = (stat.S_IFREG | 0o644) << 16
        self._zip.writestr(info, data)
        self._bytes += len(data)
        return f"{SCHEME}{self._file}/{name}"

    def close(self) -> None:
        """Finish the last file; without this it cannot be read."""
        if self._zip:
            self._zip.close()
            self._zip = None

    def _next_zip(self) -> zipfile.ZipFile:
        self.close()
        self._file = f"photos-{self._count:05d}.zip"
        self._count += 1
        self._bytes = 0
        return zipfile.ZipFile(self._folder / self._file, "x", zipfile.ZIP_STORED)


class PhotoSource:
    """Reads photos by URI: absolute paths, ``s3://bucket/key``, and ``store://`` beside the records.

    Make one in each process; only :meth:`read_many` uses threads.

    Args:
        records: folder with the records, and with the store where there is one.
    """

    def __init__(self, records: Path) -> None:
        self._records = records
        self._zips: OrderedDict[str, zipfile.ZipFile] = OrderedDict()
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def read(self, uri: str) -> bytes:
        """Read one photo, encoded as it is.

        Raises:
            FileNotFoundError: the photo is not there.
            OSError: this photo cannot be read, or is longer than ``MAX_PHOTO_BYTES``.
            DataError: what holds the photos is broken or does not answer, or the URI is none of the three:
                other photos will fare no better.
        """
        if uri.startswith(s3.SCHEME):
            return s3.read_object(uri, MAX_PHOTO_BYTES)
        if uri.startswith(SCHEME):
            return self._read_stored(uri)
        if uri.startswith("/"):
            return _read_file(Path(uri))
        raise DataError(f"{uri}: neither an absolute path nor {s3.SCHEME} nor {SCHEME}")

    def read_many(self, uris: Sequence[str]) -> list[bytes | Exception]:
        """Read photos, those in S3 side by side, the others one after another.

        Returns:
            For each URI, in order, the photo or what :meth:`read` raised.
        """
        remote = {uri for uri in uris if uri.startswith(s3.SCHEME)}
        if remote and self._threads is None:
            self._threads = ThreadPoolExecutor(s3.PARALLEL_READS)
        waiting = {uri: self._threads.submit(self._try, uri) for uri in remote} if self._threads else {}
        return [waiting[uri].result() if uri in waiting else self._try(uri) for uri in uris]

    def close(self) -> None:
        """Close what is open; the source can be used again."""
        if self._threads:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None
        while self._zips:
            self._zips.popitem()[1].close()

    def _try(self, uri: str) -> bytes | Exception:
        try:
            return self.read(uri)
        except (OSError, CrossfaceError) as error:
            return error

    def _read_stored(self, uri: str) -> bytes:
        match = _STORE_URI.fullmatch(uri)
        if not match:
            raise DataError(f"{uri}: not of the form {SCHEME}photos-00000.zip/name")
        file, name = match.groups()
        path = self._records / file
        try:
            photos = self._open_zip(file, path)
            info = photos.getinfo(name)
            if info.file_size > MAX_PHOTO_BYTES:
                raise _too_long(info.file_size, uri)
            return photos.read(info)
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such photo in the store", uri) from None
        except FileNotFoundError:
            raise DataError(f"{path} is not there; it belongs to the records") from None
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            raise DataError(f"{path} is damaged at {name!r}: {error}") from None

    def _open_zip(self, file: str, path: Path) -> zipfile.ZipFile:
        if file not in self._zips:
            self._zips[file] = zipfile.ZipFile(path)
            if len(self._zips) > _OPEN_STORES:
                self._zips.popitem(last=False)[1].close()
        return self._zips[file]


def _read_file(path: Path) -> bytes:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for ever
        raise OSError(errno.EINVAL, "not a file", str(path))
    if status.st_size > MAX_PHOTO_BYTES:
        raise _too_long(status.st_size, str(path))
    return path.read_bytes()


def _too_long(size: int, uri: str) -> OSError:
    return OSError(errno.EFBIG, f"{size:,} bytes are more than {MAX_PHOTO_BYTES:,}", uri)
