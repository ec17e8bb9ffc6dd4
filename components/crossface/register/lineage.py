"""Where a version comes from, as tags."""

import os
import subprocess
from pathlib import Path

from crossface.register.names import (
    COMMIT_TAG,
    IMAGE_TAG,
    KFP_RUN_TAG,
    MLFLOW_RUN_TAG,
    MODEL_TAG,
)


def lineage_tags(mlflow_run: str, model_sha256: str) -> dict[str, str]:
    """Tags of where a version was made; one of which nothing is known is empty.

    The image comes from ``CROSSFACE_IMAGE_DIGEST`` and the pipeline run from ``KFP_RUN_ID``.

    Args:
        mlflow_run: that holds the version's files.
        model_sha256: of the network that answers.
    """
    return {
        MODEL_TAG: model_sha256,
        COMMIT_TAG: code_commit(),
        IMAGE_TAG: os.environ.get("CROSSFACE_IMAGE_DIGEST", ""),
        KFP_RUN_TAG: os.environ.get("KFP_RUN_ID", ""),
        MLFLOW_RUN_TAG: mlflow_run,
    }


def code_commit() -> str:
    """The commit of this code: ``CROSSFACE_COMMIT``, which images set, or that of the checkout it runs from.

    Returns:
        40 hexadecimal digits, with ``-dirty`` after them when tracked files were changed; empty when unknown.
    """
    return os.environ.get("CROSSFACE_COMMIT") or _checked_out(Path(__file__))


def _checked_out(file: Path) -> str:
    """The commit of the repository that tracks a file: site-packages may well lie in someone else's."""
    if not _git(file.parent, "ls-files", "--error-unmatch", file.name):
        return ""
    return _git(file.parent, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")


def _git(folder: Path, *command: str) -> str:
    try:
        done = subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603, S607
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
