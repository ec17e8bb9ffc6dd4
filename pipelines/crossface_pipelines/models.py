"""``crossface models``, ``promote`` and ``rollback``: the registry, seen and steered from a shell."""

import argparse
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossface.errors import ConfigError, CrossfaceError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

LOCAL_STORE = Path("runs", "mlflow.db")
"""Where ``crossface run`` keeps its registry."""
HEADER = ("version", "aliases", "created", "precision", "datasets", "balanced", "run", "commit", "verdict")
_SHORT = 8  # digits of a hash that tell it from others in a table
_NARROWEST = 20  # characters of a verdict that are always shown
_FAR = 10_000  # columns of an output that is no terminal: nothing is cut


class RegistryError(CrossfaceError):
    """The registry cannot be read or changed; the message is what MLflow says."""


def add_commands(commands: Any) -> None:
    """Add the three to the subcommands of a parser."""
    show = commands.add_parser("models", help="list the versions of a registered model")
    show.add_argument("--json", action="store_true", help="everything about them, as JSON")
    show.set_defaults(call=_show)

    promote = commands.add_parser("promote", help="make a registered version the champion")
    promote.add_argument("version", metavar="VERSION", help="its number, such as 3")
    promote.add_argument("--why", default="", help="stays with the version as a tag")
    promote.set_defaults(call=_promote)

    rollback = commands.add_parser("rollback", help="return to the champion before")
    rollback.add_argument("--why", type=_said, required=True, help="stays with the version that goes")
    rollback.set_defaults(call=_rollback)

    for command in (show, promote, rollback):
        command.add_argument(
            "--name", default="crossface", help="of the registered model (default %(default)s)"
        )


def _said(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("say why")
    return text


def _promote(arguments: argparse.Namespace) -> None:
    from crossface.register.judge import judge_versions
    from crossface.register.promotion import promote

    with registry() as client:
        judge = partial(judge_versions, client, arguments.name)
        move = promote(client, arguments.name, arguments.version, judge, arguments.why)
    which = f"{arguments.name} version {move.after}"
    if move.before == move.after:
        print(f"{which} is the champion already")
    else:
        print(f"{which} is the champion; before: {move.before or 'none'}")


def _rollback(arguments: argparse.Namespace) -> None:
    from crossface.register.promotion import rollback

    with registry() as client:
        move = rollback(client, arguments.name, arguments.why)
    print(f"{arguments.name} version {move.after} is the champion again; rolled back: {move.before}")


def _show(arguments: argparse.Namespace) -> None:
    with registry() as client:
        models = {model.name: model for model in _pages(client.search_registered_models)}
        if not models:
            print("[]" if arguments.json else "the registry is empty")
            return
        if arguments.name not in models:
            raise ConfigError(f"--name: no registered model {arguments.name}; there is {', '.join(models)}")
        found = _pages(partial(client.search_model_versions, f"name = '{arguments.name}'"))
    versions = sorted(found, key=lambda version: int(version.version), reverse=True)
    if arguments.json:
        print(json.dumps([_document(models[arguments.name], version) for version in versions], indent=2))
    elif versions:
        print(table([_row(models[arguments.name], version) for version in versions]))
    else:
        print(f"{arguments.name} has no versions")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align rows below the header; the last column is cut to what the terminal has room for."""
    *widths, last = (max(map(len, column)) for column in zip(HEADER, *rows, strict=True))
    room = shutil.get_terminal_size((_FAR, 0)).columns - sum(widths) - 2 * len(widths)
    last = min(last, max(room, _NARROWEST))
    lines = []
    for *cells, verdict in (HEADER, *rows):
        aligned = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        cut = verdict if len(verdict) <= last else f"{verdict[: last - 1]}…"
        lines.append("  ".join([*aligned, cut]).rstrip())
    return "\n".join(lines)


def _row(model: "RegisteredModel", version: "ModelVersion") -> tuple[str, ...]:
    from crossface.register import names

    tags = version.tags
    commit, _, dirty = tags.get(names.COMMIT_TAG, "").partition("-")
    return (
        str(version.version),
        ", ".join(_aliases(model, version)) or "-",
        f"{_created(version).astimezone():%Y-%m-%d %H:%M}",
        tags.get(names.PRECISION_TAG, "-"),
        tags.get("datasets", "-"),
        _balanced_accuracy(tags),
        (version.run_id or "-")[:_SHORT],
        f"{commit[:_SHORT]}{'*' if dirty else ''}" or "-",
        _verdict(tags),
    )


def _verdict(tags: dict[str, str]) -> str:
    from crossface.register import names

    if names.ROLLED_BACK_TAG in tags:
        verdict, sentence = "rolled back", tags[names.ROLLED_BACK_TAG]
    else:
        verdict, sentence = tags.get(names.VERDICT_TAG, "unjudged"), tags.get(names.VERDICT_SENTENCE_TAG, "")
    return " ".join(f"{verdict}: {sentence}".split()) if sentence else verdict


def _balanced_accuracy(tags: dict[str, str]) -> str:
    """The mean over the datasets, each of which has a tag."""
    found = [float(value) for key, value in tags.items() if key.startswith("balanced_accuracy.")]
    return f"{sum(found) / len(found):.3f}" if found else "-"


def _document(model: "RegisteredModel", version: "ModelVersion") -> dict[str, Any]:
    return {
        "version": str(version.version),
        "aliases": _aliases(model, version),
        "created": _created(version).isoformat(timespec="seconds"),
        "run": version.run_id or "",
        "tags": dict(version.tags),
    }


def _aliases(model: "RegisteredModel", version: "ModelVersion") -> list[str]:
    return sorted(alias for alias, number in model.aliases.items() if str(number) == str(version.version))


def _created(version: "ModelVersion") -> datetime:
    return datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)


def _pages(search: Any) -> Iterator[Any]:
    """All that a search of MLflow finds, which it returns in pages."""
    token = None
    while token is None or token:
        page = search(page_token=token)
        yield from page
        token = page.token or ""


@contextmanager
def registry() -> Iterator["MlflowClient"]:
    """A client of ``MLFLOW_TRACKING_URI``, or else of what ``crossface run`` made here."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from crossface_pipelines.local import impatient

    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri and not LOCAL_STORE.is_file():
        raise ConfigError(
            f"MLFLOW_TRACKING_URI: required where {LOCAL_STORE} is not; `crossface run` makes it"
        )
    try:
        with impatient():
            yield MlflowClient(uri or f"sqlite:///{LOCAL_STORE.absolute()}")
    except MlflowException as error:
        raise RegistryError(f"MLflow: {str(error).splitlines()[0]}") from None
