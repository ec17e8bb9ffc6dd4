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

    @field_validator("alias")
    @classmethod
    def _not_reserved(cls, alias: str) -> str:
        if re.fullmatch(r"latest|v\d+", alias, re.IGNORECASE):
            raise ValueError("MLflow reserves latest, v1, v2, ...")
        return alias
