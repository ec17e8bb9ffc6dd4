"""When does cross-dataset adaptation pay? Every ``adapt`` on the same faces, over several seeds.

All get the settings of the params file's ``adapted`` and differ in ``adapt`` alone; ``baseline`` is the
file's own. Balanced accuracies are means over the datasets' test sets: of each face's own head, of the mean
of the heads, and of that mean against what was really drawn, which only the sample data know. For the held-
out dataset each is trained again without one dataset, another one for each seed (so that seed and dataset
cannot be told apart there), and scored on that one's test set. The probe is a fresh classifier that names
the dataset of a face from its features: nearer to chance is less biased.
"""

import argparse
import csv
import itertools
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from report import parser, table, write_ratios
from sklearn.metrics import balanced_accuracy_score

from crossface.crop_faces.crop import crop_faces
from crossface.data.emotions import EMOTION_INDEX
from crossface.data.sample import write_sample_data
from crossface.evaluate.config import EvaluateConfig
from crossface.evaluate.evaluation import probe_features
from crossface.evaluate.tables import predict_test_faces, sample_features
from crossface.find_leakage.find import find_leakage
from crossface.ingest.ingest import ingest
from crossface.measures.metrics import stack
from crossface.model.networks import CrossfaceNet
from crossface.model.saving import load_model
from crossface.train.config import TrainConfig
from crossface.train.methods import METHODS
from crossface.train.train import train
from crossface_pipelines.cli import PARAMS
from crossface_pipelines.training.params import TrainingParams, load_params

SAMPLE = PARAMS / "sample.yaml"


@dataclass(frozen=True)
class Score:
    """One model on one seed."""

    own_head: float
    mean_head: float
    mean_head_true: float
    """nan: nobody knows the truth of real faces."""
    held_out: float
    probe: float


def main() -> None:
    """Run the seeds and print what came out."""
    options = _options()
    seeds = range(1) if options.quick else range(options.seeds)
    # a process and a core for each seed: nets as small as the sample's gain little from a second core
    with ProcessPoolExecutor(
        len(seeds), get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        runs = list(pool.map(run_seed, seeds, itertools.repeat(options)))
    columns = [field.name.replace("_", " ") for field in fields(Score)]
    rows = []
    for name in runs[0]:
        for seed, scores in zip(seeds, runs, strict=True):
            rows.append((f"seed {seed} {name}", *map(_cell, vars(scores[name]).values())))
    for name in runs[0]:
        rows.append((f"mean {name}", *map(_cell, mean(runs, name).values())))
    print(table(("", *columns), rows))
    write_ratios(ratios(runs), options.json)


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--params", type=Path, default=SAMPLE, help="a params file (default: the sample's)")
    options.add_argument("--seeds", type=int, default=3, help="how many (default %(default)s)")
    return options.parse_args()


def ratios(runs: Sequence[Mapping[str, Score]]) -> dict[str, float]:
    """Each method over the pooled one with the same loss, and CDA over the baseline."""
    pairs = [(name, "none") for name in METHODS if name != "none"] + [("cda", "baseline")]
    measures = [name for name, value in mean(runs, "none").items() if not np.isnan(value)]
    return {
        f"{measure}_{name}_over_{other}": mean(runs, name)[measure] / mean(runs, other)[measure]
        for name, other in pairs
        for measure in measures
    }


def run_seed(seed: int, options: argparse.Namespace) -> dict[str, Score]:
    """Make the crops, train and score every model."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        settings = [f"seed={seed}", *(["train.epochs=4"] if options.quick else [])]
        if options.params == SAMPLE:
            write_sample_data(root / "sample", 1800 if options.quick else 3600, seed)
            settings += [
                f"datasets.{key}.source={root / 'sample' / key}" for key in ("rafdb", "expw", "affectnet")
            ]
        params = load_params(options.params, settings)
        crops = make_crops(params, root)
        models = train_all(params, crops, root)
        held_out = seed % len(crops)
        others = train_all(params, crops[:held_out] + crops[held_out + 1 :], root / "without one")
        truth = true_emotions(root / "sample" / "truth.csv") if options.params == SAMPLE else {}
        return score(crops, models, crops[held_out], others, params.evaluation, truth)


def make_crops(params: TrainingParams, root: Path) -> list[Path]:
    """Ingest and crop every dataset."""
    crops = []
    for dataset in params.datasets:
        ingest(dataset, root / "records" / dataset.key)
        crops.append(root / "crops" / dataset.key)
        crop_faces(root / "records" / dataset.key, params.crop, crops[-1])
    return crops


def trainings(params: TrainingParams) -> dict[str, TrainConfig]:
    """What is compared, by name."""
    every = {adapt: params.adapted.model_copy(update={"adapt": adapt}) for adapt in METHODS}
    extractor = params.adapted.label_extractor.model_copy(update={"kind": "per_dataset"})
    per_dataset = every["cda"].model_copy(update={"label_extractor": extractor})
    return {"baseline": params.baseline, **every, "cda per_dataset": per_dataset}


def train_all(params: TrainingParams, crops: Sequence[Path], root: Path) -> dict[str, CrossfaceNet]:
    """Train everything that is compared, on the faces that the pipeline would train on."""
    find_leakage(list(crops), params.leakage, root / "leakage")
    models = {}
    for name, config in trainings(params).items():
        train(crops, config, root / name, lambda metrics, epoch: None, root / "leakage")
        models[name] = load_model(root / name)
    return models


def score(
    crops: list[Path],
    models: Mapping[str, CrossfaceNet],
    unseen: Path,
    others: Mapping[str, CrossfaceNet],
    config: EvaluateConfig,
    truth: Mapping[str, int],
) -> dict[str, Score]:
    """Score models that know all datasets, and those that never saw ``unseen``."""
    predictions = predict_test_faces(crops, models)
    on_unseen = predict_test_faces([unseen], others)
    features = sample_features(crops, models, config)
    scores = {}
    for name in models:
        mine, theirs = (rows.filter(pc.field("model") == name) for rows in (predictions, on_unseen))
        probe = probe_features(features, name, config)
        assert probe is not None
        true = np.asarray([truth[face] for face in mine["face_id"].to_pylist()]) if truth else None
        scores[name] = Score(
            balanced_accuracy(mine, "own"),
            balanced_accuracy(mine, "mean"),
            float("nan") if true is None else balanced_accuracy(mine, "mean", true),
            balanced_accuracy(theirs, "mean"),
            probe.accuracy,
        )
    return scores


def balanced_accuracy(predictions: pa.Table, head: str, labels: np.ndarray | None = None) -> float:
    """Mean over the datasets, against ``labels`` or else the published ones."""
    said = stack(predictions[head]).argmax(1)
    right = np.asarray(predictions["emotion"]) if labels is None else labels
    names = np.asarray(predictions["dataset"])
    return float(
        np.mean(
            [balanced_accuracy_score(right[names == name], said[names == name]) for name in np.unique(names)]
        )
    )


def true_emotions(file: Path) -> dict[str, int]:
    """What was drawn, by face id, but for photos without a face; no step reads this file."""
    with file.open(newline="") as text:
        rows = [row for row in csv.DictReader(text) if row["true_emotion"]]
    return {f"{row['dataset']}/{row['key']}": EMOTION_INDEX[row["true_emotion"]] for row in rows}


def mean(runs: Sequence[Mapping[str, Score]], name: str) -> dict[str, float]:
    """Each measure's mean over the seeds."""
    return {
        field.name: float(np.mean([getattr(run[name], field.name) for run in runs]))
        for field in fields(Score)
    }


def _cell(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


if __name__ == "__main__":
    main()
