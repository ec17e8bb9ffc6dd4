"""What crop_faces can be told."""

from pydantic import Field

from crossface.cropping.config import CutConfig


class CropConfig(CutConfig):
    """How faces are cut, and how many may be lost.

    Attributes:
        max_reject_fraction: the step fails when a greater share of the faces is rejected.
    """

    max_reject_fraction: float = Field(0.05, ge=0.0, le=1.0)
