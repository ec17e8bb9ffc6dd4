"""Settings that belong together, by name. What a configuration says itself goes before its preset."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

PRESETS: dict[str, dict[str, Any]] = {
    # what Han et al. (IEEE Access 2020) say; they leave open, or give twice, what is not here
    "paper": {
        "backbone": "resnet50",
        "feature_dim": 1000,
        "image_size": 100,
        "epochs": 120,
        "sampling": "natural",
        "clip_norm": 0,
        "loss": "ace",
        "label_smoothing": 0,
        "ace_alpha": "steps",
        "ace_normalize": False,
        "adversary": {
            "lambda_max": 1,
            "loss": "ace",
            "ace_alpha": "steps",
            "smoothing": 0,
            "normalize": False,
            "lr": 0,
        },
        "label_extractor": {"kind": "shared", "lambda_max": 1, "balanced": False},
    },
    # steadier on data smaller than the paper's
    "robust": {
        "sampling": "balanced",
        "clip_norm": 1,
        "adversary": {"lambda_max": 0.2, "smoothing": 0.1, "normalize": True},
        "label_extractor": {"lambda_max": 0.1},
    },
}


def with_preset(values: Any) -> Any:
    """Fill in from the preset that ``values`` name; anything else is left to validation."""
    if not isinstance(values, Mapping):
        return values
    return _merge(PRESETS.get(str(values.get("preset", "")), {}), values)


def _merge(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**defaults, **given}
    for key, value in defaults.items():
        if isinstance(value, Mapping) and key in given:
            own = given[key]
            own = own.model_dump(exclude_unset=True) if isinstance(own, BaseModel) else own
            merged[key] = _merge(value, own) if isinstance(own, Mapping) else own
    return merged
