"""Settings of the dataset probe, shared by the steps that run it. No heavy imports."""

from pydantic import Field

from crossface.config import Config
from crossface.data.emotions import Split


class ProbeSettings(Config):
    """How a dataset probe is run; the same before and after training, or the two cannot be compared."""

    splits: tuple[Split, ...] = Field(default=("dev", "test"), min_length=1)
    """Where the faces come from. Not train: features of faces that a model has learnt by heart say little."""
    max_per_cell: int = Field(default=200, ge=2)
    """Most faces of one (dataset, emotion) cell."""
    folds: int = Field(default=5, ge=2)
    permutations: int = Field(default=10, ge=1)
    """Runs with shuffled dataset labels, for the null."""
