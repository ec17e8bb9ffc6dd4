"""Which model is meant."""

from pydantic import Field

from crossface.config import Config


class PinConfig(Config):
    """A version of a registered model.

    Attributes:
        model_name: name in the registry.
        alias: whose version is taken, as it stands when the step runs.
        version: a number, to take that version whatever the aliases say: to finish what was begun with a
            champion that has been replaced.
    """

    model_name: str = Field("crossface", pattern=r"^[A-Za-z0-9._-]+$")
    alias: str = Field("champion", pattern=r"^[A-Za-z][A-Za-z0-9._-]*$")
    version: str = Field("", pattern=r"^\d*$", coerce_numbers_to_str=True)
