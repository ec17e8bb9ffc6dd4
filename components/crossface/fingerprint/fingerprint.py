"""Revisions for datasets that name none, so that new files are noticed."""

from collections.abc import Mapping, Sequence
from typing import Any

from crossface.data.revision import listing_digest
from crossface.progress import say


def with_revisions(datasets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give each dataset without a ``revision`` the fingerprint of its files.

    Args:
        datasets: mappings with ``key``, ``source`` and perhaps ``revision``.

    Raises:
        DataError: a dataset cannot be listed.
    """
    found = []
    for dataset in datasets:
        revision = dataset.get("revision") or listing_digest(dataset["source"])
        say(f"{dataset['key']}: revision {revision}")
        found.append({**dataset, "revision": revision})
    return found
