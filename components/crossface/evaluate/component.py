"""The KFP face of the step."""

from typing import List  # noqa: UP035  KFP resolves lists of artifacts through typing.List

from kfp import dsl
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Markdown, Metrics, Model, Output


@dsl.component(base_image="python-crossface-torch", install_kfp_package=False)
def evaluate(
    crops: Input[List[Dataset]],  # noqa: UP006
    baseline: Input[Model],
    adapted: Input[Model],
    bias: Input[Artifact],
    leakage: Input[Artifact],
    config: dict,
    evaluation: Output[Artifact],
    report: Output[HTML],
    summary: Output[Markdown],
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
) -> bool:
    """Compare the adapted model with the baseline, and decide whether it may be promoted.

    Args:
        crops: a crops folder a dataset.
        baseline: model folder.
        adapted: model folder.
        bias: folder of probe_bias.
        leakage: folder of find_leakage, whose copies the report tells of.
        config: EvaluateConfig.
        evaluation: predictions.parquet, features.parquet, metrics.json, report.html, summary.md,
            figures/.
        report: the same report.html.
        summary: the findings and the balanced accuracies, for the run's page.
        metrics: accuracy, balanced accuracy and macro F1 by model and dataset, and the dataset probes.
        confusion: the adapted model's mean head on the test faces of all datasets together, because outputs
            cannot be declared a dataset; the report has a matrix for each.

    Returns:
        Whether every rule of the gate is kept. Unnamed, because a condition in kfp.local sees no other.
    """
    import json
    from pathlib import Path

    from crossface import tracking
    from crossface.evaluate.config import EvaluateConfig
    from crossface.evaluate.evaluation import evaluate
    from crossface.evaluate.summary import confusion_of_test_faces
    from crossface.outputs import fill_metrics

    parsed, out = EvaluateConfig.parse(config, where="evaluate"), Path(evaluation.path)
    faces, models = [Path(folder.path) for folder in crops], (Path(baseline.path), Path(adapted.path))
    with tracking.step_run("evaluate", params=parsed.model_dump()) as run:
        run.log_crops(crops)
        found = evaluate(faces, *models, Path(bias.path), parsed, out, Path(leakage.path))
        run.log_metrics(found.flat())
        run.log_artifact(out, "evaluation")
    Path(report.path).write_bytes((out / "report.html").read_bytes())
    Path(summary.path).write_bytes((out / "summary.md").read_bytes())
    fill_metrics(metrics, found.flat())
    confusion.log_confusion_matrix(*confusion_of_test_faces(out / "predictions.parquet"))
    Path(confusion.path).write_text(json.dumps(confusion.metadata))
    evaluation.metadata.update({**found.flat(), "mlflow_run_id": run.run_id})
    return found.verdict.passed
