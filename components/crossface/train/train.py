"""The step: crops in, a model folder out."""

import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError

from crossface.data.crops import dataset_of
from crossface.data.emotions import EMOTIONS
from crossface.data.leakage import dropped_faces
from crossface.data.storage import atomic_folder
from crossface.errors import ConfigError, DataError
from crossface.model.networks import build_backbone
from crossface.model.saving import save_model, save_tables
from crossface.progress import say
from crossface.train.checkpoint import open_store
from crossface.train.config import TrainConfig
from crossface.train.data import load_faces, open_faces
from crossface.train.distributed import rank, run_processes, wait_for_all
from crossface.train.interruption import Interruption, interruptible
from crossface.train.resume import Saver
from crossface.train.trainer import EpochCallback, Trained, Trainer

HISTORY_FILE = "history.parquet"

Row = dict[str, float]


def train(
    crops: Sequence[Path],
    config: TrainConfig,
    out: Path,
    on_epoch: EpochCallback,
    leakage: Path | None = None,
) -> Row:
    """Train on the train splits, select on the dev splits, write the model folder ``out``.

    Args:
        crops: a crops folder a dataset.
        config: what to train and how.
        out: becomes the model folder: model.safetensors, config.json, history.parquet (a row an epoch) and
            tables.json (what the method learned in small: the label extractor's 7x7 tables).
        on_epoch: called after each epoch with its metrics and its number.
        leakage: folder of find_leakage; the faces that it drops are left out.

    Returns:
        The metrics of the epoch that was kept.

    Raises:
        DataError: a dataset has no train or no dev face, a checkpoint cannot be read, or the model cannot be
            written.
        CheckpointMismatchError: the checkpoint is of other faces or another configuration.
        ConfigError: a dataset to train on is not there, the batch does not suit the processes or datasets, or
            a network or weights are not to be had.
        DivergenceError: the loss is not finite.
        WorkerError: one of several processes failed.
    """
    count = config.processes or max(torch.cuda.device_count(), 1)
    crops = _chosen(crops, config.datasets)
    _check(config, count, len(crops))
    dropped = dropped_faces(leakage) if leakage else frozenset()
    with (
        interruptible() as interruption,
        tempfile.TemporaryDirectory(prefix="crossface-", ignore_cleanup_errors=True) as scratch,
        atomic_folder(out) as folder,
    ):
        store = Path(scratch) / "faces"
        for split in ("train", "dev"):
            load_faces(crops, split, config.image_size, store / split, dropped)
        if count == 1:
            return fit(config, store, folder, on_epoch, interruption)
        return _fit_in_processes(count, config, store, folder, on_epoch)


def _chosen(crops: Sequence[Path], datasets: Sequence[str]) -> Sequence[Path]:
    """The folders of these datasets; all of them where none is named."""
    if not datasets:
        return crops
    folders = {dataset_of(folder): folder for folder in crops}
    if missing := [name for name in datasets if name not in folders]:
        raise ConfigError(f"train.datasets: {', '.join(missing)}: not among {', '.join(folders)}")
    return [folder for name, folder in folders.items() if name in datasets]


def _check(config: TrainConfig, processes: int, datasets: int) -> None:
    """Find what cannot work before anything is decoded."""
    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise ConfigError(f"train.processes: {processes} are more than the {torch.cuda.device_count()} GPUs")
    if config.batch_size % processes:
        raise ConfigError(f"train.batch_size: {config.batch_size} is no multiple of {processes} processes")
    if config.sampling == "balanced" and config.batch_size < datasets:
        raise ConfigError(f"train.batch_size: {config.batch_size} has no place for {datasets} datasets")
    build_backbone(config.backbone, config.feature_dim, config.image_size)


def fit(
    config: TrainConfig, store: Path, out: Path, on_epoch: EpochCallback, interruption: Interruption
) -> Row:
    """Train in this process, alone or as one of several, and write the model into the folder ``out``.

    Args:
        config: what to train and how.
        store: holds what ``load_faces`` made of the splits; removed as soon as it is mapped, so that a killed
            process leaves no pixels behind.
        out: an existing folder.
        on_epoch: called after each epoch in the first process.
        interruption: whether this process has been told to end.

    Returns:
        The metrics of the epoch that was kept.
    """
    faces, dev_faces = open_faces(store / "train"), open_faces(store / "dev")
    wait_for_all()
    if rank() == 0:
        shutil.rmtree(store)
    trainer = Trainer(config, faces, dev_faces)
    trained = _fit(trainer, config, on_epoch if rank() == 0 else lambda row, epoch: None, interruption)
    if rank() == 0:
        _write(trained, out)
    return trained.kept


def _fit(
    trainer: Trainer, config: TrainConfig, on_epoch: EpochCallback, interruption: Interruption
) -> Trained:
    if not config.checkpoint.uri:
        trainer.load_weights()
        return trainer.fit(on_epoch)
    store = open_store(config.checkpoint.uri)
    saver = Saver(trainer, store, config.checkpoint, interruption)
    if not saver.resume():
        trainer.load_weights()
    with interruption.deferred():
        trained = trainer.fit(on_epoch, saver.after_step)
        saver.finish()
    return trained


def _write(trained: Trained, folder: Path) -> None:
    try:
        save_model(trained.net, folder)
        pq.write_table(pa.Table.from_pylist(trained.history), folder / HISTORY_FILE)
        save_tables(trained.tables, folder)
    except (OSError, SafetensorError) as error:
        raise DataError(f"the model cannot be written to {folder.parent}: {error}") from None
    for name, table in trained.tables.items():
        if moved := [EMOTIONS[row] for row, values in enumerate(table) if max(values) != values[row]]:
            say(f"warning: the {name} no longer maps to itself: {', '.join(moved)}")


def _fit_in_processes(
    count: int, config: TrainConfig, store: Path, out: Path, on_epoch: EpochCallback
) -> Row:
    """:func:`fit` in several processes; their epochs are told to this one, which knows whom to tell."""
    rows = get_context("spawn").SimpleQueue()
    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(_tell, rows, on_epoch)
        try:
            kept: Row = run_processes(count, _fit_and_report, config, store, out, rows)
        finally:
            rows.put(None)
        reading.result()
    return kept


def _fit_and_report(config: TrainConfig, store: Path, out: Path, rows: Any) -> Row:
    with interruptible() as interruption:
        return fit(config, store, out, lambda row, epoch: rows.put((row, epoch)), interruption)


def _tell(rows: Any, on_epoch: EpochCallback) -> None:
    """Pass on what comes, and go on after an error until all has come: the processes wait for a full pipe."""
    failed: Exception | None = None
    while (row := rows.get()) is not None:
        try:
            on_epoch(*row)
        except Exception as error:
            failed = failed or error
    if failed:
        raise failed
