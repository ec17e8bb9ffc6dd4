"""evaluate end to end: real crops, small real networks, a report that says what the numbers say."""

import io
import itertools
import json
import re
import sys
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

from crossface.cropping.capture import perceptual_hashes
from crossface.data.crops import CAPTURE, CROP_SCHEMA, ShardWriter
from crossface.data.leakage import LeakageCounts, read_leakage
from crossface.data.rejects import write_rejects
from crossface.errors import ConfigError, DataError
from crossface.evaluate.__main__ import main
from crossface.evaluate.config import EvaluateConfig
from crossface.evaluate.copies import caution, copies
from crossface.evaluate.evaluation import Evaluation, evaluate, measure_bias
from crossface.evaluate.label_issues import review_labels
from crossface.evaluate.report import write_report
from crossface.evaluate.tables import FEATURE_SCHEMA
from crossface.find_leakage.config import LeakageConfig
from crossface.find_leakage.find import find_leakage
from crossface.gate.champion import Judged
from crossface.gate.judge import judge
from crossface.gate.verdict import Rule, Verdict
from crossface.measures.calibration import calibrate
from crossface.measures.comparison import compare, gain
from crossface.measures.metrics import measure, stack
from crossface.measures.predictions import PREDICTION_SCHEMA
from crossface.model.config import NetConfig
from crossface.model.inference import predict
from crossface.model.networks import CrossfaceNet
from crossface.model.saving import load_tables, save_model, save_tables
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


def write_crops(
    folder: Path, dataset: str, brightness: float, splits=("dev", "test", "test"), first: int | None = None
) -> Path:
    """Sixty faces; where two folders share numbers from ``first`` on, they show copies, darker or lighter."""
    first = int(brightness) * 100 if first is None else first
    folder.mkdir(parents=True)
    writer = ShardWriter(folder)
    for index in range(60):
        noise = np.random.default_rng(first + index).normal(brightness, 25, (32, 32, 3))
        image = Image.fromarray(noise.clip(0, 255).astype(np.uint8))
        encoded = io.BytesIO()
        image.save(encoded, "PNG")
        phash, phash_mirrored = perceptual_hashes(image)
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
                "phash": phash,
                "phash_mirrored": phash_mirrored,
            }
        )
    writer.close()
    write_rejects([], folder)
    return folder


def write_model(
    folder: Path, adapt: str, heads: tuple[str, ...], image_size: int, datasets: tuple[str, ...] = ()
) -> Path:
    torch.manual_seed(len(heads) + len(datasets))
    folder.mkdir()
    config = NetConfig(
        backbone="resnet8",
        feature_dim=8,
        image_size=image_size,
        heads=heads,
        adapt=adapt,
        datasets=datasets,
    )
    save_model(CrossfaceNet(config), folder)
    return folder


class Inputs:
    """What evaluate reads, for two datasets, one of them with a hostile name."""

    def __init__(self, root: Path) -> None:
        self.crops = [write_crops(root / "dark", "dark", 60), write_crops(root / "hostile", HOSTILE, 190)]
        self.baseline = write_model(root / "baseline", "none", ("pooled",), 32)
        self.adapted = write_model(root / "adapted", "cda", ("dark", HOSTILE), 40)
        habits = [[0.37 if row == column else 0.105 for column in range(7)] for row in range(7)]
        save_tables({f"label_extractor/{name}": habits for name in ("dark", HOSTILE)}, self.adapted)
        self.bias = root / "bias"
        probe_bias(self.crops, PROBE, self.bias)
        self.leakage = root / "leakage"
        find_leakage(self.crops, LeakageConfig(), self.leakage)
        self.out = root / "evaluation"
        self.found = self.evaluate(self.out)

    def evaluate(self, out: Path) -> Evaluation:
        return evaluate(self.crops, self.baseline, self.adapted, self.bias, CONFIG, out, self.leakage)

    def report(self, metrics: dict, folder: Path) -> "Page":
        """The report, had the evaluation come to ``metrics``."""
        (folder / "metrics.json").write_text(json.dumps(metrics))
        (folder / "features.parquet").write_bytes((self.out / "features.parquet").read_bytes())
        write_report(folder, json.loads((self.bias / "bias.json").read_text()))
        return Page(folder / "report.html")


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
    for model, found in metrics["models"].items():
        scores = measure(predictions.filter(pc.field("model") == model), CONFIG.seed)
        bias = asdict(measure_bias(features, model, CONFIG))
        for key, value in json.loads(json.dumps(scores | bias)).items():
            assert found[key] == value
    assert metrics["comparison"] == compare(predictions, CONFIG.seed)
    assert metrics["gain"] == gain(metrics["comparison"])
    candidate = Judged("", metrics, predictions.filter(pc.field("model") == "adapted"))
    assert metrics["verdict"] == judge(candidate, None, CONFIG.gate, CONFIG.seed).as_dict()


def recomputed(truth: list[int], rows: list[list[float]]) -> dict[str, float]:
    """Scores of one dataset, by scikit-learn from plain lists."""
    said, labels = np.argmax(rows, axis=1), sorted(set(truth))
    averages = {"labels": labels, "average": "macro", "zero_division": 0}
    return {
        "n": len(truth),
        "accuracy": accuracy_score(truth, said),
        "balanced_accuracy": recall_score(truth, said, **averages),
        "macro_f1": f1_score(truth, said, **averages),
        "recall_std": np.std(recall_score(truth, said, **averages | {"average": None})),
        "precision_mean": np.mean(
            precision_score(truth, said, labels=np.unique(said), average=None, zero_division=0)
        ),
    }


def test_scores_agree_with_scikit_learn_on_the_predictions(inputs, metrics):
    rows = pq.read_table(inputs.out / "predictions.parquet").to_pylist()
    accuracies, wrong = {}, {}
    for model, dataset in itertools.product(("baseline", "adapted"), metrics["datasets"]):
        mine = [row for row in rows if (row["model"], row["dataset"]) == (model, dataset)]
        truth = [row["emotion"] for row in mine]
        for head, scores in metrics["models"][model]["per_dataset"][dataset].items():
            expected = recomputed(truth, [row[head] for row in mine])
            assert {key: scores[key] for key in expected} == pytest.approx(expected, abs=1e-6)
            said = np.argmax([row[head] for row in mine], axis=1)
            matrix = confusion_matrix(truth, said, labels=range(7), normalize="true")
            for label in set(truth):
                assert scores["recall_matrix"][label] == pytest.approx(matrix[label], abs=1e-6)
        probabilities = np.array([row["mean"] for row in mine])
        wrong[model, dataset] = {
            row["face_id"] for row in mine if int(np.argmax(row["mean"])) != row["emotion"]
        }
        accuracies[model, dataset] = recomputed(truth, list(probabilities))
        calibration = metrics["models"][model]["calibration"]["per_dataset"][dataset]
        confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
        shares, means = calibration_curve(right, confidence, n_bins=15)
        filled = [row for row in calibration["bins"] if row["count"]]
        assert [row["accuracy"] for row in filled] == pytest.approx(shares, abs=1e-6)
        assert [row["confidence"] for row in filled] == pytest.approx(means, abs=1e-6)
    for dataset in metrics["datasets"]:
        found = metrics["comparison"][dataset]
        for key in ("accuracy", "balanced_accuracy"):
            gained = accuracies["adapted", dataset][key] - accuracies["baseline", dataset][key]
            assert found[key]["difference"] == pytest.approx(gained, abs=1e-6)
        before, after = wrong["baseline", dataset], wrong["adapted", dataset]
        assert found["mcnemar"]["only_adapted_right"] == len(before - after)
        assert found["mcnemar"]["only_baseline_right"] == len(after - before)


def test_temperature_and_label_issues_follow_from_the_tables(inputs, metrics):
    predictions, dev = (
        pq.read_table(inputs.out / name, schema=PREDICTION_SCHEMA)
        for name in ("predictions.parquet", "dev_predictions.parquet")
    )
    assert dev.num_rows == 2 * 2 * 20
    assert not set(dev["face_id"].to_pylist()) & set(predictions["face_id"].to_pylist())
    for model in ("baseline", "adapted"):
        tables = (rows.filter(pc.field("model") == model) for rows in (dev, predictions))
        assert metrics["models"][model]["calibration"] == calibrate(*tables)
        assert metrics["models"][model]["subgroups"] == {}  # nothing is published of these faces
    adapted = predictions.filter(pc.field("model") == "adapted")
    found, faces = review_labels(adapted, CONFIG.max_label_issues)
    assert metrics["label_issues"] == found
    assert {numbers["head"] for numbers in found.values()} == {"others"}
    assert pq.read_table(inputs.out / "label_issues.parquet").equals(faces)
    assert faces.num_rows == sum(numbers["suspicious"] for numbers in found.values())


def test_others_leave_the_own_head_out(inputs):
    predictions = pq.read_table(inputs.out / "predictions.parquet")
    assert predictions.filter(pc.field("model") == "baseline")["others"].null_count == 80
    heads = predictions.filter(pc.field("model") == "adapted")
    own, mean, others = (stack(heads[name]) for name in ("own", "mean", "others"))
    assert others == pytest.approx(2 * mean - own, abs=1e-6)
    torch.manual_seed(0)
    config = {"backbone": "resnet8", "feature_dim": 8, "image_size": 32, "adapt": "heads"}
    net = CrossfaceNet(NetConfig(**config, heads=("a", "b", "c")))
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    outputs = predict(net, images, ["b", "unseen", "c"])
    with torch.inference_mode():
        each = net.eval()(images.float())[1].softmax(-1).numpy()
    expected = [each[[0, 2], 0].mean(0), each[:, 1].mean(0), each[[0, 1], 2].mean(0)]
    assert outputs.others == pytest.approx(np.array(expected), abs=1e-6)
    assert np.abs(outputs.others - outputs.mean)[[0, 2]].max() > 1e-4


def test_published_attributes_become_subgroups(inputs, tmp_path):
    folder = tmp_path / "dark"
    folder.mkdir()
    crops = pq.read_table(next(inputs.crops[0].glob("part-*.parquet")), schema=CROP_SCHEMA).to_pylist()
    for index, row in enumerate(crops):
        gender = ("female", "male", "male")[index % 3]
        row["attributes"] = {"gender": gender, "race": None, "age": None} if index % 10 else None
    pq.write_table(pa.Table.from_pylist(crops, schema=CROP_SCHEMA), folder / "part-00000.parquet")
    config = CONFIG.model_copy(update={"min_group_faces": 5})
    models = (inputs.baseline, inputs.adapted)
    found = evaluate([folder], *models, inputs.bias, config, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    for model in ("baseline", "adapted"):
        (dataset, attributes), *more = found.metrics["models"][model]["subgroups"].items()
        assert (dataset, list(attributes), more) == ("dark", ["gender"], [])
        accuracies = []
        for gender in ("female", "male"):
            mine = [
                row
                for row in rows
                if row["model"] == model and (row["attributes"] or {}).get("gender") == gender
            ]
            expected = recomputed([row["emotion"] for row in mine], [row["mean"] for row in mine])
            scores = attributes["gender"]["groups"][gender]
            for key in ("n", "accuracy", "balanced_accuracy"):
                assert scores[key] == pytest.approx(expected[key], abs=1e-6)
            accuracies.append(expected["accuracy"])
        assert attributes["gender"]["gap"] == pytest.approx(abs(np.subtract(*accuracies)))
        assert found.flat()[f"{model}/dark/gap/gender"] == attributes["gender"]["gap"]
    assert all(type(value) is float and np.isfinite(value) for value in found.flat().values())


def test_a_dataset_without_dev_faces_is_named(inputs, tmp_path):
    uncalibrated = write_crops(tmp_path / "no_dev", "no_dev", 100, splits=("train", "test"))
    with pytest.raises(DataError, match=r"no_dev.*split dev.*calibrate"):
        evaluate([uncalibrated], inputs.baseline, inputs.adapted, inputs.bias, CONFIG, tmp_path / "out")


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
    assert figures == {"probe", "comparison", "classes-0", "classes-1"} | {
        f"{kind}-{model}{by}"
        for model in ("baseline", "adapted")
        for kind, by in (("umap", "-dataset"), ("umap", "-emotion"), ("reliability", ""))
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
    for rule in metrics["verdict"]["rules"]:
        assert rule["sentence"] in page.text
    assert "umap_neighbours 5" in page.text


def test_report_shows_what_the_label_extractor_learned(inputs, metrics, tmp_path):
    page = Page(inputs.out / "report.html")
    assert f"dark Su Fe Di Ha Sa An Ne surprise 37 {'10 ' * 6}fear 10 37 " in page.text
    assert f"{HOSTILE} Su Fe Di Ha Sa An Ne surprise 37 " in page.text
    metrics["models"]["adapted"]["tables"] = {}
    assert "Learned labels" not in inputs.report(metrics, tmp_path).text


def test_damaged_tables_are_named(tmp_path):
    (tmp_path / "tables.json").write_text('{"label_extractor": [["much"]]}')
    with pytest.raises(DataError, match=r"tables\.json: not tables of numbers"):
        load_tables(tmp_path)


def test_a_hostile_dataset_name_is_text(inputs):
    page = Page(inputs.out / "report.html")
    assert HOSTILE in page.text
    assert "<script" not in (inputs.out / "report.html").read_text()
    assert any(
        HOSTILE in value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")
    )


def test_a_study_is_scored_on_every_dataset(inputs, tmp_path):
    names = ("dark", HOSTILE)
    others = [
        write_model(tmp_path / "dark", "none", ("pooled",), 32, ("dark",)),
        write_model(tmp_path / "hostile", "none", ("pooled",), 32, (HOSTILE,)),
        write_model(tmp_path / "cda", "cda", ("dark",), 32, ("dark",)),
        write_model(tmp_path / "heads", "heads", names, 32, names),
    ]
    models = (inputs.baseline, inputs.adapted)
    found = evaluate(inputs.crops, *models, inputs.bias, CONFIG, tmp_path / "out", None, others).metrics
    alone = ["none on dark", f"none on {HOSTILE}"]
    assert list(found["others"]) == [*alone, "cda on dark", "heads"]
    study = found["cross_dataset"]
    assert (study["alone"]["models"], study["methods"]) == (alone, ["heads"])
    assert {name: (pair["baseline"], pair["adapted"]) for name, pair in study["left_out"].items()} == {
        HOSTILE: ("none on dark", "cda on dark")
    }
    assert found["others"]["heads"]["probe"]
    assert not found["others"]["none on dark"]["probe"]
    predictions = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pandas()
    for row, model in enumerate(alone):
        for column, dataset in enumerate(names):
            part = predictions[(predictions.model == model) & (predictions.dataset == dataset)]
            right = accuracy_score(part.emotion, np.stack(part["mean"]).argmax(1))
            assert study["alone"]["scores"]["accuracy"][row][column] == pytest.approx(right)
    page = Page(tmp_path / "out" / "report.html")
    for words in ("Across datasets", "What is lost on another dataset", "A dataset that was never seen"):
        assert words in page.text
    assert "Across datasets" not in Page(inputs.out / "report.html").text
    with pytest.raises(DataError, match=r"heads: there is another model of this training \(heads\)"):
        evaluate(inputs.crops, *models, inputs.bias, CONFIG, tmp_path / "twice", None, [*others, others[3]])


def test_same_seed_same_evaluation(inputs, metrics, tmp_path):
    inputs.evaluate(tmp_path / "again")
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert again.pop("seconds").keys() == metrics["seconds"].keys()
    assert again == {name: value for name, value in metrics.items() if name != "seconds"}
    for name in ("predictions.parquet", "features.parquet", "summary.md"):
        assert (tmp_path / "again" / name).read_bytes() == (inputs.out / name).read_bytes()


@pytest.mark.parametrize(
    ("gain", "passed", "words"),
    [(0.05, True, "Yes, by 5.0 points"), (-0.05, False, "No, it is worse by 5.0 points")],
)
def test_report_of_a_better_and_a_worse_model(inputs, metrics, tmp_path, gain, passed, words):
    metrics["gain"] = {"gain": gain, "low": gain - 0.01, "high": gain + 0.01}
    rules = [Rule("floor", passed, "because.")]
    metrics["verdict"] = Verdict.of(rules, "", "It is good.").as_dict()
    text = inputs.report(metrics, tmp_path).text
    assert words in text
    assert f"May it be promoted? {'Yes' if passed else 'No'}" in text


def test_report_says_that_there_are_no_copies(inputs, metrics):
    assert metrics["leakage"] == json.loads((inputs.leakage / "leakage.json").read_text())
    page = Page(inputs.out / "report.html")
    assert "Copies No copies were found among 120 faces. A copy shows" in page.text
    assert "Pairs of copies" not in page.text
    assert "find_leakage.max_distance 8" in page.text


@pytest.mark.parametrize("policy", ["drop_from_train", "keep"])
def test_report_shows_the_numbers_of_leakage_json(inputs, metrics, tmp_path, policy):
    splits = ("train", "dev", "test")  # four faces each in turn; light begins with the 45th picture of dark
    crops = [
        write_crops(tmp_path / "dark", "dark", 60, splits, first=0),
        write_crops(tmp_path / "light", "<i>light", 190, splits, first=44),
    ]
    find_leakage(crops, LeakageConfig(policy=policy), tmp_path / "leakage")
    metrics["leakage"] = read_leakage(tmp_path / "leakage").model_dump(mode="json")
    assert metrics["leakage"] == json.loads((tmp_path / "leakage" / "leakage.json").read_text())
    page = inputs.report(metrics, tmp_path)
    first_screen, rest = page.text.split("May it be promoted?")
    assert "16 pairs of copies among 120 faces: 16 between datasets. No pair has two labels." in rest
    assert (
        "pairs dark, test <i>light, train 8 <i>light, dev dark, train 4 <i>light, test dark, dev 4 " in rest
    )
    assert "faces <i>light train test 8 dark dev test 4 dark train dev 4 " in rest
    done = "Left out of training" if policy == "drop_from_train" else "Not left out of training"
    causes = "12 with a copy in a test split and 4 with a copy in a dev split"
    assert f"{done} (policy {policy}): 16 faces, {causes}." in rest
    assert f" {done} Dataset split" in rest  # the caption of the table
    caveat = "Training kept 8 faces with a copy in a test split (policy keep), which inflates the accuracy"
    assert (caveat in first_screen) == (policy == "keep")


def counts(policy: str, leaking: tuple = (), **pairs: tuple[int, int]) -> LeakageCounts:
    """leakage.json with made-up numbers: (pairs, labels_differ) by kind."""
    of = {
        name: {"pairs": n, "same_hash": 90, "mirrored": 80, "labels_differ": m}
        for name, (n, m) in pairs.items()
    }
    between = [{"dataset_a": "a", "split_a": "test", "dataset_b": "a", "split_b": "dev", "count": 1}]
    return LeakageCounts.model_validate(
        {
            "faces": [{"dataset": name, "split": "train", "count": 1000} for name in "ab"],
            "pairs": of,
            "between": between,
            "leaking": [
                {"dataset": "a", "split": split, "reason": reason, "count": n} for split, reason, n in leaking
            ],
            "policy": policy,
            "dropped": sum(n for *_, n in leaking) if policy == "drop_from_train" else 0,
            "search": {"candidates": 70, "bounded_hashes": 0, "crops_not_compared": 60},
            "settings": {},
        }
    )


def test_sentences_about_copies():
    kinds = {"across_datasets": (1200, 5), "across_splits": (0, 0), "within_split": (1, 1)}
    found, handled, unsearched = copies(counts("fail", **kinds))
    assert found == (
        "1,201 pairs of copies among 2,000 faces: 1,200 between datasets, 1 within one split. "
        "The labels of 6 pairs differ."
    )
    assert handled.startswith("None of them leaks: ")
    assert "crops not compared: 60" in unsearched
    in_dev, in_test = ("train", "twin_in_dev", 3), ("dev", "twin_in_test", 4)
    assert caution(counts("fail", **kinds)) == caution(None) == ""
    assert caution(counts("drop_from_train", (in_dev, in_test), **kinds)) == ""
    for_epoch = caution(counts("keep", (in_dev, in_test), **kinds))
    assert for_epoch.startswith("Training kept 7 faces with a copy across dev")
    for_test = caution(counts("keep", (in_dev, in_test, ("train", "twin_in_test", 1)), **kinds))
    assert for_test.startswith("Training kept 1 face with a copy in a test split")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (None, r"leakage\.json is missing"),
        ('{"faces": [', r"leakage\.json: not JSON"),
        ('{"faces": [{"dataset": "a"}]}', r"leakage\.json: .*faces\.0\.split: required.*policy: required"),
        ("[]", r"leakage\.json: not what find_leakage writes"),
    ],
)
def test_damaged_leakage_is_named(tmp_path, text, fault):
    if text is not None:
        (tmp_path / "leakage.json").write_text(text)
    with pytest.raises(DataError, match=fault):
        read_leakage(tmp_path)


def test_one_dataset(inputs, tmp_path):
    probe_bias(inputs.crops[:1], PROBE, tmp_path / "bias")
    found = evaluate(
        inputs.crops[:1], inputs.baseline, inputs.adapted, tmp_path / "bias", CONFIG, tmp_path / "evaluation"
    )
    assert found.metrics["models"]["adapted"]["probe"] is None
    page = Page(tmp_path / "evaluation" / "report.html")
    assert "Is it less biased? Cannot be said There is only one dataset" in page.text
    assert "class priors to compare" in page.text
    assert "Copies were not looked for." in page.text  # no leakage folder was given
    assert page.tags.count("svg") == 6


def test_errors_are_clear_and_nothing_is_left(inputs, tmp_path):
    untested = write_crops(tmp_path / "untested", "untested", 100, splits=("train", "dev"))
    with pytest.raises(DataError, match=r"untested.*test"):
        evaluate([untested], inputs.baseline, inputs.adapted, inputs.bias, CONFIG, tmp_path / "out")
    with pytest.raises(DataError, match=r"bias\.json is missing"):
        evaluate(inputs.crops, inputs.baseline, inputs.adapted, tmp_path, CONFIG, tmp_path / "out")
    with pytest.raises(DataError, match=r"leakage\.json is missing"):
        evaluate(
            inputs.crops, inputs.baseline, inputs.adapted, inputs.bias, CONFIG, tmp_path / "out", tmp_path
        )
    with pytest.raises(DataError, match="not a model folder"):
        evaluate(inputs.crops, inputs.bias, inputs.adapted, inputs.bias, CONFIG, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"evaluate\.gate\.floor: unknown key"):
        EvaluateConfig.parse({"gate": {"floor": 1}}, "evaluate")
    assert not (tmp_path / "out").exists()


def test_from_a_shell(inputs, tmp_path, monkeypatch, capsys):
    config = tmp_path / "evaluate.yaml"
    config.write_text(json.dumps(CONFIG.model_dump(mode="json")))

    def call(baseline: Path) -> None:
        models = [
            "--baseline",
            baseline,
            "--adapted",
            inputs.adapted,
            "--bias",
            inputs.bias,
            "--leakage",
            inputs.leakage,
        ]
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
    assert "No copies were found" in Page(tmp_path / "out" / "report.html").text
    assert str(tmp_path / "out" / "report.html") in printed
