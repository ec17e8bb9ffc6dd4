"""Features in two dimensions, for the eye."""

import numpy as np
from sklearn.preprocessing import StandardScaler


def embed(features: np.ndarray, neighbours: int, seed: int) -> np.ndarray:
    """UMAP of the standard scores of features.

    McInnes, Healy & Melville, "UMAP: Uniform Manifold Approximation and Projection", 2018. It starts from
    the first two principal components, which keeps distant clusters comparable and needs no eigensolver.

    Args:
        features: float [n, width].
        neighbours: size of the neighbourhood; fewer where there are fewer faces.
        seed: same seed, same picture (which costs UMAP its threads).

    Returns:
        float32 [n, 2]; fewer than four faces all lie at the origin.
    """
    if len(features) < 4:
        return np.zeros((len(features), 2), np.float32)
    from umap import UMAP  # takes seconds to import

    reducer = UMAP(
        n_neighbors=min(neighbours, len(features) - 1), min_dist=0.1, init="pca", random_state=seed, n_jobs=1
    )
    return reducer.fit_transform(StandardScaler().fit_transform(features)).astype(np.float32)
