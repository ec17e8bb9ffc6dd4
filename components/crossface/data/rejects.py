"""Rejects: every face or photo that a step could not use, with the reason."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from crossface.errors import DataError

REJECTS_FILE = "rejects.parquet"


class Reason(StrEnum):
    """Why a face is not used."""

    LABEL_NOT_USED = "label_not_used"  # a label of the format that is none of the seven expressions
    BAD_ROW = "bad_row"  # a row of an annotation file that cannot be understood
    MISSING_FILE = "missing_file"
    EMPTY_FILE = "empty_file"
    UNREADABLE_IMAGE = "unreadable_image"
    BAD_BOX = "bad_box"  # not finite, or without area
    NO_FACE = "no_face"  # no box is published, and none is found
    BOX_OUTSIDE = "box_outside"  # no pixel of the face is in the photo


EXCLUDED = frozenset({Reason.LABEL_NOT_USED})
"""Left out by design, so not counted against ``max_reject_fraction``."""


@dataclass(frozen=True)
class Reject:
    """One face, photo or annotation row that is not used, and why."""

    uri: str
    stage: str
    reason: Reason
    message: str


REJECT_SCHEMA = pa.schema([(name, pa.string()) for name in ("uri", "stage", "reason", "message")])


def write_rejects(rejects: Iterable[Reject], folder: Path) -> None:
    """Write ``folder/rejects.parquet``, also when there are none."""
    rows = [asdict(reject) for reject in rejects]
    pq.write_table(pa.Table.from_pylist(rows, schema=REJECT_SCHEMA), folder / REJECTS_FILE)


def read_rejects(folder: Path) -> list[Reject]:
    """Read what :func:`write_rejects` wrote.

    Raises:
        DataError: the folder holds no rejects file, so it is not the output of a step.
    """
    if not (folder / REJECTS_FILE).is_file():
        raise DataError(f"{folder}: no {REJECTS_FILE} here")
    rows = pq.read_table(folder / REJECTS_FILE, schema=REJECT_SCHEMA).to_pylist()
    return [Reject(**{**row, "reason": Reason(row["reason"])}) for row in rows]


def check_reject_fraction(rejects: list[Reject], used: int, limit: float, dataset: str) -> None:
    """Fail when too much of a dataset is broken.

    Args:
        rejects: the step's rejects; those in ``EXCLUDED`` do not count.
        used: how many faces the step could use.
        limit: greatest allowed share of counted rejects among counted rejects and used faces.
        dataset: named in the message.

    Raises:
        DataError: naming the share, the most frequent reason and one file.
    """
    counted = [reject for reject in rejects if reject.reason not in EXCLUDED]
    total = len(counted) + used
    if not counted or len(counted) <= limit * total:
        return
    most, _ = Counter(reject.reason for reject in counted).most_common(1)[0]
    example = next(reject for reject in counted if reject.reason == most)
    raise DataError(
        f"{dataset}: {len(counted)} of {total} faces rejected ({len(counted) / total:.1%}, "
        f"max_reject_fraction is {limit:.1%}); most often {most}, as in {example.uri}: {example.message}"
    )
