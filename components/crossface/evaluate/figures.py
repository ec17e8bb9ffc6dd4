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
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from crossface.data.emotions import EMOTIONS, SPLITS
from crossface.evaluate.metrics import MODELS

# Told apart by people with any of the common colour vision deficiencies, and seen on black and on white:
# Okabe & Ito, "Color universal design", 2008, and P. Tol, "Colour schemes" (bright), 2021.
_DATASET_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_EMOTION_COLOURS = ("#CCBB44", "#AA3377", "#228833", "#66CCEE", "#4477AA", "#EE6677", "#999999")
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


def probe_rows(metrics: Mapping[str, Any], bias: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """All dataset probes that there are, with what they read, in the order of the report."""
    rows = [
        ("Baseline features", metrics["models"]["baseline"]["probe"]),
        ("Adapted features", metrics["models"]["adapted"]["probe"]),
        ("Untrained features", bias["probes"]["untrained"]),
        ("Capture statistics", bias["probes"]["capture"]),
        ("Random parts", bias["probes"]["random_parts"]),
    ]
    return [(name, probe) for name, probe in rows if probe]


def _probes(rows: Sequence[tuple[str, dict[str, Any]]]) -> Drawing:
    figure = Figure(figsize=(3.9, 0.33 * len(rows) + 0.75), layout="constrained")
    axes = figure.subplots()
    chance = rows[0][1]["chance"]
    axes.axvline(chance, color=_INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.text(
        chance, 1.02, f"chance {chance:.1%}", transform=axes.get_xaxis_transform(), ha="center", fontsize=8
    )
    for place, (name, probe) in enumerate(rows):
        colour = {"Baseline features": _INK, "Adapted features": "#0072B2"}.get(name, "#8a8f98")
        ends = [probe["low"], probe["high"]]
        axes.plot(ends, [place, place], color=colour, linewidth=2.2, solid_capstyle="round")
        axes.plot(probe["accuracy"], place, "o", color=colour, markersize=5, clip_on=False)
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), xlabel="faces whose dataset is named rightly")
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    axes.xaxis.set_major_locator(mpl.ticker.MultipleLocator(0.25))
    values = axes.twinx()  # a second column of labels, on the right
    values.set_ylim(axes.get_ylim())
    values.set_yticks(range(len(rows)), [f"{probe['accuracy']:.1%}" for _, probe in rows])
    for labels in (axes, values):
        labels.spines["left"].set_visible(False)
        labels.tick_params(axis="y", length=0, pad=8)
    said = ", ".join(f"{name.lower()} {probe['accuracy']:.1%}" for name, probe in rows)
    description = f"Accuracy of dataset probes with 95% intervals: {said}; chance {chance:.1%}."
    return Drawing("probe", description, figure)


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
    figure = Figure(figsize=(3.9, 4.3))
    axes = figure.add_axes((0.01, 0.115, 0.98, 0.88))  # by hand, so that all four panels have one size
    order = np.random.default_rng(0).permutation(len(classes))  # so that no class lies on top of the others
    colours = np.array([palette[index % len(palette)] for index in range(len(names))])
    x, y = np.asarray(shown["umap_x"]), np.asarray(shown["umap_y"])
    size = float(np.clip(12000 / max(len(classes), 1), 4, 24))
    axes.scatter(
        x[order], y[order], s=size, c=colours[classes[order]], alpha=0.75, linewidths=0, rasterized=True
    )
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(True)
    handles = [Line2D([], [], marker="o", linestyle="", color=colour) for colour in colours]
    _legend(figure, handles, names, columns=4, loc="upper center", bbox_to_anchor=(0.5, 0.11))
    return Drawing(f"umap-{model}-{by}", f"UMAP of the {model} model's features, coloured by {by}.", figure)


def _legend(
    figure: Figure, handles: Sequence[Line2D], labels: Sequence[str], columns: int, **place: Any
) -> None:
    figure.legend(handles, labels, ncols=columns, fontsize=8, handletextpad=0.1, columnspacing=1.2, **place)
