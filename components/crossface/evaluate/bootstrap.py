"""Bootstrap (Efron 1979) of means, in the percentile form."""

import numpy as np

RESAMPLES = 1000


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
