"""What registration can be told."""

import re

from pydantic import Field, field_validator

from crossface.config import Config


class RegisterConfig(Config):
    """Configuration of the step."""

    model_name: str = Field(default="crossface", pattern=r"^[A-Za-z0-9._-]+$")
    """Name in the registry."""
    alias: str = Field(default="challenger", pattern=r"^[A-Za-z][A-Za-z0-9._-]*$")
    """Alias that the new version takes."""
    margin: float = Field(default=0.15, ge=0.0, le=2.0)
    """Context around a face that the registered model finds itself; that of ``crop_faces`` in training."""
    promote: bool = False
    """Make a version that passed the gate against a champion the champion at once; else a person promotes.
    The first champion is always a person's choice."""
    max_milliseconds: float = Field(default=0.0, ge=0)
    """Limit of the median time for one face on the machine that registers; 0: none."""
    max_megabytes: float = Field(default=0.0, ge=0)
    """Limit of the network's size; 0: none."""
    int8: bool = False
    """Register the network in 8-bit integers as well, as a version of its own with a verdict of its own, and
    without an alias."""

    @field_validator("alias")
    @classmethod
    def _not_reserved(cls, alias: str) -> str:
        if re.fullmatch(r"latest|v\d+", alias, re.IGNORECASE):
            raise ValueError("MLflow reserves latest, v1, v2, ...")
        return alias
