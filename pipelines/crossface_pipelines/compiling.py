"""Pipelines by name: their arguments, and their compiled form."""

from collections.abc import Mapping, Sequence
from itertools import dropwhile
from pathlib import Path
from typing import Any

from crossface.errors import ConfigError
from crossface_pipelines.params_file import params_file
from crossface_pipelines.profiles import Profile


def build(name: str, profile: Profile) -> Any:
    """The pipeline of this name, built for where it will run."""
    if name == "scoring":
        from crossface_pipelines.scoring.pipeline import scoring_pipeline

        return scoring_pipeline(profile)
    if name == "benchmark":
        from crossface_pipelines.benchmark.pipeline import benchmark_pipeline

        return benchmark_pipeline(profile)
    if name == "retraining":
        from crossface_pipelines.retraining.pipeline import retraining_pipeline

        return retraining_pipeline(profile)
    from crossface_pipelines.training.pipeline import training_pipeline

    return training_pipeline(profile)


def arguments_elsewhere(name: str, params: str, assignments: Sequence[str] = ()) -> dict[str, Any]:
    """Arguments of a pipeline that will run where its sources are, which need not be here.

    Args:
        name: of the pipeline.
        params: a params file, or the name of one that comes along.
        assignments: ``key=value``, applied to it.

    Raises:
        ConfigError: one line a fault.
    """
    if name == "scoring":
        from crossface_pipelines.scoring.command import params_file as scoring_file
        from crossface_pipelines.scoring.params import load_params as load_scoring

        return load_scoring(scoring_file(params), assignments, check_sources=False).arguments()
    from crossface_pipelines.training.params import load_params

    return load_params(params_file(params), assignments, check_sources=False).arguments(name)


def write_ir(name: str, profile: Profile, arguments: Mapping[str, Any], out: Path) -> None:
    """Compile a pipeline into KFP's YAML: its specification, and what it asks of Kubernetes.

    The same pipeline, profile and arguments give the same bytes.

    Args:
        name: of the pipeline.
        profile: where it will run.
        arguments: its parameters' defaults, such as :func:`arguments_elsewhere` returns.
        out: the ``.yaml`` file to write.

    Raises:
        ConfigError: there is no place for such a file.
    """
    from kfp.compiler import Compiler

    if not out.parent.is_dir():
        raise ConfigError(f"{out.parent}: no such folder")
    if out.is_dir():
        raise ConfigError(f"{out}: is a folder")
    Compiler().compile(build(name, profile), str(out), pipeline_parameters=dict(arguments))
    # KFP begins with a comment that lists the parameters, in another order each time
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join(dropwhile(lambda line: line.startswith("#"), lines)))
