"""How a photo was taken, as numbers for a linear probe."""

import numpy as np
import pyarrow as pa
from sklearn.impute import SimpleImputer

from crossface.data.crops import CAPTURE


def capture_matrix(capture: pa.ChunkedArray) -> np.ndarray:
    """Capture statistics as features.

    Logarithms, since sharpness and size span decades. A null (a PNG has no JPEG quantisation) becomes the
    median, and a column of its own says that it was null: which format a dataset is kept in is capture too.

    Args:
        capture: rows of ``CAPTURE`` [n].

    Returns:
        float64 [n, 6 + columns with some but not all null].
    """
    columns = [
        np.asarray(capture.combine_chunks().field(field.name).cast(pa.float64()).fill_null(np.nan))
        for field in CAPTURE
    ]
    values = np.log1p(np.maximum(np.stack(columns, axis=1), 0))
    return SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True).fit_transform(
        values
    )
