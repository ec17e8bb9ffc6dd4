"""Configuration of the step evaluate."""

from typing import Literal

from pydantic import Field

from crossface.bias.config import ProbeSettings
from crossface.config import Config
from crossface.gate.policy import GatePolicy


class EvaluateConfig(Config):
    """What is measured, on how many faces, and the gate."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the networks; ``auto``: bf16 where the hardware has it and the models say the same in it."""
    probe: ProbeSettings = ProbeSettings()
    umap_faces: int = Field(default=2000, ge=8)
    """Most faces in the UMAP figures, shared evenly by the datasets."""
    umap_neighbours: int = Field(default=15, ge=2)
    min_group_faces: int = Field(default=30, ge=1)
    """A group of people with fewer test faces of a dataset is named, and not scored."""
    max_label_issues: int = Field(default=1000, ge=0)
    """Most faces of a dataset in the list of labels to look at again."""
    gate: GatePolicy = GatePolicy()
    champion: str = Field(default="", pattern=r"^[A-Za-z0-9._-]*$")
    """Registered model whose champion the adapted model is held against; empty: it is held against floors."""
    seed: int = Field(default=0, ge=0)
