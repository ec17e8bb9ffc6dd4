"""The KFP face of the step."""

from typing import List  # noqa: UP035  KFP resolves lists of artifacts through typing.List

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output


@dsl.component(base_image="python-crossface-torch", install_kfp_package=False)
def train(crops: Input[List[Dataset]], config: dict, model: Output[Model], metrics: Output[Metrics]):  # noqa: UP006
    """Train one network on the crops of all datasets.

    Args:
        crops: a crops folder a dataset.
        config: TrainConfig.
        model: model folder: model.safetensors, config.json, history.parquet.
        metrics: dev metrics of the epoch that was kept.
    """
    import json
    from pathlib import Path

    from crossface import tracking
    from crossface.train.config import TrainConfig
    from crossface.train.train import train

    parsed = TrainConfig.parse(config, where="train")
    with tracking.step_run("train", variant=parsed.title, params=parsed.model_dump()) as run:
        run.log_crops(crops)
        trained = train([Path(folder.path) for folder in crops], parsed, Path(model.path), run.log_metrics)
        run.log_artifact(Path(model.path), "model")
    model.metadata.update({"adapt": parsed.adapt, "mlflow_run_id": run.run_id})
    metrics.metadata.update(trained.kept)
    # a file too: kfp.local takes an output without one for lost, and would never cache the step
    Path(metrics.path).write_text(json.dumps(trained.kept))
