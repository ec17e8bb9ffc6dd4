"""Bootstrap (Efron 1979) of means, in the percentile form."""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A mean, and what its resamples came to."""

    value: float
    resampled: np.ndarray
    """float64 [RESAMPLES]."""

    @property
    def interval(self) -> tuple[float, float]:
        """95 %."""
        return interval(self.resampled)


def stratified_means(
    emotions: np.ndarray, values: np.ndarray, rng: np.random.Generator
) -> dict[str, Estimate]:
    """Mean over all faces and mean of the classes' means, with a stratified bootstrap.

    Stratified: faces are drawn within their class, so that no class vanishes from a resample and the mix of
    classes stays that of the test set (Efron & Tibshirani 1993).

    Args:
        emotions: true classes, int64 [n], n > 0.
        values: -1, 0 or 1, [n]; or booleans. Whether a model is right gives accuracies, and the difference
            of two models their difference on the same faces.
        rng: of the bootstrap.

    Returns:
        ``balanced_accuracy`` and ``accuracy``, of the same resamples.
    """
    cells = [values[emotions == label] for label in np.unique(emotions)]
    means = np.array([cell.mean() for cell in cells])
    resampled = np.array([resampled_means(cell, rng) for cell in cells])
    sizes = np.array([len(cell) for cell in cells])
    return {
        "balanced_accuracy": Estimate(float(means.mean()), resampled.mean(0)),
        "accuracy": Estimate(
            float(np.average(means, weights=sizes)), np.average(resampled, axis=0, weights=sizes)
        ),
    }


def resampled_means(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Means of resamples, drawn with replacement: how often each value is drawn is multinomial.

    Args:
        values: -1, 0 or 1, [n], n > 0; or booleans.
        rng: of the draws.

    Returns:
        float64 [RESAMPLES].
    """
    counts = np.array([(values == -1).sum(), (values == 0).sum(), (values == 1).sum()])
    drawn = rng.multinomial(len(values), counts / len(values), size=RESAMPLES)
    return (drawn[:, 2] - drawn[:, 0]) / len(values)


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of what the resamples came to."""
    low, high = np.quantile(resampled, (0.025, 0.975))
    return float(low), float(high)
