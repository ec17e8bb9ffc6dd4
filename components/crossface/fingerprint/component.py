"""The KFP face of the step."""

from typing import List  # noqa: UP035  KFP reads the type of a loop's items from typing.List

from kfp import dsl


@dsl.component(base_image="python-crossface-data", install_kfp_package=False)
def fingerprint(datasets: List[dict]) -> List[dict]:  # noqa: UP006
    """Give each dataset that names no revision the fingerprint of its files.

    Args:
        datasets: IngestConfig of each.

    Returns:
        The same, each with its revision.
    """
    from crossface import tracking
    from crossface.fingerprint.fingerprint import with_revisions

    with tracking.step_run("fingerprint") as run:
        found = with_revisions(datasets)
        run.log_params({dataset["key"]: dataset["revision"] for dataset in found})
    return found
