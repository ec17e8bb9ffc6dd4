"""Crops photos in one or several processes: results in order, few of them in flight."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from typing import Any, Self

from crossface.cropping.config import CutConfig
from crossface.cropping.detection import load_detector
from crossface.cropping.faces import Outcome, cut_photo
from crossface.cropping.square import Box
from crossface.data.photo_store import PhotoSource
from crossface.errors import CrossfaceError

PHOTOS_A_TASK = 8
TASKS_A_WORKER = 3  # in flight: enough that no worker waits, few enough that memory does not grow

FaceRecord = dict[str, Any]
"""A row of ``RECORD_SCHEMA``, or less of it: only ``box`` is read here."""

RecordedPhoto = tuple[str, list[FaceRecord]]
"""Where a photo is read from, and its faces."""

Finish = Callable[[FaceRecord, Outcome], Any]
"""What a step makes of a face in the process that cut it; a function that a module names."""

Task = Sequence[RecordedPhoto]


class Cropper:
    """Crops photos in this process.

    Args:
        folder: the records folder, for photos that lie in it.
        config: size, margin and detector.
        finish: what becomes of each face.
    """

    def __init__(self, folder: Path, config: CutConfig, finish: Finish) -> None:
        self._source = PhotoSource(folder)
        self._config = config
        self._finish = finish
        self._detector = load_detector(config.detector)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._source.close()

    def crop(self, task: Task) -> list[list[Any]]:
        """Read and crop some photos.

        Raises:
            CrossfaceError: what holds the photos cannot be read, so that others will fare no better.
        """
        files = self._source.read_many([uri for uri, _ in task])
        for file in files:
            if isinstance(file, CrossfaceError):
                raise file
        return [self._faces(data, records) for data, (_, records) in zip(files, task, strict=True)]

    def _faces(self, data: bytes | Exception, records: list[FaceRecord]) -> list[Any]:
        boxes = [None if record["box"] is None else Box(**record["box"]) for record in records]
        faces = cut_photo(data, boxes, self._config, self._detector)
        return [self._finish(record, face) for record, face in zip(records, faces, strict=True)]


def crop_photos(
    photos: Iterable[RecordedPhoto], folder: Path, config: CutConfig, finish: Finish
) -> Iterator[list[Any]]:
    """Yield what became of the faces of every photo, in the order of ``photos``, taken as they are needed.

    Args:
        photos: uris and records.
        folder: the records folder, for photos that lie in it.
        config: size, margin, detector and workers.
        finish: what becomes of each face; runs in the workers.

    Raises:
        CrossfaceError: a worker process died, or what holds the photos cannot be read.
    """
    workers = config.workers or os.cpu_count() or 1
    if workers > 1:
        yield from _crop_in_pool(_tasks(photos), (folder, config, finish), workers)
        return
    with Cropper(folder, config, finish) as cropper:
        for task in _tasks(photos):
            yield from cropper.crop(task)


def _crop_in_pool(
    tasks: Iterable[Task], settings: tuple[Path, CutConfig, Finish], workers: int
) -> Iterator[list[Any]]:
    # spawn: a fork would copy the locks of whatever threads run here, such as MLflow's
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=settings)
    pending: deque[tuple[str, Future[list[list[Any]]]]] = deque()  # with the first photo of each task
    try:
        for task in tasks:
            pending.append((task[0][0], pool.submit(_crop_task, task)))
            if len(pending) >= workers * TASKS_A_WORKER:
                yield from pending[0][1].result()
                pending.popleft()
        while pending:
            yield from pending[0][1].result()
            pending.popleft()
    except BrokenProcessPool:
        raise CrossfaceError(
            "a worker process was killed (often for want of memory: lower workers)"
            + (f" at or after photo {pending[0][0]}" if pending else "")
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _tasks(photos: Iterable[RecordedPhoto]) -> Iterator[Task]:
    remaining = iter(photos)
    while task := list(islice(remaining, PHOTOS_A_TASK)):
        yield task


_cropper: Cropper  # of this worker process


def _crop_task(task: Task) -> list[list[Any]]:
    return _cropper.crop(task)


def _start_worker(folder: Path, config: CutConfig, finish: Finish) -> None:
    """Leave interrupts to the parent, and never outlive it, not even when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def leave_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    global _cropper  # a worker's arguments reach its tasks in no other way
    _cropper = Cropper(folder, config, finish)
