"""Options that several commands have."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from crossface_pipelines.params_file import PARAMS

Number = TypeVar("Number", int, float)


def positive(kind: type[Number]) -> Callable[[str], Number]:
    """Make the type of an option that takes a number above 0."""
    name = "whole number" if kind is int else "number"

    def parse(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = kind(0)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text!r} is not a {name} above 0")
        return value

    return parse


def add_pipeline(parser: argparse.ArgumentParser, *names: str) -> None:
    """Let a command be told which pipeline; the first is the default."""
    parser.add_argument(
        "--pipeline",
        choices=names,
        default=names[0],
        help="retraining: training, if anything is new; benchmark: training, and what carries over from "
        "dataset to dataset (default %(default)s)",
    )


def add_profile(parser: argparse.ArgumentParser) -> None:
    """Let a command be told where a pipeline will run."""
    parser.add_argument(
        "--profile",
        default="dev",
        help="where it will run: a YAML file, or the name of one in manifests/profiles (default %(default)s)",
    )


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Let a command be told where runs write."""
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder for what runs write (default %(default)s)"
    )


def add_params(
    parser: argparse.ArgumentParser, shipped: Path = PARAMS, example: str = "train.epochs=3"
) -> None:
    """Let a command be told the parameters of a pipeline."""
    names = ", ".join(sorted(path.stem for path in shipped.glob("*.yaml")))
    parser.add_argument("--params", required=True, help=f"a YAML file, or one that comes along: {names}")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"override a parameter, such as {example}",
    )
