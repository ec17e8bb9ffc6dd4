"""Configuration of the step evaluate."""

from pydantic import Field

from crossface.bias.config import ProbeSettings
from crossface.config import Config


class GatePolicy(Config):
    """What the adapted model must reach to be promoted. All numbers are those of the mean head."""

    min_balanced_accuracy: float = Field(default=0.3, ge=0, le=1)
    """Floor of its balanced accuracy, averaged over the datasets."""
    max_drop: float = Field(default=0.02, ge=0, le=1)
    """How far that may lie below the baseline's."""
    probe_must_fall: bool = True
    """The dataset probe must name fewer datasets rightly than on the baseline's features."""


class EvaluateConfig(Config):
    """What is measured, on how many faces, and the gate."""

    probe: ProbeSettings = ProbeSettings()
    umap_faces: int = Field(default=2000, ge=8)
    """Most faces in the UMAP figures, shared evenly by the datasets."""
    umap_neighbours: int = Field(default=15, ge=2)
    min_group_faces: int = Field(default=30, ge=1)
    """A group of people with fewer test faces of a dataset is named, and not scored."""
    max_label_issues: int = Field(default=1000, ge=0)
    """Most faces of a dataset in the list of labels to look at again."""
    gate: GatePolicy = GatePolicy()
    seed: int = Field(default=0, ge=0)
