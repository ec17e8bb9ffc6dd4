"""The step: crops in, a model folder out."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from crossface.data.emotions import EMOTIONS
from crossface.data.leakage import dropped_faces
from crossface.data.storage import atomic_folder
from crossface.model.saving import save_model
from crossface.progress import say
from crossface.train.config import TrainConfig
from crossface.train.data import load_faces
from crossface.train.trainer import EpochCallback, Trained, Trainer

HISTORY_FILE = "history.parquet"
TABLES_FILE = "tables.json"


def train(
    crops: Sequence[Path],
    config: TrainConfig,
    out: Path,
    on_epoch: EpochCallback,
    leakage: Path | None = None,
) -> Trained:
    """Train on the train splits, select on the dev splits, write the model folder ``out``.

    Args:
        crops: a crops folder a dataset.
        config: what to train and how.
        out: becomes the model folder: model.safetensors, config.json, history.parquet (a row an epoch) and
            tables.json (what the method learned in small: the label extractor's 7x7 table).
        on_epoch: called after each epoch with its metrics and its number.
        leakage: folder of find_leakage; the faces that it drops are left out.

    Raises:
        DataError: a dataset has no train or no dev face.
        DivergenceError: the loss is not finite.
    """
    dropped = dropped_faces(leakage) if leakage else frozenset()
    faces, dev_faces = (load_faces(crops, split, config.image_size, dropped) for split in ("train", "dev"))
    trained = Trainer(config, faces, dev_faces).fit(on_epoch)
    with atomic_folder(out) as folder:
        save_model(trained.net, folder)
        pq.write_table(pa.Table.from_pylist(trained.history), folder / HISTORY_FILE)
        (folder / TABLES_FILE).write_text(json.dumps(trained.tables) + "\n")
    for name, table in trained.tables.items():
        if moved := [EMOTIONS[row] for row, values in enumerate(table) if max(values) != values[row]]:
            say(f"warning: the {name} no longer maps to itself: {', '.join(moved)}")
    return trained
