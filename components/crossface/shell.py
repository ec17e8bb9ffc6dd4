"""A step from a shell: the arguments all steps share, and errors in one line."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from crossface.errors import CrossfaceError


class StepParser(argparse.ArgumentParser):
    """Arguments of a step: ``--config FILE.yaml`` and ``--out PATH``; add the step's inputs."""

    def __init__(self, step: str, description: str | None) -> None:
        super().__init__(prog=f"python -m crossface.{step}", description=description)
        self.add_argument(
            "--config", type=self.mapping, default={}, help="YAML file with the step's configuration"
        )
        self.add_argument("--out", type=Path, required=True, help="what the step writes")

    @staticmethod
    def folder(text: str) -> Path:
        """An existing folder, as an argument type."""
        path = Path(text)
        if not path.is_dir():
            raise argparse.ArgumentTypeError(f"{text} is not a folder")
        return path

    @staticmethod
    def mapping(text: str) -> dict:
        """A YAML file that holds a mapping, as an argument type."""
        try:
            values = yaml.safe_load(Path(text).read_text()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise argparse.ArgumentTypeError(f"{text}: {error}") from None
        if not isinstance(values, dict):
            raise argparse.ArgumentTypeError(f"{text}: not a mapping")
        return values

    @contextmanager
    def step(self) -> Iterator[argparse.Namespace]:
        """Parse, run the block, and turn a user's error into its message and exit code 2."""
        arguments = self.parse_args()
        try:
            yield arguments
        except CrossfaceError as error:
            print(f"{self.prog}: error: {error}", file=sys.stderr)
            sys.exit(2)
