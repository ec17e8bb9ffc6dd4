"""What a candidate must reach. No heavy imports."""

from pydantic import Field

from crossface.config import Config


class GatePolicy(Config):
    """The rules of the gate. All numbers are those of the mean head; shares, so that 0.01 is one point."""

    version: int = Field(default=1, ge=1)
    """Of the policy; count it up when a rule changes. It is kept with every verdict."""

    min_balanced_accuracy: float = Field(default=0.3, ge=0, le=1)
    """Floor of the balanced accuracy, averaged over the datasets."""
    max_drop: float = Field(default=0.02, ge=0, le=1)
    """How far that may lie below the baseline's of the same run."""
    probe_must_fall: bool = True
    """The dataset probe must name fewer datasets rightly than on the baseline's features."""
    max_ece: float = Field(default=0.15, gt=0, le=1)
    """Ceiling of the calibration error after temperature scaling, averaged over the datasets."""
    allow_leakage: bool = False
    """Whether faces may be tested on of which training saw a copy."""

    margin: float = Field(default=0.02, gt=0, le=1)
    """Non-inferiority to the champion: what it may lose in balanced accuracy on a dataset at most, with 95 %
    confidence (one-sided)."""
    group_margin: float = Field(default=0.05, gt=0, le=1)
    """The same for the accuracy of the worst group of people."""
    group_veto: float = Field(default=0.05, gt=0, le=1)
    """A group of people may not lose more than this, whatever the confidence."""
    min_group_faces: int = Field(default=100, ge=1)
    """Smaller groups are not judged."""
    max_probe_rise: float = Field(default=0.02, ge=0, le=1)
    """How much better the dataset probe may name datasets than on the champion's features."""
    max_ece_rise: float = Field(default=0.02, ge=0, le=1)
    """How much the calibration error may exceed the champion's."""
