"""Paths in a pipeline's arguments that its steps could not see on a cluster."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Any, NamedTuple

from crossface.data import s3
from crossface.data.archives import is_archive
from crossface.errors import ConfigError
from crossface_pipelines.profiles import Profile


class _Place(NamedTuple):
    key: str
    path: str
    steps: tuple[str, ...]
    """That read or write it."""


def check_sources(pipeline: str, arguments: Mapping[str, Any], profile: Profile) -> None:
    """Refuse what lies on this machine: a step sees the object store and the volumes of its profile.

    Args:
        pipeline: its name.
        arguments: of the pipeline.
        profile: where it will run.

    Raises:
        ConfigError: one line a path.
    """
    faults = []
    for place in _places(pipeline, arguments):
        if blind := [step for step in place.steps if not _is_seen(place.path, profile, step)]:
            faults.append(
                f"{place.key}: {place.path} is a path that {', '.join(blind)} would not see on a cluster; "
                f"name {s3.SCHEME}bucket/..., or a folder below one of the step's volumes in the profile"
            )
    if faults:
        raise ConfigError("\n".join(faults))


def _is_seen(path: str, profile: Profile, step: str) -> bool:
    placement = profile.placements.get(step)
    volumes = placement.volumes if placement else {}
    real = PurePosixPath(normpath(path))
    return path.startswith(s3.SCHEME) or any(real.is_relative_to(folder) for folder in volumes)


def _places(pipeline: str, arguments: Mapping[str, Any]) -> Iterator[_Place]:
    before = ("fingerprint",) if pipeline == "retraining" else ()
    for dataset in arguments.get("datasets", ()):
        source = dataset["source"]
        # ingest unpacks an archive into what it writes; files in a folder, crop_faces opens itself
        after = () if is_archive(source) else ("crop_faces",)
        yield _Place(f"datasets.{dataset['key']}.source", source, (*before, "ingest", *after))
    for training in ("baseline", "adapted"):
        if uri := arguments.get(training, {}).get("checkpoint", {}).get("uri"):
            yield _Place(f"{training}.checkpoint.uri", uri, ("train",))
    for name in ("source", "boxes", "checkpoint"):
        if path := arguments.get("score", {}).get(name):
            yield _Place(f"score.{name}", path, ("score",))
