"""A fingerprint of a dataset's files, for caches that see only its path."""

import hashlib
import os
from pathlib import Path

from crossface_pipelines.training.params import TrainingParams


def with_revisions(params: TrainingParams) -> TrainingParams:
    """Give each dataset that names no revision the fingerprint of its files."""
    datasets = tuple(
        dataset
        if dataset.revision
        else dataset.model_copy(update={"revision": listing_digest(Path(dataset.source))})
        for dataset in params.datasets
    )
    return params.model_copy(update={"datasets": datasets})


def listing_digest(folder: Path) -> str:
    """Hash the names, sizes and modification times of all files below a folder, without reading them.

    About a second for 100,000 files. Links are followed, as the readers follow them.
    """
    digest = hashlib.sha256()
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if _is_new(os.path.join(root, name), seen))  # noqa: PTH118
        for name in sorted(files):
            path = os.path.join(root, name)  # noqa: PTH118  pathlib is several times slower here
            status = os.stat(path) if os.path.exists(path) else os.lstat(path)  # noqa: PTH110, PTH116
            line = f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n"
            digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _is_new(folder: str, seen: set[str]) -> bool:
    """Whether a folder was not met yet: links may lead in circles."""
    real = os.path.realpath(folder)
    if real in seen:
        return False
    seen.add(real)
    return True
