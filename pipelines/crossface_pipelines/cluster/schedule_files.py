"""Schedules as files: what should run on a cluster again and again."""

from collections import Counter
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from crossface.config import Config
from crossface.errors import ConfigError
from crossface_pipelines.cluster import cron
from crossface_pipelines.cluster.names import PIPELINES
from crossface_pipelines.params_file import read_values

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


class Schedule(Config):
    """A file of ``manifests/schedules``."""

    name: Name
    pipeline: str
    cron: str
    """Six fields, seconds first; in UTC, unless the cluster's scheduler was told another time zone."""
    params: str
    """A params file, relative to the working directory, or the name of one that comes along."""
    set: tuple[str, ...] = ()
    """``key=value`` on top of it."""
    profile: str
    experiment: str = Field(default="crossface", min_length=1)
    max_concurrency: int = Field(default=1, ge=1, le=10)
    """Runs of this schedule at a time; Kubeflow knows no more than 10."""
    no_catchup: bool = True
    """Whether runs that were missed are left out, not made up for."""
    enabled: bool = True

    @field_validator("pipeline")
    @classmethod
    def _is_known(cls, pipeline: str) -> str:
        if pipeline not in PIPELINES:
            raise ValueError(f"no such pipeline; there is {', '.join(PIPELINES)}")
        return pipeline

    @field_validator("cron")
    @classmethod
    def _is_a_time(cls, expression: str) -> str:
        if fault := cron.fault(expression):
            raise ValueError(fault)
        return " ".join(expression.split())


def load_schedules(folder: Path) -> dict[Path, Schedule]:
    """Read all schedules of a folder.

    Raises:
        ConfigError: one line a fault, each naming its file and key; or there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"--folder {folder}: not a folder")
    schedules: dict[Path, Schedule] = {}
    faults: list[str] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            schedules[path] = Schedule.parse(read_values(path), where=str(path))
        except ConfigError as error:
            faults += str(error).splitlines()
    names = Counter(schedule.name for schedule in schedules.values())
    faults += [f"{folder}: {count} schedules are called {name}" for name, count in names.items() if count > 1]
    if faults:
        raise ConfigError("\n".join(faults))
    return schedules
