"""``bias.json``: what the step probe_bias writes and the report of an evaluation shows."""

import json
from pathlib import Path
from typing import Any

from crossface.errors import DataError

BIAS_FILE = "bias.json"


def write_bias(document: dict[str, Any], folder: Path) -> None:
    """Write ``folder/bias.json``; a number that is not finite is an error here, not in a reader."""
    (folder / BIAS_FILE).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")


def read_bias(folder: Path) -> dict[str, Any]:
    """Read what :func:`write_bias` wrote.

    Raises:
        DataError: the folder holds none.
    """
    if not (folder / BIAS_FILE).is_file():
        raise DataError(f"{folder}: not an output of probe_bias, {BIAS_FILE} is missing")
    return json.loads((folder / BIAS_FILE).read_text())
