"""Output artifacts of a component, as KFP and kfp.local want them. Knows their shape, not KFP."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class MetricsArtifact(Protocol):
    """The part of ``kfp.dsl.Metrics`` that is used."""

    metadata: dict
    path: str


class FileArtifact(Protocol):
    """The part of any KFP artifact that is used."""

    path: str


def fill_metrics(artifact: MetricsArtifact, values: Mapping[str, float]) -> None:
    """Put finite numbers into the metadata, where KFP shows them, and into the file.

    kfp.local takes an output without a file for lost, and would never cache the step.
    """
    artifact.metadata.update(values)
    Path(artifact.path).write_text(json.dumps(dict(values)))


def copy_file(file: Path, artifact: FileArtifact) -> None:
    """Make a file an output of its own, such as a page that KFP shows."""
    shutil.copyfile(file, artifact.path)
