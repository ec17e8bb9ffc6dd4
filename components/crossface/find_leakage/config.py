"""What counts as a copy, and what is done about it."""

from typing import Literal

from pydantic import Field

from crossface.config import Config


class LeakageConfig(Config):
    """Configuration of the step.

    Attributes:
        policy: ``drop_from_train`` leaves out train and dev faces with a copy in a test set, and train faces
            with a copy in dev; ``keep`` only reports; ``fail`` ends the run when there are any.
        max_distance: perceptual hashes that differ in at most so many of 64 bits make two faces candidates.
            The search costs several times more from 9 on.
        min_correlation: candidates are copies when their registered crops correlate at least so much.
        max_candidates: a hash is compared with at most so many others: first with those that test faces
            have, then dev, then train, the nearest first.
    """

    policy: Literal["drop_from_train", "keep", "fail"] = "drop_from_train"
    max_distance: int = Field(default=8, ge=0, le=11)
    min_correlation: float = Field(default=0.95, gt=0.0, le=1.0)
    max_candidates: int = Field(default=50, ge=1)
