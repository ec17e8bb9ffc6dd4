"""Where the tasks of a pipeline run: each step's image, and (on a cluster) its place and its limits."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from crossface.config import Config
from crossface.errors import ConfigError
from crossface_pipelines.exposure import is_exposed
from crossface_pipelines.params_file import merged, read_values
from crossface_pipelines.placement import Placement
from crossface_pipelines.steps import STEP_IMAGES

PROFILES = Path("manifests/profiles")
"""Where profiles lie in a checkout, from which the command is started."""
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
IMAGE_VARIABLE = "CROSSFACE_IMAGE_DIGEST"
"""Tells a step its own image, which a registered model is tagged with."""
RUN_LABEL = "pipeline/runid"
"""Kubeflow's label on every pod of a run."""


@dataclass(frozen=True)
class Profile:
    """Images of the steps, whether their results may be cached, and what each asks of a cluster."""

    images: Mapping[str, str] = field(default_factory=dict)
    """Image reference of each step."""
    caching: bool = True
    placements: Mapping[str, Placement] = field(default_factory=dict)
    """Of each step; empty where there is no cluster."""
    service_account: str = ""
    """Of all pods of a run; empty: the backend's default."""

    def place(self, task: Any, step: str, cache: bool = True) -> Any:
        """Apply the profile to a task of the DAG and return it.

        Args:
            task: a ``kfp.dsl.PipelineTask``.
            step: which step it is.
            cache: whether a result of an earlier run may stand in for this task at all.
        """
        task.set_container_image(self.images[step]).set_caching_options(self.caching and cache)
        if placement := self.placements.get(step):
            from kfp import kubernetes

            placement.apply(task)
            task.set_env_variable(IMAGE_VARIABLE, self.images[step])
            # a run id that travelled as a parameter would keep every step from its cache
            path = f"metadata.labels['{RUN_LABEL}']"
            kubernetes.use_field_path_as_env(task, env_name="KFP_RUN_ID", field_path=path)
        return task


class LockedImage(Config):
    """One image, as people call it and as it is pulled."""

    image: str
    """Reference; with ``@sha256:`` it is always the same image."""
    tag: str = ""
    """For people."""


class ProfileFile(Config):
    """A file of ``manifests/profiles``."""

    images: str = "../../images/images.lock.yaml"
    """The file that maps ``data`` and ``torch`` to images; relative to the profile."""
    digests: bool = True
    """Whether every image must be named by its digest. A tag may move between two runs of one pipeline, and
    would not be noticed by Kubeflow's cache."""
    caching: bool = True
    service_account: str = ""
    steps: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Of each step; ``default`` is what all have in common, and a mapping in a step's own adds to it."""


def load_profile(name: str) -> Profile:
    """Read a profile and the images that it names.

    Args:
        name: a YAML file, or the name of one in ``manifests/profiles`` of the working directory.

    Raises:
        ConfigError: one line a fault, each naming its file and key.
    """
    path = Path(name) if name.endswith(".yaml") else PROFILES / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in PROFILES.glob("*.yaml"))) or "none"
        raise ConfigError(
            f"--profile {name}: {path} is not there (profiles in {PROFILES.absolute()}: {there})"
        )
    given = ProfileFile.parse(read_values(path), where=str(path))
    images = _images(Path(os.path.normpath(path.parent / given.images)), given.digests)
    return Profile(
        images={step: images[logical] for step, logical in STEP_IMAGES.items()},
        caching=given.caching,
        placements=_placements(given.steps, str(path)),
        service_account=given.service_account,
    )


def _images(lock: Path, digests: bool) -> dict[str, str]:
    """Logical name -> reference."""
    values, faults, images = read_values(lock), [], {}
    for name in sorted(set(STEP_IMAGES.values())):
        if not isinstance(entry := values.get(name), dict):
            faults.append(f"{lock}: {name}: required, and not given")
            continue
        images[name] = LockedImage.parse(entry, where=f"{lock}: {name}").image
        if digests and not _DIGEST.search(images[name]):
            faults.append(
                f"{lock}: {name}: {images[name]} has no digest; make push writes one, see images/README.md"
            )
    if faults:
        raise ConfigError("\n".join(faults))
    return images


def _placements(steps: Mapping[str, dict[str, Any]], where: str) -> dict[str, Placement]:
    faults = [
        f"{where}: steps.{step}: no such step" for step in steps if step not in {*STEP_IMAGES, "default"}
    ]
    placements = {}
    for step in STEP_IMAGES:
        values = merged(steps.get("default", {}), steps.get(step, {}))
        if step == "finalize":
            values.pop("retry", None)  # Kubeflow repeats no exit task
        faults += _exposed(values, f"{where}: steps.{step}")
        try:
            placements[step] = Placement.parse(values, where=f"{where}: steps.{step}")
        except ConfigError as error:
            faults += str(error).splitlines()
    if faults:
        raise ConfigError("\n".join(dict.fromkeys(faults)))
    return placements


def _exposed(values: Mapping[str, Any], where: str) -> list[str]:
    """Secrets in the open, which everybody who sees a run would see; their values are not repeated."""
    return [
        f"{where}.environment.{name}: looks like a secret; name it under secrets"
        for name, value in (values.get("environment") or {}).items()
        if is_exposed(str(name), str(value))
    ]


def container_profile(images: Mapping[str, str], caching: bool = True) -> Profile:
    """Steps in containers of this machine: ``images`` maps the logical names ``data`` and ``torch``."""
    return Profile({step: images[logical] for step, logical in STEP_IMAGES.items()}, caching)
