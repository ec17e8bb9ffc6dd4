"""The KFP face of the step."""

from typing import List  # noqa: UP035

from kfp import dsl


@dsl.component(base_image="python-crossface-data", install_kfp_package=False)
def detect_changes(datasets: List[dict], model_name: str, settings: str) -> bool:  # noqa: UP006
    """Find out whether anything is new since the last finished run for this model.

    Args:
        datasets: IngestConfig of each, with its revision.
        model_name: in the registry; runs for other models do not count.
        settings: hash of all other parameters of the pipeline.

    Returns:
        Whether there is anything to train for.
    """
    from crossface import tracking
    from crossface.detect_changes.detect_changes import compare, inputs_digest

    model, digest = {"crossface.model_name": model_name}, inputs_digest(datasets, settings)
    with tracking.step_run("detect_changes", required=True) as run:
        last = tracking.last_finished("detect_changes", model)
        changed = compare(digest, last and last.data.tags.get("crossface.inputs"))
        run.set_tags({**model, "crossface.inputs": digest, "crossface.changed": str(changed).lower()})
    return changed
