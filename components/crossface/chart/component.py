"""The KFP face of the step."""

from kfp import dsl
from kfp.dsl import Artifact, ClassificationMetrics, Input, Output


@dsl.component(base_image="python-crossface-torch", install_kfp_package=False)
def chart(dataset: dict, evaluation: Input[Artifact], scores: Output[ClassificationMetrics]) -> None:
    """Draw the scores of one dataset in Kubeflow's own pages: an output cannot be declared a dataset.

    Args:
        dataset: the fields of IngestConfig; only the key is used.
        evaluation: folder that evaluate wrote.
        scores: confusion matrix and ROC curve of the adapted model's mean head on the test faces.
    """
    from pathlib import Path

    from crossface.chart.curves import read_curves
    from crossface.data.emotions import EMOTIONS

    found = read_curves(Path(evaluation.path), dataset["key"])
    scores.log_confusion_matrix(list(EMOTIONS), found.confusion)
    scores.log_roc_curve(found.false_positive_rate, found.true_positive_rate, found.threshold)
    scores.metadata["dataset"] = dataset["key"]
    Path(scores.path).write_text(found.as_json())
