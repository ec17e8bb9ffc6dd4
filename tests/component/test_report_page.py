"""The report in a browser: whole, quiet, readable on a phone, usable by keyboard and screen reader."""

import csv
import io
import json
import shutil
import urllib.request
from itertools import pairwise

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from made_up import write_evaluation
from sklearn.metrics import auc, roc_auc_score

from crossface.chart.curves import read_curves
from crossface.data.emotions import EMOTIONS
from crossface.errors import DataError
from crossface.evaluate.downloads import csv_text, downloads
from crossface.evaluate.paper import PAPER_TEST_FACES
from crossface.evaluate.summary import markdown

DATASETS = {
    "ten": (
        *("rafdb", "expw", "affectnet", "fer2013", "fer_plus", "sfew", "ck-plus", "a dataset of our own"),
        *("a_name_without_any_place_to_break_it", "=1+1|<script>alert(1)</script>"),
    ),
    "one": ("rafdb",),
}


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory):
    """Folder and metrics by name."""
    root = tmp_path_factory.mktemp("evaluations")
    found = {name: (root / name, write_evaluation(root / name, keys)) for name, keys in DATASETS.items()}
    worse = {"gain_of_logits": -0.6, "absent": 2}
    return found | {
        "worse": (root / "worse", write_evaluation(root / "worse", ("rafdb", "<i>expw"), **worse)),
        "paper": (
            root / "paper",
            write_evaluation(root / "paper", tuple(PAPER_TEST_FACES), study=True, sizes=PAPER_TEST_FACES),
        ),
    }


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if binary is None:
        pytest.skip("there is no chromium or chrome")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=binary, args=["--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def visit(browser, evaluations):
    """Open the report of an evaluation, as wide and in the colours that one says."""
    pages = []

    def visit(name: str, width: int = 1440, colours: str = "light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=colours)
        pages.append(page)
        page.set_default_timeout(120_000)  # a machine may be busy
        page.requested, page.complaints = [], []
        page.on("request", lambda request: page.requested.append(request.url))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto((evaluations[name][0] / "report.html").as_uri())
        return page

    yield visit
    for page in pages:
        page.close()


@pytest.mark.parametrize("name", ["ten", "one", "worse"])
def test_page_is_whole_and_quiet(visit, evaluations, name):
    page = visit(name)
    assert page.complaints == []
    assert page.requested == [page.url]
    sizes = page.eval_on_selector_all(
        "figure svg", "all => all.map(svg => [svg.clientWidth, svg.clientHeight])"
    )
    assert len(sizes) == len(list((evaluations[name][0] / "figures").iterdir()))
    assert all(width > 100 and height > 50 for width, height in sizes)
    levels = page.eval_on_selector_all("h1, h2, h3, h4", "all => all.map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    lost = "all => all.map(a => a.hash.slice(1)).filter(id => !document.getElementById(id))"
    assert page.eval_on_selector_all("a[href^='#']", lost) == []
    sections = page.eval_on_selector_all("main > section[id]", "all => all.map(part => part.id)")
    linked = page.eval_on_selector_all("nav a", "all => all.map(a => a.hash.slice(1))")
    assert linked == sections


@pytest.mark.parametrize("name", ["ten", "one", "paper"])
def test_a_phone_does_not_scroll_sideways(visit, name):
    page = visit(name, width=400)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    # nor is anything cut that has no box of its own to scroll in
    outside = "all => all.filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > 401)"
    assert page.eval_on_selector_all("main *:not(svg *)", f"{outside}.map(e => e.outerHTML)") == []


def test_the_keyboard_reaches_a_wide_table(visit):
    page = visit("ten", width=400)
    box = page.get_by_role("region", name="Adapted minus baseline, points, mean of heads")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    assert box.get_attribute("tabindex") == "0"
    box.focus()
    assert box.evaluate("box => getComputedStyle(box).outlineStyle") == "solid"


def test_the_first_link_skips_to_the_findings(visit):
    page = visit("one")
    link = page.locator("a").first
    above = "link => link.getBoundingClientRect().bottom <= 0"
    assert link.evaluate(above)
    link.focus()
    assert not link.evaluate(above)
    link.evaluate("link => link.click()")
    page.wait_for_function("document.activeElement.tagName === 'MAIN'")


@pytest.mark.parametrize(
    ("name", "width", "colours"),
    [("worse", 1440, "light"), ("worse", 1440, "dark"), ("worse", 400, "light"), ("paper", 1440, "dark")],
)
def test_axe_finds_nothing_serious(visit, name, width, colours):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    found = axe.Axe().run(visit(name, width, colours)).response
    grave = [fault for fault in found["violations"] if fault["impact"] in ("serious", "critical")]
    assert {fault["id"]: [node["html"] for node in fault["nodes"][:3]] for fault in grave} == {}
    assert "color-contrast" in {rule["id"] for rule in found["passes"]}


def test_print_is_light_and_cuts_nothing(visit):
    page = visit("ten", width=690, colours="dark")
    page.emulate_media(media="print", color_scheme="dark")
    ink, ground, link = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor,"
        " getComputedStyle(document.querySelector('a')).color]"
    )
    assert (ground, link) == ("rgb(255, 255, 255)", ink)
    assert not page.is_visible("nav")
    assert not page.is_visible(".downloads")
    cut = "all => all.filter(t => t.getBoundingClientRect().right > 691).map(t => t.caption.innerText)"
    assert page.eval_on_selector_all("table", cut) == []


def test_downloads_hold_the_numbers_of_metrics_json(visit, evaluations):
    page, metrics = visit("ten"), evaluations["ten"][1]
    # Read from the links: a browser may hold back a page that starts a dozen downloads by itself.
    hrefs = page.eval_on_selector_all("a[download]", "all => all.map(link => [link.download, link.href])")
    files = {}
    for name, href in hrefs:
        assert href.startswith("data:text/csv")
        with urllib.request.urlopen(href) as data:
            files[name] = list(csv.DictReader(io.StringIO(data.read().decode(), newline="")))
    assert set(files) == {
        "scores.csv", "classes.csv", "recall_matrices.csv", "comparison.csv", "calibration.csv",
        "calibration_bins.csv", "subgroups.csv", "label_issues.csv", "probes.csv", "within_emotion.csv",
        "a_distance.csv", "priors.csv",
    }  # fmt: skip
    assert len(files["scores.csv"]) == 2 * 10 * 2
    assert len(files["recall_matrices.csv"]) == 2 * 10 * 2 * 49
    for row in files["scores.csv"]:
        scores = metrics["models"][row["model"]]["per_dataset"][row["dataset"].removeprefix("'")]
        assert float(row["balanced_accuracy"]) == scores[row["head"]]["balanced_accuracy"]
    for row in files["comparison.csv"]:
        found = metrics["comparison"][row["dataset"].removeprefix("'")]
        assert float(row["difference"]) == found[row["measure"]]["difference"]
        tested = row["measure"] == "accuracy" and row["dataset"] != "average"
        assert row["p"] == (str(found["mcnemar"]["p"]) if tested else "")


def test_the_network_that_names_datasets_stands_beside_the_probes(evaluations):
    folder, metrics = evaluations["ten"]
    page, figure = ((folder / name).read_text() for name in ("report.html", "figures/probe.svg"))
    assert "for 95.1% of 1,000 test faces (95% interval 92.1 to 98.1); chance is 10.0%," in page
    assert "Of all 12,345 test faces as they are, the same network names 96.2% rightly (95.5 to 96.9)" in page
    assert "the label alone gives 47.0%, and always the largest dataset 44.0%" in page
    assert "the paper" not in page[page.index("resnet50, 30 epochs") :]
    assert 'id="named-full"' in page
    assert "Full network, trained<" in figure
    files = downloads(metrics, json.loads((folder / "bias.json").read_text()))
    with urllib.request.urlopen(files["probes"].href) as data:
        row = list(csv.DictReader(io.StringIO(data.read().decode(), newline="")))[-1]
    assert (row["reads"], row["accuracy"], row["null_high"]) == ("Full network, trained", "0.951", "")
    assert "A network trained to name" not in (evaluations["one"][0] / "report.html").read_text()


def cells(page, caption: str) -> list[list[str]]:
    """The body of a table, by what its caption begins with."""
    table = page.locator("table").filter(has=page.locator("caption", has_text=caption)).first
    rows = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
    return table.locator("tbody tr").evaluate_all(rows)


def test_the_paper_s_numbers_stand_beside_ours_where_the_data_are_the_paper_s(visit, evaluations):
    page, metrics = visit("paper"), evaluations["paper"][1]
    rows = {(row[0], row[1]): row[2:] for row in cells(page, "Accuracy by what was trained on")}
    ours = metrics["others"]["none on rafdb"]["per_dataset"]["expw"]["mean"]["accuracy"]
    assert rows["rafdb", "none"][1] == f"{100 * ours:.1f} (54.5)"  # Table 2
    assert rows["all", "none"][-1].endswith(" (71.3)")  # Table 4
    assert rows["all", "cda"][0].endswith(" (86.8)")
    assert "(" not in rows["all", "heads"][0]
    published = cells(page, "Table 1 of the paper")
    assert published[2] == ["IPA2LT", "RAF-DB, AffectNet", "57.3", "86.8"]
    adapted = metrics["models"]["adapted"]["per_dataset"]
    assert published[-1][2] == f"{100 * adapted['affectnet']['mean']['accuracy']:.1f}"
    assert "Table 1" not in visit("ten").inner_text("body")


def test_what_is_lost_across_datasets_is_said(visit, evaluations):
    page, metrics = visit("paper"), evaluations["paper"][1]
    lost = metrics["cross_dataset"]["alone"]["row_drop"]["accuracy"]
    shown = cells(page, "Against its own dataset")
    assert shown == [
        [name, *(f"{100 * share:.0f}" for share in row)]
        for name, row in zip(metrics["datasets"], lost, strict=True)
    ]
    assert shown[0][1] == "0"
    unseen = metrics["others"]["cda without expw"]["per_dataset"]["expw"]["mean"]["balanced_accuracy"]
    assert cells(page, "Left out of training")[1][4] == f"{100 * unseen:.1f}"


def test_csv_runs_no_formula_and_keeps_numbers():
    row = ("=1+1", "+a", "-a", "@a", "a=1", "\t=1", -0.5, None, 'b,"c"')
    (read,) = csv.reader(io.StringIO(csv_text([], [row]).partition("\r\n")[2], newline=""))
    assert read == ["'=1+1", "'+a", "'-a", "'@a", "a=1", "'\t=1", "-0.5", "", 'b,"c"']


def test_sections_come_with_their_numbers(evaluations, tmp_path):
    from crossface.evaluate.report import write_report

    folder, metrics = evaluations["one"]
    for key in ("comparison", "label_issues"):
        del metrics[key]
    for model in metrics["models"].values():
        del model["calibration"], model["subgroups"]
    shutil.copy(folder / "features.parquet", tmp_path)
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    write_report(tmp_path, json.loads((folder / "bias.json").read_text()))
    titles = ("Calibration", "Groups of people", "Doubtful labels", "Could it be chance?")
    before, after = ((path / "report.html").read_text() for path in (folder, tmp_path))
    assert [title for title in titles if f">{title}</h" not in before] == []
    assert [title for title in titles if title in after] == []


def test_summary_is_text(evaluations):
    folder, metrics = evaluations["ten"]
    text = (folder / "summary.md").read_text()
    assert text == markdown(metrics)
    assert "| =1+1\\|\\<script\\>alert(1)\\</script\\> |" in text


def test_charts_are_those_of_one_dataset(evaluations):
    from kfp.dsl import ClassificationMetrics

    folder, metrics = evaluations["ten"]
    found = read_curves(folder, "expw")
    right = sum(row[index] for index, row in enumerate(found.confusion))
    assert sum(map(sum, found.confusion)) == 300
    scores = metrics["models"]["adapted"]["per_dataset"]["expw"]["mean"]
    assert right / 300 == pytest.approx(scores["accuracy"])
    adapted = (pc.field("model") == "adapted") & (pc.field("dataset") == "expw")
    rows = pq.read_table(folder / "predictions.parquet", filters=adapted)
    truth = np.eye(7)[np.asarray(rows["emotion"])]
    area = roc_auc_score(truth, np.stack(rows["mean"].to_numpy()), average="micro")
    assert auc(found.false_positive_rate, found.true_positive_rate) == pytest.approx(area, abs=2e-3)
    assert len(found.threshold) <= 100
    artifact = ClassificationMetrics(name="scores", uri="scores", metadata={})
    artifact.log_confusion_matrix(list(EMOTIONS), found.confusion)
    artifact.log_roc_curve(found.false_positive_rate, found.true_positive_rate, found.threshold)
    kept = json.loads(json.dumps(artifact.metadata, allow_nan=False))
    assert [row["row"] for row in kept["confusionMatrix"]["rows"]] == found.confusion
    assert all(type(value) is float for row in found.confusion for value in row)
    with pytest.raises(DataError, match="no predictions of nobody"):
        read_curves(folder, "nobody")
    with pytest.raises(DataError, match=r"predictions\.parquet: cannot be read"):
        read_curves(folder / "figures", "expw")
