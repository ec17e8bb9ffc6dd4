"""``provenance.json``: what a dataset was read from and by which steps; it goes with records and crops."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from crossface.config import fault_lines
from crossface.errors import DataError

PROVENANCE_FILE = "provenance.json"


class StepTrace(BaseModel):
    """One step that the data went through."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str
    digest: str
    """Of what it wrote, 32 hexadecimal digits."""
    seconds: float


class Provenance(BaseModel):
    """Where the faces of one dataset come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    format: str
    """The layout as it was read, also where it was recognised."""
    revision: str
    """As configured, or the fingerprint of the source's files; empty where neither is known."""
    licence: str = ""
    """As configured; empty: what the format's publisher says, if it has one."""
    steps: tuple[StepTrace, ...]
    """In their order."""

    def after(self, step: StepTrace) -> "Provenance":
        """The same after one more step."""
        return self.model_copy(update={"steps": (*self.steps, step)})


def write_provenance(provenance: Provenance, folder: Path) -> None:
    """Write ``folder/provenance.json``."""
    (folder / PROVENANCE_FILE).write_text(provenance.model_dump_json(indent=2) + "\n")


def read_provenance(folder: Path) -> Provenance | None:
    """Read what :func:`write_provenance` wrote; None where there is no such file.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / PROVENANCE_FILE
    if not path.is_file():
        return None
    try:
        return Provenance.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DataError(f"{path}: not a provenance: {'; '.join(fault_lines(error))}") from None
