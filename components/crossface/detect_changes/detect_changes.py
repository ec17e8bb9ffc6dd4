"""Whether a training would read or do anything that the last finished one did not."""

from collections.abc import Mapping, Sequence
from typing import Any

from crossface.data.digest import values_digest
from crossface.progress import say


def inputs_digest(datasets: Sequence[Mapping[str, Any]], settings: str) -> str:
    """Hash what decides a training's result: the datasets with their revisions, and every setting.

    Args:
        datasets: in any order, each with its ``revision``.
        settings: hash of all other parameters of the pipeline.

    Returns:
        32 hexadecimal digits.
    """
    return values_digest([sorted(datasets, key=lambda dataset: dataset["key"]), settings])


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
