"""The KFP face of the step."""

from typing import List  # noqa: UP035  KFP resolves lists of artifacts through typing.List

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Output


@dsl.component(base_image="python-crossface-torch", install_kfp_package=False)
def probe_bias(crops: Input[List[Dataset]], config: dict, bias: Output[Artifact], metrics: Output[Metrics]):  # noqa: UP006
    """Measure the bias of the datasets before anything is trained.

    Args:
        crops: a crops folder a dataset.
        config: ProbeConfig.
        bias: folder with bias.json.
        metrics: accuracy and chance of the probes, and what labels alone give away.
    """
    from pathlib import Path

    from crossface import tracking
    from crossface.outputs import fill_metrics
    from crossface.probe_bias.config import ProbeConfig
    from crossface.probe_bias.measure import probe_bias

    parsed = ProbeConfig.parse(config, where="probe")
    with tracking.step_run("probe_bias", params=parsed.model_dump()) as run:
        run.log_crops(crops)
        summary = probe_bias([Path(folder.path) for folder in crops], parsed, Path(bias.path)).metrics()
        run.log_metrics(summary)
        run.log_artifact(Path(bias.path), "bias")
    bias.metadata.update(summary | {"mlflow_run_id": run.run_id})
    fill_metrics(metrics, summary)
