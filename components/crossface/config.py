"""Configuration of steps: frozen, validated at the edge, with one clear line a fault."""

import re
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from crossface.errors import ConfigError

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")
"""What stands before the host in a URI: a secret, which no message repeats."""


def without_credentials(text: str) -> str:
    """The same text without what stands before the host in its URIs."""
    return _CREDENTIALS.sub("***@", text)


class Config(BaseModel):
    """Base of every step's configuration: immutable, and an unknown key is an error.

    Whole floats are accepted where an int is asked for, because KFP hands the numbers of a dict
    parameter to a step as floats.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "") -> Self:
        """Validate ``values``.

        Args:
            values: the raw mapping, from YAML or a KFP parameter.
            where: prefix of the keys in error messages, such as ``train``.

        Raises:
            ConfigError: one line a fault, ``<key>: <what is wrong>``.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError("\n".join(fault_lines(error, where))) from None


def fault_lines(error: ValidationError, where: str = "") -> list[str]:
    """Say each fault of a pydantic error in one line that begins with the dotted key."""
    lines = []
    for fault in error.errors(include_url=False):
        key = ".".join(str(part) for part in ((where,) if where else ()) + fault["loc"])
        if fault["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown key")
        elif fault["type"] == "missing":
            lines.append(f"{key}: required, and not given")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            got = without_credentials(repr(fault["input"]))
            lines.append(f"{key or 'config'}: {message} (got {got})")
    return lines
