"""Closing the parent run."""

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from crossface import tracking
from crossface.progress import say


def close_parent_run(pipeline_run_id: str, state: str) -> str:
    """Set the parent run's status from the pipeline's state, also on nested runs that a kill left open.

    A run that Kubeflow's plugin opened is left to the plugin. A tracking server that cannot be reached is a
    warning: what the pipeline made is worth no less for it.

    Args:
        pipeline_run_id: of KFP; empty when the steps could not know it, then there is no parent run.
        state: ``SUCCEEDED``, or what else KFP says.

    Returns:
        The status set: FINISHED, FAILED, KILLED; empty where there was nothing to close.
    """
    if not pipeline_run_id:
        return ""
    status = {"SUCCEEDED": "FINISHED", "CANCELLED": "KILLED", "CANCELED": "KILLED"}.get(state, "FAILED")
    try:
        return _close(MlflowClient(), pipeline_run_id, status)
    except MlflowException as error:
        say(f"warning: MLflow: the parent run is not closed: {error}")
        return ""


def _close(client: MlflowClient, pipeline_run_id: str, status: str) -> str:
    parent = tracking.find_parent_run(client, pipeline_run_id)
    if parent is None or tracking.OURS_TAG not in parent.data.tags:
        return ""
    query = f"tags.`{tracking.PARENT_TAG}` = '{parent.info.run_id}' and attributes.status = 'RUNNING'"
    for run in client.search_runs([parent.info.experiment_id], query):
        client.set_terminated(run.info.run_id, "KILLED")
    client.set_terminated(parent.info.run_id, status)
    return status
