"""Do the probabilities say how often the model is right?

Expected calibration error (Naeini, Cooper & Hauskrecht, AAAI 2015, section "Calibration Metrics"; Guo et al.,
"On Calibration of Modern Neural Networks", ICML 2017, equations 3 and 5) and temperature scaling (Guo et al.,
equation 9). A mean over heads has no logits of its own, so its log probabilities take their place.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from crossface.measures.metrics import by_dataset, stack

BINS = 15

_RANGE = (0.05, 20.0)  # of the temperature; where every face is right the likelihood has no maximum
_TINY = np.finfo(np.float32).tiny  # a probability that is 0 in float32 would have no logarithm


@dataclass(frozen=True)
class Bin:
    """The faces whose top probability is in one bin; None where there are none."""

    confidence: float | None
    """Mean top probability."""
    accuracy: float | None
    """Share of them that are right."""
    count: int


def calibrate(dev: pa.Table, test: pa.Table) -> dict[str, Any]:
    """Fit one temperature of the mean head on dev, and measure its calibration on test.

    Args:
        dev: rows of ``PREDICTION_SCHEMA`` of one model, faces of the split dev.
        test: the same of the split test.

    Returns:
        ``{"temperature": T, "per_dataset": {dataset: {"ece", "ece_scaled", "bins"}}}``, plain JSON values;
        ``bins`` are those of the unscaled probabilities; the scaled ones are deployed.
    """
    return calibration_at(fit_temperature(np.asarray(dev["emotion"]), stack(dev["mean"])), test)


def calibration_at(temperature: float, test: pa.Table) -> dict[str, Any]:
    """The same with a temperature that is given."""
    per_dataset = {}
    for name, rows in by_dataset(test):
        emotions, probabilities = np.asarray(rows["emotion"]), stack(rows["mean"])
        bins = reliability(emotions, probabilities)
        scaled = reliability(emotions, scale(probabilities, temperature))
        per_dataset[name] = {
            "ece": expected_calibration_error(bins),
            "ece_scaled": expected_calibration_error(scaled),
            "bins": [asdict(found) for found in bins],
        }
    return {"temperature": temperature, "per_dataset": per_dataset}


def reliability(emotions: np.ndarray, probabilities: np.ndarray) -> list[Bin]:
    """The reliability curve: :data:`BINS` equally wide bins ``(low, high]`` of the top probability.

    Args:
        emotions: true classes, int64 [n], n > 0.
        probabilities: float [n, 7].
    """
    confidence = probabilities.max(1).astype(np.float64)
    right = probabilities.argmax(1) == emotions
    place = np.digitize(confidence, np.linspace(0, 1, BINS + 1)[1:-1], right=True)
    return [_bin(confidence[place == index], right[place == index]) for index in range(BINS)]


def expected_calibration_error(bins: list[Bin]) -> float:
    """Distance of accuracy from confidence, averaged over the faces: 0 to 1."""
    total = sum(found.count for found in bins)
    return sum(
        found.count / total * abs(found.accuracy - found.confidence)
        for found in bins
        if found.accuracy is not None and found.confidence is not None
    )


def fit_temperature(emotions: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature that makes the labels likeliest; above 1 the model was too sure of itself.

    Args:
        emotions: true classes, int64 [n], n > 0.
        probabilities: float [n, 7].

    Returns:
        between 0.05 and 20.
    """
    logs = _logarithms(probabilities)

    def negative_log_likelihood(log_temperature: float) -> float:
        scaled = log_softmax(logs / np.exp(log_temperature), axis=1)
        return -float(scaled[np.arange(len(emotions)), emotions].mean())

    # convex in 1/T, so it has one minimum in log T
    found = minimize_scalar(negative_log_likelihood, bounds=np.log(_RANGE), method="bounded")
    return float(np.exp(found.x))


def scale(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities float [n, 7] to the power of 1/T, summing to 1 again: float64 [n, 7]."""
    return softmax(_logarithms(probabilities) / temperature, axis=1)


def _bin(confidence: np.ndarray, right: np.ndarray) -> Bin:
    if not len(right):
        return Bin(None, None, 0)
    return Bin(float(confidence.mean()), float(right.mean()), len(right))


def _logarithms(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities.astype(np.float64), _TINY))
