"""The report in a browser: whole, quiet, readable on a phone, usable by keyboard and screen reader."""

import csv
import io
import json
import shutil
import urllib.request
from itertools import pairwise

import pytest
from made_up import write_evaluation

from crossface.evaluate.downloads import csv_text
from crossface.evaluate.summary import confusion_of_test_faces, markdown

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
        "worse": (root / "worse", write_evaluation(root / "worse", ("rafdb", "<i>expw"), **worse))
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


@pytest.mark.parametrize("name", ["ten", "one"])
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


@pytest.mark.parametrize(("width", "colours"), [(1440, "light"), (1440, "dark"), (400, "light")])
def test_axe_finds_nothing_serious(visit, width, colours):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    found = axe.Axe().run(visit("worse", width, colours)).response
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


def test_summary_is_text_and_its_matrix_is_that_of_all_test_faces(evaluations):
    from kfp.dsl import ClassificationMetrics

    folder, metrics = evaluations["ten"]
    text = (folder / "summary.md").read_text()
    assert text == markdown(metrics)
    assert "| =1+1\\|\\<script\\>alert(1)\\</script\\> |" in text
    categories, matrix = confusion_of_test_faces(folder / "predictions.parquet")
    right = sum(row[index] for index, row in enumerate(matrix))
    assert sum(map(sum, matrix)) == 10 * 300
    assert right / 3000 == pytest.approx(metrics["models"]["adapted"]["average"]["mean"]["accuracy"])
    scores = metrics["models"]["adapted"]["per_dataset"].values()
    rights = sum(300 * found["mean"]["accuracy"] for found in scores)
    assert right == pytest.approx(rights)
    artifact = ClassificationMetrics(name="confusion", uri="confusion", metadata={})
    artifact.log_confusion_matrix(categories, matrix)
    rows = json.loads(json.dumps(artifact.metadata))["confusionMatrix"]["rows"]
    assert [row["row"] for row in rows] == matrix
    assert all(type(value) is float for row in matrix for value in row)
