"""What a model was made of, in few numbers that travel with it: ``reference.json``.

Later photos are held against it, where the training data are out of reach.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crossface.config import fault_lines
from crossface.data.crops import CAPTURE, iter_image_bytes, open_crops
from crossface.data.emotions import EMOTIONS
from crossface.errors import DataError

REFERENCE_FILE = "reference.json"
QUANTILES = 200
CAPTURE_STATISTICS = tuple(field.name for field in CAPTURE)
STATISTICS = ("confidence", *CAPTURE_STATISTICS)

_Counts = Annotated[dict[str, int], Field(min_length=len(EMOTIONS), max_length=len(EMOTIONS))]


class Reference(BaseModel):
    """The train faces, and what the model says of the dev faces."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    crop_size: int
    """Side of the crops in pixels, on which the capture statistics depend."""
    labels: _Counts
    """Train faces by label."""
    answers: _Counts
    """Dev faces by the likeliest expression."""
    quantiles: dict[str, tuple[float, ...]]
    """Of each of ``STATISTICS``: confidence of the dev faces, capture of the train faces."""

    @model_validator(mode="after")
    def _is_complete(self) -> "Reference":
        for counts in (self.labels, self.answers):
            if set(counts) != set(EMOTIONS) or not sum(counts.values()):
                raise ValueError("faces of each of the seven expressions are missing")
        if {name: len(values) for name, values in self.quantiles.items()} != dict.fromkeys(
            STATISTICS, QUANTILES
        ):
            raise ValueError(f"{QUANTILES} quantiles of each of {', '.join(STATISTICS)} are needed")
        return self

    def faces(self, statistic: str) -> int:
        """How many faces the quantiles of a statistic are of."""
        return sum((self.answers if statistic == "confidence" else self.labels).values())


def make_reference(crops: Sequence[Path], probabilities: np.ndarray) -> Reference:
    """Sum up what a model was trained on and what it says.

    Args:
        crops: a crops folder a dataset; faces of the split train are taken.
        probabilities: what the deployed model says of the dev faces, calibrated as it will be: float [n, 7].

    Raises:
        DataError: there are no crops, or no train or dev faces.
    """
    faces = open_crops(crops)
    train = faces.filter(pc.field("split") == "train").to_table(columns=["emotion", "capture"])
    if not len(train) or not len(probabilities):
        raise DataError(f"{crops[0]}: a reference needs train faces and dev faces")
    values = {"confidence": probabilities.max(1), **capture_statistics_of(train["capture"])}
    first = next(iter_image_bytes(faces))
    return Reference(
        crop_size=Image.open(io.BytesIO(first)).width,
        labels=expression_counts(np.asarray(train["emotion"])),
        answers=expression_counts(probabilities.argmax(1)),
        quantiles={name: quantiles(values[name]) for name in STATISTICS},
    )


def expression_counts(emotions: np.ndarray) -> dict[str, int]:
    """Faces of each emotion, of int64 [n]."""
    return dict(zip(EMOTIONS, np.bincount(emotions, minlength=len(EMOTIONS)).tolist(), strict=True))


def capture_statistics_of(capture: pa.ChunkedArray) -> Mapping[str, np.ndarray]:
    """Rows of ``CAPTURE`` [n] as float64 [n] by name; what is null, no JPEG's quantisation, becomes 0."""
    fields = {name: pc.struct_field(capture, name) for name in CAPTURE_STATISTICS}
    return {name: np.asarray(pc.fill_null(values, 0.0), np.float64) for name, values in fields.items()}


def quantiles(values: np.ndarray) -> tuple[float, ...]:
    """``QUANTILES`` values that stand for equal shares of float [n], n > 0: the middle one of each share.

    As a sample they have the distribution of ``values`` but for 1 / (2 ``QUANTILES``) + 1 / n, ties included.
    """
    shares = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return tuple(np.quantile(values, shares, method="inverted_cdf").astype(float).tolist())


def write_reference(reference: Reference, folder: Path) -> None:
    """Write ``folder/reference.json``."""
    (folder / REFERENCE_FILE).write_text(reference.model_dump_json(indent=1) + "\n")


def read_reference(file: Path) -> Reference:
    """Read what :func:`write_reference` wrote.

    Raises:
        DataError: it is not there or damaged.
    """
    try:
        return Reference.model_validate_json(file.read_bytes())
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise DataError(f"{file}: not a reference: {'; '.join(fault_lines(error))}") from None
