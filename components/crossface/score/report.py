"""``drift.json``, and the same as a page: ``drift.html``, one file that needs neither network nor script."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossface.score.drift import EXPRESSIONS, FALSE_ALARMS, SOME, STRONG, Verdict

DRIFT_FILE = "drift.json"
REPORT_FILE = "drift.html"

_TONES = {Verdict.NONE: "good", Verdict.SOME: "open", Verdict.STRONG: "bad", Verdict.UNKNOWN: "open"}
_MEANINGS = {
    "confidence": "probability of the likeliest expression",
    "brightness": "mean of luma, 0 to 1",
    "contrast": "standard deviation of luma",
    "sharpness": "variance of the Laplacian of luma",
    "colourfulness": "Hasler and Suesstrunk",
    "face_px": "longer side of the face in the photo, pixels",
    "jpeg_quantisation": "mean of the luma table; 0: no JPEG",
}


def write_report(document: Mapping[str, Any], folder: Path) -> None:
    """Write both files into an existing folder."""
    (folder / DRIFT_FILE).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")
    (folder / REPORT_FILE).write_text(render(document))


def render(document: Mapping[str, Any]) -> str:
    """The page as text.

    Args:
        document: the content of ``drift.json``.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("crossface.score"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = _short
    return environment.get_template("drift.html.j2").render(
        document=document,
        tones=_TONES,
        meanings=_MEANINGS,
        mix=document["drifts"].get(EXPRESSIONS),
        some=SOME,
        strong=STRONG,
        false_alarms=FALSE_ALARMS,
    )


def _short(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
