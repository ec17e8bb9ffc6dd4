"""Whether a training would read or do anything that the last finished one did not."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from crossface.progress import say


def inputs_digest(datasets: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> str:
    """Hash what decides a training's result: the datasets with their revisions, and every setting.

    Args:
        datasets: in any order, each with its ``revision``.
        settings: all other parameters of the pipeline.

    Returns:
        32 hexadecimal digits; the same whether numbers come as ``1`` or, as KFP hands them on, as ``1.0``.
    """
    ordered = sorted(datasets, key=lambda dataset: dataset["key"])
    text = json.dumps(_plain([ordered, settings]), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def compare(digest: str, last: str | None) -> bool:
    """Say, and return, whether there is anything to train for.

    Args:
        digest: of the inputs now.
        last: of the last finished run; None where there was none.
    """
    if last is None:
        say("no run has finished yet")
    else:
        say("data or settings are new" if digest != last else "nothing is new since the last finished run")
    return digest != last


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
