"""The KFP face of the step."""

from kfp import dsl


@dsl.component(base_image="python-crossface-data", install_kfp_package=False)
def finalize(status: dsl.PipelineTaskFinalStatus):
    """Close the parent run that the steps nested their runs under.

    Args:
        status: filled in by KFP; on a cluster only its state is reliable.
    """
    import os

    from crossface.finalize.finalize import close_parent_run

    close_parent_run(os.environ.get("KFP_RUN_ID", ""), status.state)
