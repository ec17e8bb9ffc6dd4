"""The KFP face of the step."""

from typing import List, Optional  # noqa: UP035  KFP resolves lists of artifacts through typing.List

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Markdown, Metrics, Model, Output


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
    others: Optional[Input[List[Model]]] = None,  # noqa: UP006, UP045
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
        others: model folders of a study, if there is one.

    Returns:
        Whether every rule of the gate is kept. Unnamed, because a condition in kfp.local sees no other.
    """
    from pathlib import Path

    from crossface import tracking
    from crossface.evaluate.config import EvaluateConfig
    from crossface.evaluate.evaluation import evaluate
    from crossface.outputs import copy_file, fill_metrics

    parsed, out = EvaluateConfig.parse(config, where="evaluate"), Path(evaluation.path)
    faces, study = ([Path(folder.path) for folder in folders or ()] for folders in (crops, others))
    inputs = faces, Path(baseline.path), Path(adapted.path), Path(bias.path), parsed, out, Path(leakage.path)
    with tracking.step_run("evaluate", params=parsed.model_dump()) as run:
        run.log_crops(crops)
        with tracking.champion(parsed.champion) as champion:
            found = evaluate(*inputs, study, champion)
        run.log_evaluation(out, found.flat(), found.tags())
    copy_file(out / "report.html", report)
    copy_file(out / "summary.md", summary)
    fill_metrics(metrics, found.flat())
    evaluation.metadata.update({**found.flat(), "mlflow_run_id": run.run_id})
    return found.verdict.passed
