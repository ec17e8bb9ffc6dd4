"""How faces are cut."""

from typing import Literal

from pydantic import Field

from crossface.config import Config


class CutConfig(Config):
    """Size and context of a crop.

    Attributes:
        size: side of the crop in pixels.
        margin: context added on each side of the box, as a share of the box's longer side.
        detector: what finds the faces that come without a box: "centerface" (needs the extra "detect"), or
            "none". The first such face of a photo is the largest that is found, and so on.
        whole_photo_without_box: without a detector, a photo without a box is all face and is taken whole,
            without margin; when false, such faces are rejected.
        workers: processes that decode photos; 0 is one a core; 1 works in the step's own process.
    """

    size: int = Field(100, ge=16, le=1024)
    margin: float = Field(0.15, ge=0.0, le=2.0)
    detector: Literal["none", "centerface"] = "none"
    whole_photo_without_box: bool = True
    workers: int = Field(0, ge=0)
