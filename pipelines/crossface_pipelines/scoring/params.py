"""Parameters of the scoring pipeline: a YAML file, validated whole before anything starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossface.config import Config
from crossface.data import s3
from crossface.data.revision import listing_digest
from crossface.data.source import source_fault
from crossface.errors import ConfigError
from crossface.pin_model.config import PinConfig
from crossface.score.config import ScoreConfig
from crossface_pipelines.params_file import assign, mapping_in, read_values

_SECTIONS: dict[str, type[Config]] = {"pin": PinConfig, "score": ScoreConfig}


class ScoringParams(Config):
    """All that the pipeline is told."""

    pin: PinConfig
    score: ScoreConfig

    def arguments(self) -> dict[str, Any]:
        """The pipeline's arguments, as plain JSON values."""
        return self.model_dump(mode="json")

    def with_revision(self) -> "ScoringParams":
        """The same; where no revision is named, with the fingerprint of the photos.

        Raises:
            DataError: photos in S3 cannot be listed.
        """
        if self.score.revision:
            return self
        found = {"revision": listing_digest(self.score.source)}
        return self.model_copy(update={"score": self.score.model_copy(update=found)})


def load_params(file: Path, assignments: Sequence[str] = (), check_sources: bool = True) -> ScoringParams:
    """Read a params file, apply ``key=value`` assignments and validate everything.

    Args:
        file: a YAML file, see ``params/sample.yaml``. Relative paths are relative to the working directory.
        assignments: such as ``score.source=s3://bucket/prefix``; values are YAML.
        check_sources: whether the photos must be here; not for a pipeline that will run elsewhere.

    Raises:
        ConfigError: one line a fault, each naming its key.
    """
    values = read_values(file)
    for assignment in assignments:
        assign(values, assignment)
    faults = [f"{key}: unknown key" for key in values if key not in _SECTIONS]
    parsed: dict[str, Any] = {}
    for name, kind in _SECTIONS.items():
        try:
            parsed[name] = kind.parse(mapping_in(values, name), where=name)
        except ConfigError as error:
            faults += str(error).splitlines()
    if check_sources and "score" in parsed:
        faults += _missing_files(parsed["score"])
    if faults:
        raise ConfigError("\n".join(faults))
    return ScoringParams(**parsed)


def _missing_files(config: ScoreConfig) -> list[str]:
    faults = []
    if fault := source_fault(config.source):
        faults.append(f"score.source: {config.source} is {fault}")
    if config.boxes and not config.boxes.startswith(s3.SCHEME) and not Path(config.boxes).is_file():
        faults.append(f"score.boxes: {config.boxes} is not a file")
    return faults
