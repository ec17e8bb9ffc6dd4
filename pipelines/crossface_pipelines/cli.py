"""The ``crossface`` command."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossface.errors import ConfigError, CrossfaceError
from crossface_pipelines import models, predict
from crossface_pipelines.scoring import command as scoring

if TYPE_CHECKING:
    from crossface_pipelines.profiles import Profile

PARAMS = Path(__file__).parent / "training" / "params"


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
        "--faces", type=_positive, default=3600, help="labelled faces in all (default %(default)s)"
    )
    sample.add_argument(
        "--seed", type=int, default=0, help="the same seed draws the same faces (default %(default)s)"
    )
    sample.set_defaults(call=_sample_data)

    run = commands.add_parser("run", help="run a pipeline on this machine")
    _add_pipeline(run, "training", "benchmark")
    _add_params(run)
    run.add_argument(
        "--runner", choices=("subprocess", "docker"), default="subprocess", help="what a step runs in"
    )
    run.add_argument("--no-cache", action="store_true", help="run every step, also those that ran before")
    _add_runs(run)
    run.set_defaults(call=_run)

    score = commands.add_parser("score", help="read the expressions of a folder or bucket of photos")
    _add_params(score, scoring.PARAMS, "score.source=s3://bucket/prefix")
    _add_runs(score)
    score.set_defaults(call=scoring.score)

    compile_ = commands.add_parser("compile", help="write a pipeline as KFP's YAML")
    compile_.add_argument("out", type=Path, help="the .yaml file to write")
    _add_pipeline(compile_, "training", "benchmark", "scoring")
    _add_params(compile_)
    compile_.add_argument("--data-image", required=True, help="image of the data steps, best with its digest")
    compile_.add_argument(
        "--torch-image", required=True, help="image of the other steps, best with its digest"
    )
    compile_.set_defaults(call=_compile)

    models.add_commands(commands)
    predict.add_command(commands)
    return parser


def _add_pipeline(parser: argparse.ArgumentParser, *names: str) -> None:
    parser.add_argument(
        "--pipeline",
        choices=names,
        default="training",
        help="benchmark: training, and what carries over from dataset to dataset (default %(default)s)",
    )


def _add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder for what runs write (default %(default)s)"
    )


def _add_params(
    parser: argparse.ArgumentParser, shipped: Path = PARAMS, example: str = "train.epochs=3"
) -> None:
    names = ", ".join(sorted(path.stem for path in shipped.glob("*.yaml")))
    parser.add_argument("--params", required=True, help=f"a YAML file, or one that comes along: {names}")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"override a parameter, such as {example}",
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _sample_data(arguments: argparse.Namespace) -> None:
    from crossface.data.sample import write_sample_data

    if arguments.out.exists():
        raise ConfigError(f"{arguments.out} exists already; remove it first, or name another folder")
    write_sample_data(arguments.out, arguments.faces, arguments.seed)
    print(f"{arguments.faces} faces in {arguments.out}: rafdb, expw, affectnet")


def _run(arguments: argparse.Namespace) -> None:
    from crossface_pipelines.training.params import load_params

    params = load_params(_params_file(arguments.params), arguments.set)
    from crossface_pipelines import summary
    from crossface_pipelines.local import open_run, run_locally
    from crossface_pipelines.revision import with_revisions
    from crossface_pipelines.runners import make_runner

    caching, values = not arguments.no_cache, with_revisions(params).arguments(arguments.pipeline)
    with open_run(arguments.runs) as run_id:
        runner, profile = make_runner(arguments.runner, params, caching)
        pipeline = _pipeline(arguments.pipeline, profile)
        done = run_locally(run_id, pipeline, values, arguments.runs, runner, caching)
    model_name = params.registration.model_name if arguments.pipeline == "training" else ""
    print(summary.text(done, os.environ["MLFLOW_TRACKING_URI"], model_name))


def _compile(arguments: argparse.Namespace) -> None:
    from kfp.compiler import Compiler

    from crossface_pipelines.profiles import container_profile

    if arguments.out.suffix != ".yaml":
        raise ConfigError(f"{arguments.out}: should end in .yaml")
    values = _arguments_elsewhere(arguments)
    images = {"data": arguments.data_image, "torch": arguments.torch_image}
    pipeline = _pipeline(arguments.pipeline, container_profile(images))
    Compiler().compile(pipeline, str(arguments.out), pipeline_parameters=values)
    print(arguments.out)


def _arguments_elsewhere(arguments: argparse.Namespace) -> dict[str, Any]:
    """Those of a pipeline whose sources need not be here."""
    if arguments.pipeline == "scoring":
        from crossface_pipelines.scoring.params import load_params as load_scoring

        file = scoring.params_file(arguments.params)
        return load_scoring(file, arguments.set, check_sources=False).arguments()
    from crossface_pipelines.training.params import load_params

    file = _params_file(arguments.params)
    return load_params(file, arguments.set, check_sources=False).arguments(arguments.pipeline)


def _pipeline(name: str, profile: "Profile") -> Any:
    """The pipeline of this name, built for where it will run."""
    if name == "scoring":
        from crossface_pipelines.scoring.pipeline import scoring_pipeline

        return scoring_pipeline(profile)
    if name == "benchmark":
        from crossface_pipelines.benchmark.pipeline import benchmark_pipeline

        return benchmark_pipeline(profile)
    from crossface_pipelines.training.pipeline import training_pipeline

    return training_pipeline(profile)


def _params_file(name: str) -> Path:
    """A path, or the name of a params file that comes along."""
    shipped = PARAMS / f"{name}.yaml"
    return shipped if shipped.is_file() else Path(name)


if __name__ == "__main__":
    sys.exit(main())
