"""Does adaptation pay? Both models of the sample pipeline against the true expressions of the drawn faces.

The published labels of the sample data follow each dataset's habits; ``truth.csv``, which no step reads, has
what was drawn. A debiased model should be right about that, and its features should not name the dataset.
For each seed the data are drawn anew, and the steps run as in ``make run``. A third model, pooled but with
the adapted model's loss against imbalance, tells what of the difference is adaptation and what is that loss.
"""

import csv
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from report import arguments, table, write_ratios
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from crossface.crop_faces.crop import crop_faces
from crossface.data.emotions import EMOTION_INDEX
from crossface.data.sample import write_sample_data
from crossface.evaluate.evaluation import evaluate
from crossface.ingest.ingest import ingest
from crossface.probe_bias.measure import probe_bias
from crossface.train.train import train
from crossface_pipelines.cli import PARAMS
from crossface_pipelines.training.params import TrainingParams, load_params

MODELS = ("baseline", "pooled ACE", "adapted")


@dataclass(frozen=True)
class Score:
    """One model on one drawing of the data; accuracies are means over the datasets, of the mean head."""

    true_balanced: float
    true_accuracy: float
    published_balanced: float
    probe: float
    chance: float


def main() -> None:
    """Run the seeds and print what came out."""
    options = arguments(__doc__)
    seeds = (0,) if options.quick else (0, 1, 2)
    faces, settings = (1800, ("train.epochs=8",)) if options.quick else (3600, ())
    runs = [run_seed(seed, faces, settings) for seed in seeds]
    columns = ("true balanced", "true accuracy", "published balanced", "dataset probe", "chance")
    rows = []
    for seed, scores in zip(seeds, runs, strict=True):
        rows += [(f"seed {seed} {model}", *map(_cell, vars(scores[model]).values())) for model in MODELS]
    for model in MODELS:
        values = np.array([list(vars(scores[model]).values()) for scores in runs])
        rows.append((f"mean {model}", *map(_cell, values.mean(0))))
    print(table(("", *columns), rows))
    write_ratios(ratios(runs), options.json)


def run_seed(seed: int, faces: int, settings: Sequence[str]) -> dict[str, Score]:
    """Draw the data, run the steps, and score both models."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_sample_data(root / "sample", faces, seed)
        sources = [f"datasets.{key}.source={root / 'sample' / key}" for key in ("rafdb", "expw", "affectnet")]
        params = load_params(PARAMS / "sample.yaml", [f"seed={seed}", *sources, *settings])
        evaluation, pooled_ace = run_steps(params, root)
        truth = root / "sample" / "truth.csv"
        return score(evaluation, truth) | {"pooled ACE": score(pooled_ace, truth)["baseline"]}


def run_steps(params: TrainingParams, root: Path) -> tuple[Path, Path]:
    """The training pipeline without KFP, MLflow and find_leakage: drawn faces are no copies.

    Returns evaluate's folders: of the pipeline's own models, and with the pooled ACE model as the baseline.
    """
    crops = []
    for dataset in params.datasets:
        ingest(dataset, root / "records" / dataset.key)
        crops.append(root / "crops" / dataset.key)
        crop_faces(root / "records" / dataset.key, params.crop, crops[-1])
    probe_bias(crops, params.probe, root / "bias")
    loss = params.adapted.model_dump(include={"loss", "ace_alpha", "ace_normalize"})
    pooled_ace = params.baseline.model_copy(update=loss)
    for name, config in (
        ("baseline", params.baseline),
        ("pooled_ace", pooled_ace),
        ("adapted", params.adapted),
    ):
        train(crops, config, root / name, lambda metrics, epoch: None)
    evaluations = []
    for name in ("baseline", "pooled_ace"):
        evaluations.append(root / f"evaluation of {name}")
        evaluate(crops, root / name, root / "adapted", root / "bias", params.evaluation, evaluations[-1])
    return evaluations[0], evaluations[1]


def score(evaluation: Path, truth_file: Path) -> dict[str, Score]:
    """Score predictions.parquet against the truth and against the published labels."""
    with truth_file.open(newline="") as file:
        truth = {f"{row['dataset']}/{row['key']}": row["true_emotion"] for row in csv.DictReader(file)}
    predictions = pq.read_table(evaluation / "predictions.parquet").to_pandas()
    predictions["said"] = np.stack(predictions["mean"]).argmax(1)
    predictions["true"] = [EMOTION_INDEX[truth[face]] for face in predictions["face_id"]]
    models = json.loads((evaluation / "metrics.json").read_text())["models"]
    scores = {}
    for model, rows in predictions.groupby("model"):
        parts = [part for _, part in rows.groupby("dataset")]
        probe = models[model]["probe"]
        scores[str(model)] = Score(
            float(np.mean([balanced_accuracy_score(part["true"], part["said"]) for part in parts])),
            float(np.mean([accuracy_score(part["true"], part["said"]) for part in parts])),
            float(np.mean([balanced_accuracy_score(part["emotion"], part["said"]) for part in parts])),
            probe["accuracy"],
            probe["chance"],
        )
    return scores


def ratios(runs: Sequence[dict[str, Score]]) -> dict[str, float]:
    """Adapted over baseline, from the means over the seeds."""

    def mean(model: str, measure: str) -> float:
        return float(np.mean([getattr(scores[model], measure) for scores in runs]))

    def above_chance(model: str) -> float:
        return mean(model, "probe") - mean(model, "chance")

    return {
        f"{measure}_adapted_over_{model.replace(' ', '_').lower()}": function("adapted") / function(model)
        for model in ("baseline", "pooled ACE")
        for measure, function in (
            ("true_balanced", lambda model: mean(model, "true_balanced")),
            ("probe_above_chance", above_chance),
        )
    }


def _cell(value: float) -> str:
    return f"{value:.3f}"


if __name__ == "__main__":
    main()
