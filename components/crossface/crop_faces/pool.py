"""Crops photos in one or several processes: results in order, few of them in flight."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from typing import Self

from crossface.crop_faces.config import CropConfig
from crossface.crop_faces.detection import load_detector
from crossface.crop_faces.faces import FaceRecord, Outcome, crop_photo
from crossface.data.photo_store import PhotoSource
from crossface.errors import CrossfaceError

PHOTOS_A_TASK = 8
TASKS_A_WORKER = 3  # in flight: enough that no worker waits, few enough that memory does not grow

RecordedPhoto = tuple[str, list[FaceRecord]]  # uri, its records
Task = Sequence[RecordedPhoto]


class Cropper:
    """Crops photos in this process.

    Args:
        folder: the records folder, for photos that lie in it.
        config: size, margin and detector.
    """

    def __init__(self, folder: Path, config: CropConfig) -> None:
        self._source = PhotoSource(folder)
        self._config = config
        self._detector = load_detector(config.detector)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._source.close()

    def crop(self, task: Task) -> list[Outcome]:
        """Read and crop some photos.

        Raises:
            CrossfaceError: what holds the photos cannot be read, so that others will fare no better.
        """
        files = self._source.read_many([uri for uri, _ in task])
        for file in files:
            if isinstance(file, CrossfaceError):
                raise file
        return [
            crop_photo(data, records, self._config, self._detector)
            for data, (_, records) in zip(files, task, strict=True)
        ]


def crop_photos(photos: Iterable[RecordedPhoto], folder: Path, config: CropConfig) -> Iterator[Outcome]:
    """Yield the outcome of every photo, in the order of ``photos``, which are taken as they are needed.

    Args:
        photos: uris and records.
        folder: the records folder, for photos that lie in it.
        config: size, margin, detector and workers.

    Raises:
        CrossfaceError: a worker process died, or what holds the photos cannot be read.
    """
    workers = config.workers or os.cpu_count() or 1
    if workers > 1:
        yield from _crop_in_pool(_tasks(photos), folder, config, workers)
        return
    with Cropper(folder, config) as cropper:
        for task in _tasks(photos):
            yield from cropper.crop(task)


def _crop_in_pool(tasks: Iterable[Task], folder: Path, config: CropConfig, workers: int) -> Iterator[Outcome]:
    # spawn: a fork would copy the locks of whatever threads run here, such as MLflow's
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(folder, config)
    )
    pending: deque[tuple[str, Future[list[Outcome]]]] = deque()  # with the first photo of each task
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
            "crop_faces: a worker process was killed (often for want of memory: lower crop.workers)"
            + (f" at or after photo {pending[0][0]}" if pending else "")
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _tasks(photos: Iterable[RecordedPhoto]) -> Iterator[Task]:
    remaining = iter(photos)
    while task := list(islice(remaining, PHOTOS_A_TASK)):
        yield task


_cropper: Cropper  # of this worker process


def _crop_task(task: Task) -> list[Outcome]:
    return _cropper.crop(task)


def _start_worker(folder: Path, config: CropConfig) -> None:
    """Leave interrupts to the parent, and never outlive it, not even when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def leave_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    global _cropper  # a worker's arguments reach its tasks in no other way
    _cropper = Cropper(folder, config)
