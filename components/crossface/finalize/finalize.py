"""Closing the parent run."""

from mlflow import MlflowClient

from crossface import tracking


def close_parent_run(pipeline_run_id: str, state: str) -> str:
    """Set the parent run's status from the pipeline's state, also on nested runs that a kill left open.

    Args:
        pipeline_run_id: of KFP; empty when the steps could not know it, then there is no parent run.
        state: ``SUCCEEDED``, or what else KFP says.

    Returns:
        The status set: FINISHED, FAILED, KILLED; empty without a parent run.
    """
    if not pipeline_run_id:
        return ""
    client = MlflowClient()
    parent = tracking.parent_run(client, pipeline_run_id)
    status = {"SUCCEEDED": "FINISHED", "CANCELLED": "KILLED", "CANCELED": "KILLED"}.get(state, "FAILED")
    query = f"tags.`{tracking.PARENT_TAG}` = '{parent.info.run_id}' and attributes.status = 'RUNNING'"
    for run in client.search_runs([parent.info.experiment_id], query):
        client.set_terminated(run.info.run_id, "KILLED")
    client.set_terminated(parent.info.run_id, status)
    return status
