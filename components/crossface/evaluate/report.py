"""``report.html``: one file that needs no network, rendered from the files of an evaluation alone."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from crossface.data.emotions import EMOTIONS
from crossface.evaluate.copies import copies, leakage_of
from crossface.evaluate.figures import Drawing, draw_all, probe_rows
from crossface.evaluate.findings import findings, signed_points

PREDICTIONS_FILE = "predictions.parquet"
FEATURES_FILE = "features.parquet"
METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
FIGURES_FOLDER = "figures"

_MEASURES = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "macro_f1": "Macro F1"}


def write_report(evaluation: Path, bias: dict[str, Any]) -> None:
    """Render ``report.html`` and ``figures/*.svg`` into the folder of an evaluation.

    Args:
        evaluation: holds ``metrics.json`` and ``features.parquet``.
        bias: the content of ``bias.json``.
    """
    metrics = json.loads((evaluation / METRICS_FILE).read_text())
    drawings = draw_all(metrics, bias, pq.read_table(evaluation / FEATURES_FILE))
    figures = evaluation / FIGURES_FOLDER
    figures.mkdir(exist_ok=True)
    for drawing in drawings:
        (figures / f"{drawing.name}.svg").write_text(drawing.standalone())
    (evaluation / REPORT_FILE).write_text(render(metrics, bias, drawings))


def render(metrics: dict[str, Any], bias: dict[str, Any], drawings: list[Drawing]) -> str:
    """The page as text.

    Args:
        metrics: the content of ``metrics.json``.
        bias: the content of ``bias.json``.
        drawings: of :func:`crossface.evaluate.figures.draw_all`.
    """
    environment = Environment(
        loader=PackageLoader("crossface.evaluate"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    leakage = leakage_of(metrics)
    settings = {"evaluate": metrics["settings"], "probe_bias": bias["settings"]}
    if leakage:
        settings["find_leakage"] = leakage.settings
    environment.filters |= {"percent": _percent, "signed": signed_points, "plain": _plain}
    return environment.get_template("report.html.j2").render(
        metrics=metrics,
        bias=bias,
        findings=findings(metrics),
        figures={drawing.name: drawing.inline() for drawing in drawings},
        probes=probe_rows(metrics, bias),
        leakage=leakage,
        copies=copies(leakage) if leakage else (),
        measures=_MEASURES,
        emotions=EMOTIONS,
        settings={step: _flatten(values) for step, values in settings.items()},
        style=Markup(_STYLE_FILE.read_text()),  # noqa: S704  our own file
    )


_STYLE_FILE = Path(__file__).parent / "templates" / "report.css"


def _percent(share: float | None, decimals: int = 1) -> str:
    """A share as a percentage without its sign, which the caption says once; a dash where undefined."""
    return "\N{EN DASH}" if share is None else f"{100 * share:.{decimals}f}"


def _plain(value: Any) -> str:
    """A setting as one would write it in YAML."""
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return json.dumps(value) if not isinstance(value, str) else value


def _flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
