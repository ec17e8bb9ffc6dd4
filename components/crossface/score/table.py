"""The results: one row a face."""

import numpy as np
import pyarrow as pa

from crossface.data.crops import CAPTURE
from crossface.data.emotions import EMOTIONS
from crossface.data.records import BOX

SCORE_SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("box", BOX, nullable=False),  # of the face, in the pixels of the upright photo
        *(pa.field(name, pa.float32(), nullable=False) for name in EMOTIONS),  # probabilities
        pa.field("expression", pa.string(), nullable=False),  # the likeliest
        pa.field("confidence", pa.float32(), nullable=False),  # its probability
        pa.field("capture", CAPTURE, nullable=False),
    ]
)


def score_table(faces: list[dict], probabilities: np.ndarray) -> pa.Table:
    """Rows of ``SCORE_SCHEMA``.

    Args:
        faces: ``uri``, ``box`` and ``capture`` of each.
        probabilities: float32 [n, 7].
    """
    columns = {name: [face[name] for face in faces] for name in ("uri", "box", "capture")}
    columns |= dict(zip(EMOTIONS, probabilities.T, strict=True))
    columns["expression"] = [EMOTIONS[index] for index in probabilities.argmax(1)]
    columns["confidence"] = probabilities.max(1)
    arrays = [pa.array(columns[field.name], field.type) for field in SCORE_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SCORE_SCHEMA)
