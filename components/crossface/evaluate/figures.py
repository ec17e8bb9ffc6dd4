"""The figures, as SVG that follows the colours of the page it stands in."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from crossface.data.emotions import EMOTIONS, SPLITS
from crossface.evaluate.bias_rows import probe_rows
from crossface.evaluate.findings import signed_points
from crossface.measures.metrics import MODELS

# Told apart by people with any of the common colour vision deficiencies, and seen on black and on white:
# Okabe & Ito, "Color universal design", 2008, and P. Tol, "Colour schemes" (bright), 2021.
_DATASET_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_EMOTION_COLOURS = ("#CCBB44", "#AA3377", "#228833", "#66CCEE", "#4477AA", "#EE6677", "#999999")
_MARKERS = "o^sD"
_LONGEST = 24  # characters of a name in a figure
_ADAPTED = "#0072B2"
_SPLIT_COLOURS = {"train": "#4477AA", "dev": "#999999", "test": "#EE6677"}

# The colour of text and lines while drawing, so that it can be found in the SVG and replaced.
_INK = "#123457"
_FAINT = "#123458"

_STYLE = {
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched and themed
    "svg.hashsalt": "crossface",
    "text.parse_math": False,  # a dataset may be called a$b
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
}


class Drawing:
    """A finished figure: for the page, where it takes the colours of the text, and as a file of its own."""

    def __init__(self, name: str, description: str, figure: Figure) -> None:
        self.name = name
        self.description = description
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", dpi=160, metadata={"Date": None, "Creator": None})
        self._svg = buffer.getvalue()

    def inline(self) -> Markup:
        """SVG element for an HTML page, with its own ids and a description for screen readers."""
        svg = re.sub(
            r"<metadata>.*?</metadata>\s*", "", self._svg[self._svg.index("<svg") :], flags=re.DOTALL
        )
        svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)  # HTML knows these; no address is left in the page
        svg = re.sub(r'\bid="', f'id="{self.name}-', svg)
        svg = re.sub(r"url\(#", f"url(#{self.name}-", svg)
        svg = re.sub(r'href="#', f'href="#{self.name}-', svg)
        svg = svg.replace("'DejaVu Sans', sans-serif", "inherit").replace(_INK, "currentColor")
        svg = svg.replace(_FAINT, "var(--faint)")
        return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{escape(self.description)}" ', 1))  # noqa: S704

    def standalone(self) -> str:
        """SVG file: dark ink on a white ground."""
        svg = self._svg.replace(_INK, "#1b1e24").replace(_FAINT, "#8a8f98")
        return svg.replace("<defs>", '<rect width="100%" height="100%" fill="#ffffff"/>\n <defs>', 1)


def draw_all(metrics: Mapping[str, Any], bias: Mapping[str, Any], features: pa.Table) -> list[Drawing]:
    """Draw every figure of the report.

    Args:
        metrics: the content of ``metrics.json``.
        bias: the content of ``bias.json``.
        features: rows of ``FEATURE_SCHEMA``.
    """
    datasets = metrics["datasets"]
    with mpl.rc_context(_STYLE):
        most = max(_shares(part).max() for splits in bias["counts"].values() for part in splits.values())
        drawings = [
            _classes(index, name, bias["counts"][name], most) for index, name in enumerate(bias["datasets"])
        ]
        if comparison := metrics.get("comparison"):
            drawings.append(_comparison(comparison, datasets))
        for model in MODELS:
            if calibration := metrics["models"][model].get("calibration"):
                drawings.append(_reliability(model, calibration["per_dataset"]))
        if metrics["models"]["baseline"]["probe"]:
            drawings.append(_probes(probe_rows(metrics, bias)))
        for model in MODELS:
            shown = features.filter((pc.field("model") == model) & pc.field("umap_x").is_valid())
            if len(datasets) > 1:
                of_dataset = np.array([datasets.index(name) for name in shown["dataset"].to_pylist()])
                drawings.append(_umap(model, "dataset", shown, of_dataset, datasets, _DATASET_COLOURS))
            of_emotion = np.asarray(shown["emotion"])
            drawings.append(_umap(model, "emotion", shown, of_emotion, EMOTIONS, _EMOTION_COLOURS))
    return drawings


def _probes(rows: Sequence[tuple[str, dict[str, Any]]]) -> Drawing:
    figure = Figure(figsize=(3.9, 0.33 * len(rows) + 0.75), layout="constrained")
    axes = figure.subplots()
    chance = rows[0][1]["chance"]
    axes.axvline(chance, color=_INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.text(
        chance, 1.02, f"chance {chance:.1%}", transform=axes.get_xaxis_transform(), ha="center", fontsize=8
    )
    for place, (name, probe) in enumerate(rows):
        colour = {"Baseline features": _INK, "Adapted features": _ADAPTED}.get(name, "#8a8f98")
        _interval(axes, place, probe["accuracy"], probe["low"], probe["high"], colour)
    axes.set(xlim=(0, 1), xlabel="faces whose dataset is named rightly")
    axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    axes.xaxis.set_major_locator(mpl.ticker.MultipleLocator(0.25))
    _rows(axes, [name for name, _ in rows], [f"{probe['accuracy']:.1%}" for _, probe in rows])
    said = ", ".join(f"{name.lower()} {probe['accuracy']:.1%}" for name, probe in rows)
    description = f"Accuracy of dataset probes with 95% intervals: {said}; chance {chance:.1%}."
    return Drawing("probe", description, figure)


def _comparison(comparison: Mapping[str, Any], datasets: Sequence[str]) -> Drawing:
    keys = [*datasets, "average"] if len(datasets) > 1 else list(datasets)
    names = [*datasets, "Mean"][: len(keys)]
    found = [comparison[key] for key in keys]
    figure = Figure(figsize=(3.9, 0.38 * len(keys) + 1.05), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=_INK, linewidth=0.9, linestyle=(0, (4, 3)))
    measures = (("balanced_accuracy", -0.15, _ADAPTED), ("accuracy", 0.15, "#8a8f98"))
    for measure, offset, colour in measures:
        for place, differences in enumerate(found):
            value, low, high = (100 * differences[measure][key] for key in ("difference", "low", "high"))
            _interval(axes, place + offset, value, low, high, colour)
    axes.set_xlabel("points")
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(lambda points, _: signed_points(points / 100, decimals=0))
    values = [signed_points(row["balanced_accuracy"]["difference"]) for row in found]
    _rows(axes, names, values)
    handles = [Line2D([], [], marker="o", linestyle="", color=colour) for *_, colour in measures]
    labels = ["balanced accuracy", "accuracy"]
    _legend(figure, handles, labels, columns=2, loc="outside lower center")
    said = ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))
    description = f"Adapted minus baseline in points of balanced accuracy, with 95% intervals: {said}."
    return Drawing("comparison", description, figure)


def _reliability(model: str, per_dataset: Mapping[str, Any]) -> Drawing:
    names = list(per_dataset)
    figure = Figure(figsize=(3.9, 3.6 + _legend_height(names)), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=0.9, linestyle=(0, (4, 3)))
    for (colour, marker), errors in zip(
        _looks(len(names), _DATASET_COLOURS), per_dataset.values(), strict=True
    ):
        filled = [part for part in errors["bins"] if part["count"]]
        confidence, accuracy = ([part[key] for part in filled] for key in ("confidence", "accuracy"))
        faces = np.array([part["count"] for part in filled])
        sizes = 5 + 60 * faces / faces.sum()  # a bin of a few faces says little
        axes.plot(confidence, accuracy, color=colour, linewidth=0.8, alpha=0.7)
        axes.scatter(confidence, accuracy, s=sizes, color=colour, marker=marker, linewidths=0, clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="confidence", ylabel="accuracy")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
        axis.set_major_locator(mpl.ticker.MultipleLocator(0.25))
    _class_legend(figure, names, _DATASET_COLOURS, loc="outside lower center")
    said = ", ".join(f"{name} {errors['ece']:.1%}" for name, errors in per_dataset.items())
    description = f"Accuracy of the {model} model by its confidence; calibration error: {said}."
    return Drawing(f"reliability-{model}", description, figure)


def _interval(axes: Axes, place: float, value: float, low: float, high: float, colour: str) -> None:
    axes.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="round")
    axes.plot(value, place, "o", color=colour, markersize=5, clip_on=False)


def _rows(axes: Axes, names: Sequence[str], values: Sequence[str]) -> None:
    """Name the rows on the left, from top to bottom, and write a value to the right of each."""
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    right = axes.twinx()
    right.set_ylim(axes.get_ylim())
    right.set_yticks(range(len(names)), values)
    for labels in (axes, right):
        labels.spines["left"].set_visible(False)
        labels.tick_params(axis="y", length=0, pad=8)


def _classes(index: int, dataset: str, counts: Mapping[str, Sequence[int]], most: float) -> Drawing:
    figure = Figure(figsize=(3.3, 2.9), layout="constrained")
    axes = figure.subplots()
    splits = [split for split in SPLITS if sum(counts[split])]
    height = 0.8 / max(len(splits), 1)
    for place, split in enumerate(splits):
        rows = np.arange(len(EMOTIONS)) + (place - (len(splits) - 1) / 2) * height
        axes.barh(rows, _shares(counts[split]), height * 0.92, color=_SPLIT_COLOURS[split])
    axes.set_yticks(range(len(EMOTIONS)), EMOTIONS)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.03 * most)  # one scale for all datasets
    axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
    handles = [Line2D([], [], marker="s", linestyle="", color=_SPLIT_COLOURS[split]) for split in splits]
    sizes = [f"{split} {sum(counts[split]):,}" for split in splits]
    _legend(figure, handles, sizes, columns=3, loc="outside lower center")
    return Drawing(f"classes-{index}", f"Share of each emotion in {dataset}, by split.", figure)


def _shares(counts: Sequence[int]) -> np.ndarray:
    return np.array(counts) / max(sum(counts), 1)


def _umap(
    model: str, by: str, shown: pa.Table, classes: np.ndarray, names: Sequence[str], palette: Sequence[str]
) -> Drawing:
    # by hand, so that all panels of a row have one size, however wide a name in the legend is
    legend = _legend_height(names)
    figure = Figure(figsize=(3.9, 3.8 + legend))
    axes = figure.add_axes((0.01, legend / (3.8 + legend), 0.98, 3.78 / (3.8 + legend)))
    order = np.random.default_rng(0).permutation(len(classes))  # so that no class lies on top of the others
    looks = _looks(len(names), palette)
    colours = np.array([colour for colour, _ in looks])
    markers = np.array([marker for _, marker in looks])
    x, y = np.asarray(shown["umap_x"]), np.asarray(shown["umap_y"])
    size = float(np.clip(12000 / max(len(classes), 1), 4, 24))
    for marker in dict.fromkeys(markers.tolist()):
        part = order[markers[classes[order]] == marker]
        of_part = colours[classes[part]]
        axes.scatter(
            x[part], y[part], s=size, c=of_part, marker=marker, alpha=0.75, linewidths=0, rasterized=True
        )
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(True)
    place = (0.5, (legend - 0.02) / (3.8 + legend))
    _class_legend(figure, names, palette, loc="upper center", bbox_to_anchor=place)
    return Drawing(f"umap-{model}-{by}", f"UMAP of the {model} model's features, coloured by {by}.", figure)


def _looks(count: int, palette: Sequence[str]) -> list[tuple[str, str]]:
    """A colour and a marker for each of many classes: the colours come again with another marker."""
    return [
        (palette[index % len(palette)], _MARKERS[index // len(palette) % len(_MARKERS)])
        for index in range(count)
    ]


def _class_legend(figure: Figure, names: Sequence[str], palette: Sequence[str], **place: Any) -> None:
    handles = [
        Line2D([], [], marker=marker, linestyle="", color=colour)
        for colour, marker in _looks(len(names), palette)
    ]
    _legend(figure, handles, [_short(name) for name in names], columns=_legend_columns(names), **place)


def _legend_columns(names: Sequence[str]) -> int:
    """As many as stand beside each other: 3.9 inches hold some 60 characters."""
    return max(1, min(4, 60 // (max(len(_short(name)) for name in names) + 5)))


def _legend_height(names: Sequence[str]) -> float:
    """Inches."""
    return 0.06 + 0.22 * -(-len(names) // _legend_columns(names))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"


def _legend(
    figure: Figure, handles: Sequence[Line2D], labels: Sequence[str], columns: int, **place: Any
) -> None:
    figure.legend(handles, labels, ncols=columns, fontsize=8, handletextpad=0.1, columnspacing=1.2, **place)
