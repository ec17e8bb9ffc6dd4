"""``report.html``: one file that needs no network, rendered from the files of an evaluation alone."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from crossface.data.emotions import EMOTIONS
from crossface.evaluate import paper
from crossface.evaluate.bias_rows import bias_table, probe_rows
from crossface.evaluate.copies import copies, leakage_of
from crossface.evaluate.downloads import downloads
from crossface.evaluate.figures import Drawing, draw_all
from crossface.evaluate.findings import findings, signed_points
from crossface.evaluate.study import models_of, of_paper, trained_rows
from crossface.evaluate.summary import markdown

PREDICTIONS_FILE = "predictions.parquet"
FEATURES_FILE = "features.parquet"
METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
SUMMARY_FILE = "summary.md"
FIGURES_FOLDER = "figures"

_BIAS_MEASURES = ("within_emotion", "a_distance", "mmd")
_MEASURES = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "macro_f1": "Macro F1"}


def write_report(evaluation: Path, bias: dict[str, Any]) -> None:
    """Write ``report.html``, ``summary.md`` and ``figures/*.svg`` into the folder of an evaluation.

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
    (evaluation / SUMMARY_FILE).write_text(markdown(metrics))
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
    environment.filters |= {
        "percent": _percent,
        "signed": signed_points,
        "plain": _plain,
        "p_value": _p_value,
        "of_row": _of_row,
    }
    return environment.get_template("report.html.j2").render(
        metrics=metrics,
        bias=bias,
        findings=findings(metrics),
        sections=dict(_sections(metrics)),
        downloads=downloads(metrics, bias),
        figures={drawing.name: drawing.inline() for drawing in drawings},
        probes=probe_rows(metrics, bias),
        trained_rows=trained_rows(metrics),
        recalls={name: models_of(metrics, name) for name in metrics["datasets"]},
        of_paper=of_paper(metrics),
        published=paper.PUBLISHED,
        paper_probe=paper.DATASET_PROBE,
        bias_tables={measure: bias_table(metrics, bias, measure) for measure in _BIAS_MEASURES},
        leakage=leakage,
        copies=copies(leakage) if leakage else (),
        measures=_MEASURES,
        emotions=EMOTIONS,
        settings={step: _flatten(values) for step, values in settings.items()},
        style=Markup(_STYLE_FILE.read_text()),  # noqa: S704  our own file
    )


def _sections(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Template and title of every section that there is something to say in, in their order."""
    models = metrics["models"].values()
    yield "gate", "The gate"
    yield "accuracy", "Accuracy"
    yield "recall", "Recall matrices"
    if any(metrics["cross_dataset"].values()):
        yield "cross_dataset", "Across datasets"
    if any(model.get("calibration") for model in models):
        yield "calibration", "Calibration"
    if any(model.get("subgroups") for model in models):
        yield "groups", "Groups of people"
    yield "bias", "Dataset bias"
    if metrics["models"]["adapted"]["tables"]:
        yield "learned", "Learned labels"
    if metrics.get("label_issues"):
        yield "labels", "Doubtful labels"
    yield "features", "Features"
    yield "data", "The data"
    yield "settings", "Settings and versions"


_STYLE_FILE = Path(__file__).parent / "templates" / "report.css"


def _percent(share: float | None, decimals: int = 1) -> str:
    """A share as a percentage without its sign, which the caption says once; a dash where undefined."""
    return "\N{EN DASH}" if share is None else f"{100 * share:.{decimals}f}"


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _of_row(matrix: Sequence[Sequence[float]]) -> list[list[float | None]]:
    """Shares of the whole as shares of their row; None throughout an empty row."""
    return [[share / sum(row) if sum(row) else None for share in row] for row in matrix]


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
