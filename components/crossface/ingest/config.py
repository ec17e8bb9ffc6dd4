"""What ingest is told about one dataset."""

from typing import Annotated, Any

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator

from crossface.config import Config
from crossface.ingest.readers.face import ReaderOptions
from crossface.ingest.readers.registry import AUTO, READERS, options_type

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class IngestConfig(Config):
    """One dataset: what it is called, where it lies and how it is split.

    Attributes:
        key: the dataset's name in every artifact, table and figure.
        format: a name in ``readers.registry.READERS``, or ``auto`` for the one that fits.
        source: a local directory, ``s3://bucket/prefix``, or an archive in either, with the dataset as it
            was published.
        revision: any text; change it when the data changed, so that cached results are not used.
        licence: of this copy of the data, for the model card; empty: what the format's publisher says.
        options: what the format lets choose; see the ``options_type`` of its reader.
        dev_fraction: share of the groups of train that becomes dev, where no dev split is published.
        test_fraction: share of all groups that becomes test, where no split is published.
        seed: decides which groups become dev and test.
        max_reject_fraction: the step fails when a greater share of the faces is rejected.
    """

    key: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    format: str
    source: str = Field(min_length=1)
    revision: str = ""
    licence: str = ""
    options: SerializeAsAny[ReaderOptions] | None = Field(default=None, validate_default=True)
    dev_fraction: Share = 0.1
    test_fraction: Share = 0.15
    seed: int = 0
    max_reject_fraction: float = Field(0.05, ge=0.0, le=1.0)

    @field_validator("format")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value != AUTO and value not in READERS:
            raise ValueError(f"no reader of this name; there are {', '.join(READERS)}, and {AUTO}")
        return value

    @field_validator("options", mode="before")
    @classmethod
    def _suit_format(cls, value: Any, info: ValidationInfo) -> Any:
        format_name = info.data.get("format")
        if format_name is None:  # its own fault is told
            return None
        kind = None if format_name == AUTO else options_type(format_name)
        if not value:
            needed = (
                [name for name, field in kind.model_fields.items() if field.is_required()] if kind else []
            )
            if needed:
                raise ValueError(f"format {format_name} needs options ({', '.join(needed)})")
            return None
        if kind is None or not kind.model_fields:
            raise ValueError(f"format {format_name} takes no options")
        return kind.model_validate(value)  # its faults keep their place: options.<key>
