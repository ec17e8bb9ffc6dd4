"""The KFP face of the step."""

from typing import List  # noqa: UP035  KFP resolves lists of artifacts through typing.List

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Output


@dsl.component(base_image="python-crossface-data", install_kfp_package=False)
def find_leakage(
    crops: Input[List[Dataset]],  # noqa: UP006
    config: dict,
    leakage: Output[Artifact],
    metrics: Output[Metrics],
):
    """Find faces that are copies of one another, and those of them that training leaves out.

    Args:
        crops: a crops folder a dataset.
        config: LeakageConfig.
        leakage: folder with pairs.parquet, dropped.parquet and leakage.json.
        metrics: pairs of copies by kind, faces that leak by cause, faces left out.
    """
    from pathlib import Path

    from crossface import tracking
    from crossface.find_leakage.config import LeakageConfig
    from crossface.find_leakage.find import find_leakage
    from crossface.outputs import fill_metrics

    parsed = LeakageConfig.parse(config, where="leakage")
    with tracking.step_run("find_leakage", params=parsed.model_dump()) as run:
        run.log_crops(crops)
        summary = find_leakage([Path(folder.path) for folder in crops], parsed, Path(leakage.path))
        print(summary)
        run.log_metrics(summary.metrics())
        run.log_artifact(Path(leakage.path), "leakage")
    leakage.metadata.update(summary.metrics() | {"mlflow_run_id": run.run_id})
    fill_metrics(metrics, summary.metrics())
