"""The model card says what an evaluation found, of whatever datasets, and fits where it goes."""

import json
import re

import pytest
from made_up import write_evaluation

from crossface.model.export import Agreement
from crossface.register.model_card import DESCRIPTION_LIMIT, Card, cut

SECTIONS = (
    "Intended use",
    "Out-of-scope use",
    "How to use it",
    "Data",
    "Method",
    "Metrics",
    "Groups of people",
    "Bias between datasets, before and after",
    "Calibration",
    "Export",
    "Limits",
)


def evaluated(folder, datasets, **settings):
    metrics = write_evaluation(folder, datasets, **settings)
    for model in metrics["models"].values():
        model |= {"feature_dim": 0, "heads": list(datasets) if model["adapt"] == "cda" else ["pooled"]}
        probes = [model["probe"], None] if model["probe"] else [None, None]
        model["within_emotion"] = [
            {"emotion": emotion, "probe": probe}
            for emotion, probe in zip(("fear", "anger"), probes, strict=True)
        ]
    return json.loads(json.dumps(metrics))


def card(metrics, precision="fp32") -> Card:
    return Card("faces", precision, Agreement(3.4e-7, 0.0123), 32, metrics)


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    return evaluated(tmp_path_factory.mktemp("made_up") / "two", ("rafdb", "a|b <script> `x`"), absent=1)


def section(text: str, title: str) -> str:
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(part: str) -> list[list[str]]:
    """Cells of the tables' rows, without heads."""
    lines = [line for line in part.splitlines() if line.startswith("|")]
    cells = (re.split(r"(?<!\\)\|", line.replace("\N{NO-BREAK SPACE}", " "))[1:-1] for line in lines)
    return [[cell.strip() for cell in row] for row in cells]


def test_card_has_all_sections_and_no_gaps(metrics):
    text = card(metrics).text()
    assert tuple(re.findall("^## (.*)$", text, re.MULTILINE)) == SECTIONS
    assert not re.search(r"\{[{%]|\bNone\b|nan|Undefined|TODO|(?<!\\)<[a-z]|\n{4,}", text)
    for title in SECTIONS:
        assert len(section(text, title)) > 80, title
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):  # every row has the cells of its head
        assert len({len(cells) for cells in rows(table)}) == 1, table
        assert re.match(r"\|[^\n]*\|\n\|(-+:?\|)+\n", table), table


def test_numbers_are_those_of_the_evaluation(metrics):
    text = card(metrics).text()
    new, old = (metrics["models"][name]["per_dataset"]["rafdb"]["mean"] for name in ("adapted", "baseline"))
    accuracies, balanced = [cells for cells in rows(section(text, "Metrics")) if cells[0] == "rafdb"][:2]
    assert accuracies[1] == "300"
    for cell, scores, measure in zip(
        (*accuracies[2:4], *balanced[1:3]),
        (new, old, new, old),
        ("accuracy", "accuracy", "balanced_accuracy", "balanced_accuracy"),
        strict=True,
    ):
        value, low, high = (100 * scores[f"{measure}{end}"] for end in ("", "_low", "_high"))
        assert cell == f"{value:.1f} [{low:.1f}, {high:.1f}]"
    recalls = rows(section(text, "Metrics"))[-2]
    assert recalls[:3] == ["rafdb", f"{100 * new['recall'][0]:.1f}", "\N{EN DASH}"]  # there is no fear in it
    female = metrics["models"]["adapted"]["subgroups"]["rafdb"]["gender"]["groups"]["female"]
    group = next(cells for cells in rows(section(text, "Groups of people")) if cells[2] == "female")
    assert group[3:5] == [
        str(female["n"]),
        f"{100 * female['accuracy']:.1f} [{100 * female['low']:.1f}, {100 * female['high']:.1f}]",
    ]
    bias = rows(section(text, "Bias between datasets, before and after"))
    assert bias[2] == ["all expressions", "80.0 [77.0, 83.0]", "70.0 [67.0, 73.0]"]
    assert [cells[0] for cells in bias[3:]] == ["fear (chance 50.0)"]
    calibration = metrics["models"]["adapted"]["calibration"]
    errors = calibration["per_dataset"]["rafdb"]
    assert f"T = {calibration['temperature']:.3f}" in text
    assert rows(section(text, "Calibration"))[2][1:] == [
        f"{100 * errors['ece']:.1f}",
        f"{100 * errors['ece_scaled']:.1f}",
    ]
    assert "3e-07" in section(text, "Export")


def test_data_have_licence_and_revision_where_they_are_known(metrics):
    metrics = json.loads(json.dumps(metrics))
    metrics["data"][0] |= {"format": "rafdb", "revision": "2026-01"}
    metrics["leakage"] = {
        "faces": [
            {"dataset": "rafdb", "split": "train", "count": 12000},
            {"dataset": "rafdb", "split": "train", "count": 271},
            {"dataset": "a|b <script> `x`", "split": "dev", "count": 3},
        ],
        "policy": "drop_from_train",
        "dropped": 17,
    }
    text = card(metrics).text()
    known, unknown = rows(section(text, "Data"))[2:]
    assert known[:6] == ["rafdb", "rafdb", "2026-01", "12,271", "0", "0"]
    assert "RAF-DB: non-commercial research only" in known[6]
    assert unknown[:4] == [r"a\|b \<script\> \`x\`", "not stated", "not stated", "0"]
    assert unknown[6] == "not stated"
    assert "17 faces were left out of training (policy drop\\_from\\_train)" in text
    assert "non-commercial research only" in card(metrics).description()
    metrics["data"][0]["licence"] = "ours | CC0"
    own = card(metrics)
    assert r"| ours \| CC0 |" in own.text()
    assert r"| ours \| CC0 |" in own.description()
    assert "non-commercial research only" not in own.description()


def test_int8_says_whose_numbers_are_whose(metrics):
    told = card(metrics, "int8")
    export = section(told.text(), "Export")
    assert "1.2 % of the\nfaces are given another expression" in export
    assert "its own, but for the bias between datasets" in export
    assert "1.2 % of 32 test faces get another expression" in told.description()
    assert "another expression" not in card(metrics).description()


def test_one_dataset_without_groups(tmp_path):
    metrics = evaluated(tmp_path / "one", ("faces",))
    for model in metrics["models"].values():
        model["subgroups"] = {}
    text = card(metrics).text()
    assert "there is one dataset only" in section(text, "Bias between datasets, before and after")
    assert "is unknown" in section(text, "Groups of people")
    assert "there is one head only" in text
    assert "could not be measured" in card(metrics).description()


def test_description_of_forty_datasets_fits(metrics):
    metrics = json.loads(json.dumps(metrics))
    metrics["datasets"] = names = [f"dataset_number_{index}" for index in range(40)]
    metrics["data"] = [{**metrics["data"][0], "format": "affectnet"}] * 40
    for model in metrics["models"].values():
        model["per_dataset"] = dict.fromkeys(names, model["per_dataset"]["rafdb"])
        model["calibration"]["per_dataset"] = dict.fromkeys(
            names, model["calibration"]["per_dataset"]["rafdb"]
        )
    text = card(metrics).description()
    assert DESCRIPTION_LIMIT - 300 < len(text) <= DESCRIPTION_LIMIT
    assert text.endswith("README.md, among the files of the model.)\n")
    assert len({len(cells) for cells in rows(text)}) == 1, "a row is cut"
    assert "**Intended**" in text
    assert len(rows(section(card(metrics).text(), "Data"))) == 42


def test_cut_is_exact():
    assert cut("a\n" * 50, 100) == "a\n" * 50
    assert cut("a\n" * 51, 100).startswith("a\na\n")
    for length in range(100, 140):
        assert len(cut("ab\n" * 60, length)) <= length
        assert cut("ab\n" * 60, length).partition("\n\n(Cut")[0].endswith("ab")
