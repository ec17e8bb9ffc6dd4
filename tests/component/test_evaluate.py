"""evaluate end to end: real crops, small real networks, a report that says what the numbers say."""

import io
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from crossface.data.crops import CAPTURE, ShardWriter
from crossface.data.rejects import write_rejects
from crossface.errors import ConfigError, DataError
from crossface.evaluate.__main__ import main
from crossface.evaluate.config import EvaluateConfig
from crossface.evaluate.evaluation import evaluate, probe_features
from crossface.evaluate.gate import decide
from crossface.evaluate.metrics import gain_interval, measure, stack
from crossface.evaluate.report import write_report
from crossface.evaluate.tables import FEATURE_SCHEMA, PREDICTION_SCHEMA
from crossface.model.config import NetConfig
from crossface.model.networks import CrossfaceNet
from crossface.model.saving import save_model
from crossface.probe_bias.config import ProbeConfig
from crossface.probe_bias.measure import probe_bias

HOSTILE = 'a<script>alert(1)</script>$\\frac$ & "b"'
CONFIG = EvaluateConfig.parse(
    {
        "probe": {"max_per_cell": 8, "folds": 3, "permutations": 2},
        "umap_faces": 40,
        "umap_neighbours": 5.0,  # as KFP hands it over
        "gate": {"min_balanced_accuracy": 0, "max_drop": 1, "probe_must_fall": False},
    }
)
PROBE = ProbeConfig(backbone="resnet8", feature_dim=8, image_size=32, max_per_cell=8, folds=3, permutations=2)


def write_crops(folder: Path, dataset: str, brightness: float, splits=("dev", "test", "test")) -> Path:
    rng = np.random.default_rng(int(brightness))
    folder.mkdir(parents=True)
    writer = ShardWriter(folder)
    for index in range(60):
        pixels = rng.normal(brightness, 25, (32, 32, 3)).clip(0, 255).astype(np.uint8)
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "PNG")
        writer.write(
            {
                "face_id": f"{folder.name}/{index}",
                "dataset": dataset,
                "split": splits[index // 4 % len(splits)],
                "emotion": (0, 3, 5, 6)[index % 4],  # fear, disgust and sadness are absent
                "image": {"bytes": encoded.getvalue(), "path": f"{index}.png"},
                "group": f"{folder.name}/{index // 2}",
                "attributes": None,
                "capture": {field.name: 1.0 for field in CAPTURE},
                "phash": index,
            }
        )
    writer.close()
    write_rejects([], folder)
    return folder


def write_model(folder: Path, adapt: str, heads: tuple[str, ...], image_size: int) -> Path:
    torch.manual_seed(len(heads))
    folder.mkdir()
    config = NetConfig(backbone="resnet8", feature_dim=8, image_size=image_size, heads=heads, adapt=adapt)
    save_model(CrossfaceNet(config), folder)
    return folder


class Inputs:
    """What evaluate reads, for two datasets, one of them with a hostile name."""

    def __init__(self, root: Path) -> None:
        self.crops = [write_crops(root / "dark", "dark", 60), write_crops(root / "hostile", HOSTILE, 190)]
        self.baseline = write_model(root / "baseline", "none", ("pooled",), 32)
        self.adapted = write_model(root / "adapted", "cda", ("dark", HOSTILE), 40)
        self.bias = root / "bias"
        probe_bias(self.crops, PROBE, self.bias)
        self.out = root / "evaluation"
        self.found = evaluate(self.crops, self.baseline, self.adapted, self.bias, CONFIG, self.out)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("evaluate"))


@pytest.fixture
def metrics(inputs) -> dict:
    return json.loads((inputs.out / "metrics.json").read_text())


class Page(HTMLParser):
    """Tags that are opened and closed, attributes, and the text that a reader sees."""

    VOID = frozenset({"meta", "link", "br", "img", "hr", "input"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(path.read_text())
        assert self._open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if not self._open or self._open[-1] != "style":
            self.words.append(data)


def test_metrics_follow_from_the_tables(inputs, metrics):
    predictions = pq.read_table(inputs.out / "predictions.parquet", schema=PREDICTION_SCHEMA)
    features = pq.read_table(inputs.out / "features.parquet", schema=FEATURE_SCHEMA)
    for model, found in measure(predictions).items():
        assert metrics["models"][model]["per_dataset"] == found["per_dataset"]
        assert metrics["models"][model]["average"] == found["average"]
        probe = json.loads(json.dumps(vars(probe_features(features, model, CONFIG))))
        assert metrics["models"][model]["probe"] == probe
    assert metrics["gain"] == gain_interval(predictions, CONFIG.seed)
    verdict = decide(metrics, CONFIG.gate)
    assert metrics["verdict"] == {"passed": verdict.passed, "reasons": list(verdict.reasons)}


def test_every_test_face_is_predicted_once_by_each_model(inputs, metrics):
    predictions = pq.read_table(inputs.out / "predictions.parquet")
    assert predictions.num_rows == 2 * 2 * 40
    assert (
        len(set(zip(*(predictions[name].to_pylist() for name in ("model", "face_id")), strict=True))) == 160
    )
    for head in ("own", "mean"):
        assert stack(predictions[head]).sum(1) == pytest.approx(1, abs=1e-5)
    pooled = predictions.filter(pc.field("model") == "baseline")
    assert pooled["own"] == pooled["mean"]  # one pooled head is nobody's own
    heads = predictions.filter(pc.field("model") == "adapted")
    assert heads["own"] != heads["mean"]
    scores = metrics["models"]["adapted"]["per_dataset"]["dark"]["mean"]
    assert (scores["n"], scores["recall"][1], scores["recall_matrix"][1]) == (40, None, [None] * 7)


def test_features_are_bounded_and_the_same_faces_for_both_models(inputs):
    features = pq.read_table(inputs.out / "features.parquet")
    baseline, adapted = (features.filter(pc.field("model") == name) for name in ("baseline", "adapted"))
    assert baseline["face_id"] == adapted["face_id"]
    assert baseline.num_rows == 2 * 4 * 8
    assert len(baseline["umap_x"].drop_null()) == 40
    assert stack(baseline["features"]).shape == (64, 8)


def test_report_is_whole_and_needs_no_network(inputs):
    text = (inputs.out / "report.html").read_text()
    page = Page(inputs.out / "report.html")
    assert "script" not in page.tags
    assert not re.search(r"(https?:)?//[a-z]|@import", re.sub(r"base64,[\w+/=\s]+", "", text))
    for _, name, value in page.attributes:
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("data:", "#"))
    figures = {path.stem for path in (inputs.out / "figures").iterdir()}
    assert figures == {"probe", "classes-0", "classes-1"} | {
        f"umap-{model}-{by}" for model in ("baseline", "adapted") for by in ("dataset", "emotion")
    }
    assert text.count('<svg role="img" aria-label=') == len(figures) == page.tags.count("svg")
    assert page.tags.count("figcaption") == page.tags.count("figure") == len(figures)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert page.tags.count("caption") == page.tags.count("table")


def test_report_shows_the_numbers_of_metrics_json(inputs, metrics):
    page = Page(inputs.out / "report.html")
    for model in ("baseline", "adapted"):
        scores = metrics["models"][model]["per_dataset"]["dark"]["mean"]
        assert f"{100 * scores['balanced_accuracy']:.1f}" in page.text
        assert f"{100 * metrics['models'][model]['probe']['accuracy']:.1f}" in page.text
    for reason in metrics["verdict"]["reasons"]:
        assert reason in page.text
    assert "umap_neighbours 5" in page.text


def test_a_hostile_dataset_name_is_text(inputs):
    page = Page(inputs.out / "report.html")
    assert HOSTILE in page.text
    assert "<script" not in (inputs.out / "report.html").read_text()
    assert any(
        HOSTILE in value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")
    )


def test_same_seed_same_evaluation(inputs, tmp_path):
    evaluate(inputs.crops, inputs.baseline, inputs.adapted, inputs.bias, CONFIG, tmp_path / "again")
    for name in ("metrics.json", "report.html"):
        assert (tmp_path / "again" / name).read_text() == (inputs.out / name).read_text()


@pytest.mark.parametrize(
    ("gain", "passed", "words"),
    [(0.05, True, "Yes, by 5.0 points"), (-0.05, False, "No, it is worse by 5.0 points")],
)
def test_report_of_a_better_and_a_worse_model(inputs, metrics, tmp_path, gain, passed, words):
    metrics["gain"] = {"gain": gain, "low": gain - 0.01, "high": gain + 0.01}
    metrics["verdict"] = {"passed": passed, "reasons": ["Because."]}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "features.parquet").write_bytes((inputs.out / "features.parquet").read_bytes())
    write_report(tmp_path, json.loads((inputs.bias / "bias.json").read_text()))
    text = Page(tmp_path / "report.html").text
    assert words in text
    assert f"May it be promoted? {'Yes' if passed else 'No'}" in text


def test_one_dataset(inputs, tmp_path):
    probe_bias(inputs.crops[:1], PROBE, tmp_path / "bias")
    found = evaluate(
        inputs.crops[:1], inputs.baseline, inputs.adapted, tmp_path / "bias", CONFIG, tmp_path / "evaluation"
    )
    assert found.metrics["models"]["adapted"]["probe"] is None
    page = Page(tmp_path / "evaluation" / "report.html")
    assert "Is it less biased? Cannot be said There is only one dataset" in page.text
    assert "class priors to compare" in page.text
    assert page.tags.count("svg") == 3


def test_errors_are_clear_and_nothing_is_left(inputs, tmp_path):
    untested = write_crops(tmp_path / "untested", "untested", 100, splits=("train", "dev"))
    with pytest.raises(DataError, match=r"untested.*test"):
        evaluate([untested], inputs.baseline, inputs.adapted, inputs.bias, CONFIG, tmp_path / "out")
    with pytest.raises(DataError, match=r"bias\.json is missing"):
        evaluate(inputs.crops, inputs.baseline, inputs.adapted, tmp_path, CONFIG, tmp_path / "out")
    with pytest.raises(DataError, match="not a model folder"):
        evaluate(inputs.crops, inputs.bias, inputs.adapted, inputs.bias, CONFIG, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"evaluate\.gate\.floor: unknown key"):
        EvaluateConfig.parse({"gate": {"floor": 1}}, "evaluate")
    assert not (tmp_path / "out").exists()


def test_from_a_shell(inputs, tmp_path, monkeypatch, capsys):
    config = tmp_path / "evaluate.yaml"
    config.write_text(json.dumps(CONFIG.model_dump(mode="json")))

    def call(baseline: Path) -> None:
        models = ["--baseline", baseline, "--adapted", inputs.adapted, "--bias", inputs.bias]
        rest = ["--config", config, "--out", tmp_path / "out"]
        monkeypatch.setattr(sys, "argv", ["evaluate", *map(str, [*inputs.crops, *models, *rest])])
        main()

    with pytest.raises(SystemExit) as stop:
        call(inputs.bias)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "not a model folder" in line
    call(inputs.baseline)
    printed = capsys.readouterr().out
    assert "May it be promoted? Yes." in printed
    assert str(tmp_path / "out" / "report.html") in printed
