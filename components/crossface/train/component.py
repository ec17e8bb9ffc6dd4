"""The KFP face of the step."""

from typing import List  # noqa: UP035  KFP resolves lists of artifacts through typing.List

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output


@dsl.component(base_image="python-crossface-torch", install_kfp_package=False)
def train(
    crops: Input[List[Dataset]],  # noqa: UP006
    leakage: Input[Artifact],
    config: dict,
    model: Output[Model],
    metrics: Output[Metrics],
):
    """Train one network on the crops of all datasets.

    Args:
        crops: a crops folder a dataset.
        leakage: folder of find_leakage, which says what to leave out.
        config: TrainConfig.
        model: model folder: model.safetensors, config.json, history.parquet.
        metrics: dev metrics of the epoch that was kept.
    """
    from pathlib import Path

    from crossface import tracking
    from crossface.outputs import fill_metrics
    from crossface.train.config import TrainConfig
    from crossface.train.train import train

    parsed = TrainConfig.parse(config, where="train")
    faces, out = [Path(folder.path) for folder in crops], Path(model.path)
    with tracking.step_run("train", variant=parsed.title, params=parsed.model_dump()) as run:
        run.log_crops(crops)
        kept = train(faces, parsed, out, run.log_metrics, Path(leakage.path))
        run.log_artifact(out, "model")
    model.metadata.update({"adapt": parsed.adapt, "mlflow_run_id": run.run_id})
    fill_metrics(metrics, kept)
