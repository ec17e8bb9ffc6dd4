"""The model card (Mitchell et al., FAT* 2019), from the content of ``metrics.json``."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from crossface.markdown import plain
from crossface.model.export import Agreement
from crossface.register.licences import LICENCES, Licence

Precision = Literal["fp32", "int8"]

DESCRIPTION_LIMIT = 5000
"""Characters of a version's description that MLflow keeps on PostgreSQL; SQLite takes more."""

_CUT = "\n\n(Cut here. All of it is in README.md, among the files of the model.)\n"

_METHODS = {
    "none": "One head, trained on the faces of all datasets as if they were one.",
    "heads": "A head for each dataset on a shared backbone, each trained on the faces of its own dataset.",
    "dann": (
        "One head for all datasets, and a dataset classifier whose reversed gradient takes from the features "
        "what tells the datasets apart (domain-adversarial training, Ganin et al., JMLR 2016)."
    ),
    "coral": (
        "One head for all datasets, on features whose covariance is drawn to be the same in every dataset "
        "(Deep CORAL, Sun & Saenko, ECCV Workshops 2016)."
    ),
    "cda": (
        "A head for each dataset on a shared backbone, and a dataset classifier on features and labels "
        "whose reversed gradient takes from both what tells the datasets apart (cross-dataset adaptation, "
        "Han et al., IEEE Access 2020, doi:10.1109/ACCESS.2020.3018738)."
    ),
}
"""By ``adapt`` of the training."""


@dataclass(frozen=True)
class Card:
    """What a model card is made of."""

    name: str
    """Of the registered model."""
    precision: Precision
    agreement: Agreement
    """Of the network with the trained one in torch or, in int8, with the network in fp32."""
    sample_faces: int
    """On which the agreement was measured."""
    metrics: Mapping[str, Any]
    """The content of ``metrics.json``."""

    def text(self) -> str:
        """The whole card, Markdown."""
        return self._render("model_card.md.j2")

    def description(self) -> str:
        """The same in short, at most :data:`DESCRIPTION_LIMIT` characters."""
        return cut(self._render("description.md.j2"))

    def _render(self, template: str) -> str:
        environment = Environment(
            loader=PackageLoader("crossface.register"),
            autoescape=False,  # noqa: S701  Markdown; names go through the filter "plain"
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        environment.filters |= {
            "plain": plain,
            "percent": _percent,
            "signed": _signed,
            "interval": _interval,
            "estimate": _estimate,
        }
        return environment.get_template(template).render(
            card=self,
            metrics=self.metrics,
            emotions=self.metrics["emotions"],
            baseline=self.metrics["models"]["baseline"],
            adapted=self.metrics["models"]["adapted"],
            method=_METHODS[self.metrics["models"]["adapted"]["adapt"]],
            data=list(_data(self.metrics)),
            leakage=self.metrics["leakage"],
            groups=list(_groups(self.metrics)),
            within=list(_within(self.metrics)),
        )


def cut(text: str, limit: int = DESCRIPTION_LIMIT) -> str:
    """The text, or as many of its first lines as fit, and a word about where the rest is."""
    if len(text) <= limit:
        return text
    return text[: text.rindex("\n", 0, limit - len(_CUT) + 1)] + _CUT


class _Dataset(NamedTuple):
    name: str
    layout: str | None
    revision: str | None
    faces: Mapping[str, int]
    """By split; empty where they were not counted."""
    licence: Licence | None
    """The publisher's, for a format that has one."""
    own_licence: str
    """What the user says of the copy, which goes before it."""


class _Group(NamedTuple):
    dataset: str
    attribute: str
    group: str
    n: int
    before: Mapping[str, float]
    after: Mapping[str, float]


def _data(metrics: Mapping[str, Any]) -> Iterator[_Dataset]:
    faces: dict[str, Counter[str]] = {name: Counter() for name in metrics["datasets"]}
    for row in metrics["leakage"]["faces"] if metrics["leakage"] else ():
        faces[row["dataset"]][row["split"]] += row["count"]
    for name, source in zip(metrics["datasets"], metrics["data"], strict=True):
        layout, revision = (source["format"], source["revision"]) if source else (None, None)
        own = source["licence"] if source else ""
        yield _Dataset(name, layout, revision or None, faces[name], LICENCES.get(layout or ""), own)


def _groups(metrics: Mapping[str, Any]) -> Iterator[_Group]:
    before, after = (metrics["models"][name]["subgroups"] for name in ("baseline", "adapted"))
    for dataset, attributes in after.items():
        for attribute, scores in attributes.items():
            old = before[dataset][attribute]["groups"]  # the same faces, so the same groups
            for group, found in scores["groups"].items():
                yield _Group(dataset, attribute, group, found["n"], old[group], found)


def _within(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Emotion and the probes of both models among its faces, where they could be measured."""
    entries = (metrics["models"][name]["within_emotion"] for name in ("baseline", "adapted"))
    for old, new in zip(*entries, strict=True):
        if old["probe"] and new["probe"]:
            yield new["emotion"], old["probe"], new["probe"]


def _percent(share: float | None) -> str:
    return "\N{EN DASH}" if share is None else f"{100 * share:.1f}"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}"


def _interval(found: Mapping[str, float], prefix: str = "") -> str:
    return f"[{100 * found[f'{prefix}low']:.1f}, {100 * found[f'{prefix}high']:.1f}]"


def _estimate(found: Mapping[str, float], measure: str = "accuracy", prefix: str = "") -> str:
    """In %, with its interval on the same line."""
    return f"{_percent(found[measure])} {_interval(found, prefix)}".replace(" ", "\N{NO-BREAK SPACE}")
