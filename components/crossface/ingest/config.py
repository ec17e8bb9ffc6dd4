"""What ingest is told about one dataset."""

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from crossface.config import Config
from crossface.ingest.readers.csv import CsvOptions
from crossface.ingest.readers.registry import READERS

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class IngestConfig(Config):
    """One dataset: what it is called, where it lies and how it is split.

    Attributes:
        key: the dataset's name in every artifact, table and figure.
        format: one of the readers: ``rafdb``, ``expw``, ``affectnet``, ``csv``.
        source: local directory that holds the dataset as it was published.
        revision: any text; change it when the data changed, so that cached results are not used.
        options: columns and labels of a csv dataset; required for that format, an error for the others.
        dev_fraction: share of the groups of train that becomes dev, where no dev split is published.
        test_fraction: share of all groups that becomes test, where no split is published.
        seed: decides which groups become dev and test.
        max_reject_fraction: the step fails when a greater share of the faces is rejected.
    """

    key: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    format: str
    source: str = Field(min_length=1)
    revision: str = ""
    options: CsvOptions | None = None
    dev_fraction: Share = 0.1
    test_fraction: Share = 0.15
    seed: int = 0
    max_reject_fraction: float = Field(0.05, ge=0.0, le=1.0)

    @field_validator("format")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in READERS:
            raise ValueError(f"no reader of this name; there are {', '.join(READERS)}")
        return value

    @model_validator(mode="after")
    def _options_suit_format(self) -> Self:
        if self.format == "csv" and self.options is None:
            raise ValueError("format csv needs options (file, path_column, label_column)")
        if self.format != "csv" and self.options is not None:
            raise ValueError(f"format {self.format} takes no options")
        return self
