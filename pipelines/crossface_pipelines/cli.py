"""The ``crossface`` command."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from crossface.errors import ConfigError, CrossfaceError
from crossface_pipelines import models, predict
from crossface_pipelines.cluster import commands as cluster
from crossface_pipelines.cluster.names import PIPELINES
from crossface_pipelines.options import add_params, add_pipeline, add_profile, add_runs, positive
from crossface_pipelines.scoring import command as scoring


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; errors that are the user's to mend become one line each.

    Returns:
        0, or 2 for a wrong command or configuration, or 1 for a run that failed.
    """
    arguments = _parser().parse_args(argv)
    try:
        arguments.call(arguments)
    except ConfigError as error:
        _complain(error)
        return 2
    except CrossfaceError as error:
        _complain(error)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command takes what is done from the cache", file=sys.stderr)
        return 130
    return 0


def _complain(error: CrossfaceError) -> None:
    for line in str(error).splitlines():
        print(f"crossface: {line}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crossface", description="Unbiased facial expression recognition as a pipeline."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    sample = commands.add_parser(
        "sample-data", help="draw faces in the layouts of RAF-DB, ExpW and AffectNet"
    )
    sample.add_argument("out", type=Path, help="folder to make")
    sample.add_argument(
        "--faces", type=positive(int), default=3600, help="labelled faces in all (default %(default)s)"
    )
    sample.add_argument(
        "--seed", type=int, default=0, help="the same seed draws the same faces (default %(default)s)"
    )
    sample.set_defaults(call=_sample_data)

    run = commands.add_parser("run", help="run a pipeline on this machine")
    add_pipeline(run, "training", "retraining", "benchmark")
    add_params(run)
    run.add_argument(
        "--runner", choices=("subprocess", "docker"), default="subprocess", help="what a step runs in"
    )
    run.add_argument("--no-cache", action="store_true", help="run every step, also those that ran before")
    add_runs(run)
    run.set_defaults(call=_run)

    score = commands.add_parser("score", help="read the expressions of a folder or bucket of photos")
    add_params(score, scoring.PARAMS, "score.source=s3://bucket/prefix")
    add_runs(score)
    score.set_defaults(call=scoring.score)

    compile_ = commands.add_parser("compile", help="write a pipeline as KFP's YAML")
    compile_.add_argument("out", type=Path, help="the .yaml file to write")
    add_pipeline(compile_, *PIPELINES)
    add_params(compile_)
    add_profile(compile_)
    compile_.set_defaults(call=_compile)

    models.add_commands(commands)
    cluster.add_commands(commands)
    predict.add_command(commands)
    return parser


def _sample_data(arguments: argparse.Namespace) -> None:
    from crossface.data.sample import write_sample_data

    if arguments.out.exists():
        raise ConfigError(f"{arguments.out} exists already; remove it first, or name another folder")
    write_sample_data(arguments.out, arguments.faces, arguments.seed)
    print(f"{arguments.faces} faces in {arguments.out}: rafdb, expw, affectnet")


def _run(arguments: argparse.Namespace) -> None:
    from crossface_pipelines.params_file import params_file
    from crossface_pipelines.training.params import load_params

    params = load_params(params_file(arguments.params), arguments.set)
    from crossface_pipelines import summary
    from crossface_pipelines.compiling import build
    from crossface_pipelines.local import artifacts_of, open_run, run_locally
    from crossface_pipelines.runners import choose_runner

    caching = not arguments.no_cache
    # retraining finds out the revisions itself, as it does where nobody watches
    given = params if arguments.pipeline == "retraining" else params.with_revisions()
    values = given.arguments(arguments.pipeline)
    make_runner = choose_runner(arguments.runner, values, caching)
    with open_run(arguments.runs) as run_id:
        runner, profile = make_runner(artifacts_of(run_id, arguments.runs))
        pipeline = build(arguments.pipeline, profile)
        done = run_locally(run_id, pipeline, values, arguments.runs, runner, caching)
    if done is None:
        print("nothing is new since the last finished run, so nothing was trained")
        return
    model_name = "" if arguments.pipeline == "benchmark" else params.registration.model_name
    print(summary.text(done, os.environ["MLFLOW_TRACKING_URI"], model_name))


def _compile(arguments: argparse.Namespace) -> None:
    from crossface_pipelines.compiling import arguments_elsewhere, write_ir
    from crossface_pipelines.profiles import load_profile

    if arguments.out.suffix != ".yaml":
        raise ConfigError(f"{arguments.out}: should end in .yaml")
    values = arguments_elsewhere(arguments.pipeline, arguments.params, arguments.set)
    write_ir(arguments.pipeline, load_profile(arguments.profile), values, arguments.out)
    print(arguments.out)


if __name__ == "__main__":
    sys.exit(main())
