"""From an expression and its intensity to the action units of a face (FACS, Ekman & Friesen 1978)."""

from collections.abc import Mapping

import numpy as np

ActionUnits = Mapping[int, float]
"""Action unit number -> activation, about 0 (at rest) to 1 (full)."""

UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26)
"""1 inner brow raiser, 2 outer brow raiser, 4 brow lowerer, 5 upper lid raiser, 6 cheek raiser, 7 lid
tightener, 9 nose wrinkler, 10 upper lip raiser, 12 lip corner puller, 14 dimpler (one side), 15 lip corner
depressor, 17 chin raiser, 20 lip stretcher, 23 lip tightener, 25 lips part, 26 jaw drop."""

PROTOTYPES: dict[str, tuple[dict[int, float], ...]] = {
    "surprise": (
        {1: 1.0, 2: 1.0, 5: 0.8, 25: 0.9, 26: 0.9},
        {1: 0.9, 2: 1.0, 5: 0.9, 25: 0.5, 26: 0.4},
    ),
    "fear": (
        {1: 1.0, 2: 0.4, 4: 0.6, 5: 1.0, 20: 1.0, 25: 0.8, 26: 0.25},
        {1: 1.0, 2: 0.5, 4: 0.5, 5: 1.0, 20: 0.7, 25: 0.4},
    ),
    "disgust": (
        {4: 0.5, 6: 0.3, 7: 0.6, 9: 1.0, 10: 0.9, 15: 0.3, 17: 0.3, 25: 0.4},
        {4: 0.4, 7: 0.5, 9: 0.9, 10: 0.5, 15: 0.6, 17: 0.8},
    ),
    "happiness": (
        {6: 0.9, 12: 1.0, 25: 0.9, 26: 0.25},
        {6: 0.7, 12: 0.9, 25: 0.1},
    ),
    "sadness": (
        {1: 0.9, 4: 0.4, 7: 0.3, 15: 1.0, 17: 0.6},
        {1: 0.8, 4: 0.3, 15: 0.9, 17: 0.3, 25: 0.3, 20: 0.2},
    ),
    "anger": (
        {4: 1.0, 5: 0.4, 7: 0.6, 17: 0.4, 23: 1.0},
        {4: 1.0, 5: 0.5, 7: 0.7, 10: 0.5, 23: 0.3, 25: 0.9},
    ),
    "neutral": ({},),
    "contempt": ({12: 0.2, 14: 1.0},),
}
"""One or two ways to show each expression at full intensity."""

_JITTER = 0.05  # a face is never twice the same
_SPEECH = 0.10  # share of people caught speaking, which opens the mouth whatever they feel


def action_units(
    expression: str, intensity: float, rest: ActionUnits, rng: np.random.Generator
) -> dict[int, float]:
    """Draw the action units of one moment.

    Args:
        expression: a key of ``PROTOTYPES``.
        intensity: 0 (nothing to see) to 1.
        rest: the person's own face at rest, which an onlooker may take for an expression.
        rng: chooses the variant, the jitter and whether the person speaks.
    """
    variants = PROTOTYPES[expression]
    target = variants[int(rng.integers(len(variants)))]
    units = {}
    for unit in UNITS:
        strength = target.get(unit, 0.0) * rng.normal(1.0, 0.15) * intensity
        units[unit] = float(np.clip(rest.get(unit, 0.0) + strength + rng.normal(0.0, _JITTER), -0.2, 1.2))
    if rng.random() < _SPEECH:
        units[25] = max(units[25], float(rng.uniform(0.2, 0.7)))
        units[26] = max(units[26], float(rng.uniform(0.0, 0.3)))
    return units
