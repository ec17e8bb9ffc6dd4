"""The steps, and the image that each runs in."""

STEP_IMAGES = {
    "fingerprint": "data",
    "detect_changes": "data",
    "ingest": "data",
    "crop_faces": "data",
    "find_leakage": "data",
    "probe_bias": "torch",
    "train": "torch",
    "evaluate": "torch",
    "chart": "torch",
    "register": "torch",
    "pin_model": "data",
    "score": "torch",
    "finalize": "data",
}
"""Logical image of each step."""
