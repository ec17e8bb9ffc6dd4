"""The KFP face of the step."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output


@dsl.component(base_image="python-crossface-torch", install_kfp_package=False)
def score(
    model: Input[Model],
    config: dict,
    scores: Output[Dataset],
    report: Output[HTML],
    metrics: Output[Metrics],
) -> None:
    """Read the expressions of a source of photos, and say how these differ from training.

    Args:
        model: a folder of pin_model.
        config: ScoreConfig.
        scores: folder with part-*.parquet, rejects.parquet, drift.json and drift.html.
        report: the same drift.html.
        metrics: faces, rejects, expression mix, distances.
    """
    from pathlib import Path

    from crossface import tracking
    from crossface.outputs import copy_file, fill_metrics
    from crossface.score.config import ScoreConfig
    from crossface.score.score import score as score_photos

    parsed, out = ScoreConfig.parse(config, where="score"), Path(scores.path)
    with tracking.step_run("score", params=parsed.model_dump(mode="json")) as run:
        done = score_photos(Path(model.path), parsed, out)
        print(done)
        run.log_metrics(done.metrics())
        run.set_tags(done.tags())
        run.log_artifact(out / "drift.html")
        run.log_artifact(out / "drift.json")
    copy_file(out / "drift.html", report)
    fill_metrics(metrics, done.metrics())
    scores.metadata.update({**done.tags(), "mlflow_run_id": run.run_id})
