"""Crops photos in several processes: results in order, few of them in flight."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from crossface.crop_faces.config import CropConfig
from crossface.crop_faces.faces import crop_photo
from crossface.data.rejects import Reject
from crossface.errors import CrossfaceError

PHOTOS_A_TASK = 8
TASKS_A_WORKER = 3  # in flight: enough that no worker waits, few enough that memory does not grow

RecordedPhoto = tuple[str, list[dict[str, Any]]]  # uri, its records
Outcome = list[dict[str, Any] | Reject]  # a crop or a reject for each record of one photo


def crop_photos(photos: Iterable[RecordedPhoto], config: CropConfig) -> Iterator[Outcome]:
    """Yield the outcome of every photo, in the order of ``photos``, which are taken as they are needed.

    Raises:
        CrossfaceError: a worker process died.
    """
    workers = config.workers or os.cpu_count() or 1
    # spawn: a fork would copy the locks of whatever threads run here, such as MLflow's
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    pending: deque[tuple[str, Future[list[Outcome]]]] = deque()  # with the first photo of each task
    try:
        for task in _tasks(photos):
            pending.append((task[0][0], pool.submit(_crop_task, task, config)))
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


def _tasks(photos: Iterable[RecordedPhoto]) -> Iterator[list[RecordedPhoto]]:
    task: list[RecordedPhoto] = []
    for photo in photos:
        task.append(photo)
        if len(task) == PHOTOS_A_TASK:
            yield task
            task = []
    if task:
        yield task


def _crop_task(task: list[RecordedPhoto], config: CropConfig) -> list[Outcome]:
    return [crop_photo(uri, records, config) for uri, records in task]


def _start_worker() -> None:
    """Leave interrupts to the parent, and never outlive it, not even when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def leave_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
