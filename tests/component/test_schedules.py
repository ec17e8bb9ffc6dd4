"""``crossface schedule``: files brought to a server that speaks Kubeflow's API, and nothing done twice."""

from pathlib import Path

import kfp_server_api as api
import pytest
import yaml
from kfp_server import TOKEN, start_kfp_server  # noqa: F401  a fixture

from crossface_pipelines.cli import main
from crossface_pipelines.cluster import cron
from crossface_pipelines.cluster.client import connect
from crossface_pipelines.cluster.schedule_files import load_schedules
from crossface_pipelines.cluster.schedules import on_server, resolve

SHIPPED = Path(__file__).parents[2] / "manifests" / "schedules"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "schedules").mkdir()
    image = "registry.example/crossface@sha256:" + "0" * 64
    (tmp_path / "lock.yaml").write_text(yaml.safe_dump({"data": {"image": image}, "torch": {"image": image}}))
    (tmp_path / "profile.yaml").write_text("images: lock.yaml\nservice_account: runner\n")
    return tmp_path / "schedules"


@pytest.fixture
def write(folder):
    """Writes a schedule of the scoring pipeline."""

    def write(name="weekly", **changes):
        values = {
            "name": name,
            "pipeline": "scoring",
            "cron": "0 0 3 ? * MON",
            "params": "sample",
            "set": ["score.source=s3://photos/week", "score.checkpoint=s3://photos/scores"],
            "profile": str(folder.parent / "profile.yaml"),
            **changes,
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))

    return write


@pytest.fixture
def schedule(kfp, folder, capsys):
    """Runs ``crossface schedule``: exit code, and the lines of both streams."""

    def schedule(action, *options):
        capsys.readouterr()
        code = main(["schedule", action, *options, "--folder", str(folder)])
        said = capsys.readouterr()
        assert TOKEN not in said.out + said.err
        return code, said.out.splitlines(), said.err.splitlines()

    return schedule


def states(kfp):
    return [one.status for one in kfp.recurring]


def test_a_schedule_comes_changes_and_goes(kfp, schedule, write, folder):
    write(max_concurrency=2, experiment="weekly runs")
    assert schedule("apply", "--dry-run")[0] == 0
    assert schedule("diff")[0] == 1
    assert not kfp.sent("POST")
    assert schedule("apply") == (0, [f"weekly: created {kfp.recurring[0].recurring_run_id}"], [])
    (made,) = kfp.recurring
    assert made.trigger.cron_schedule.cron == "0 0 3 ? * MON"
    assert (made.no_catchup, made.max_concurrency, made.service_account) == (True, "2", "runner")
    assert kfp.experiments[0].display_name == "weekly runs"
    assert made.runtime_config.parameters["score"]["source"] == "s3://photos/week"
    assert made.pipeline_version_reference.pipeline_version_id == kfp.versions[0].pipeline_version_id
    asked = len(kfp.sent("POST"))
    assert schedule("apply") == (0, ["nothing to change"], [])
    assert schedule("diff") == (0, [], [])
    assert len(kfp.sent("POST")) == asked

    write(max_concurrency=2, experiment="weekly runs", cron="0 30 4 ? * MON")
    code, lines, err = schedule("diff")
    assert code == 1
    changed = [line for line in lines if line[0] in "+-#"]
    assert changed == [
        "--- weekly on the server",
        f"+++ {folder / 'weekly.yaml'}",
        "-cron: 0 0 3 ? * MON",
        "+cron: 0 30 4 ? * MON",
        f"# weekly: {made.recurring_run_id} would be disabled",
    ]
    assert err == ["crossface: 1 schedule would change; crossface schedule apply does it"]
    assert schedule("apply")[0] == 0
    new = kfp.recurring[1].recurring_run_id
    assert kfp.sent("POST")[-2:] == [
        "POST /recurringruns",
        f"POST /recurringruns/{made.recurring_run_id}:disable",
    ]  # never the other way round
    code, lines, _ = schedule("list")
    assert [line.split()[:2] + line.split()[-1:] for line in lines] == [["weekly", "enabled", new]]

    (folder / "weekly.yaml").unlink()
    code, lines, _ = schedule("apply")
    assert code == 0
    assert "# weekly: runs on the server and has no file" in lines[0]
    assert states(kfp) == ["DISABLED", "ENABLED"]
    assert schedule("disable", "weekly")[1][0] == f"weekly: disabled {new}"
    assert states(kfp) == ["DISABLED", "DISABLED"]
    assert schedule("disable", "weekly")[1] == ["weekly: disabled already"]
    assert schedule("disable", "monthly")[::2] == (
        2,
        ["crossface: monthly: no such schedule on the server; there is weekly"],
    )


@pytest.mark.parametrize("stop", [500, "drop", 403])
def test_an_apply_that_broke_off_is_mended_by_the_next(kfp, schedule, write, stop):
    write()
    schedule("apply")
    old = kfp.recurring[0].recurring_run_id
    write(set=["score.source=s3://photos/all", "score.checkpoint=s3://photos/scores"])
    kfp.spoil(f"POST /recurringruns/{old}:disable", stop)
    assert schedule("apply")[0] == 1
    assert states(kfp) == ["ENABLED", "ENABLED"]
    assert schedule("diff")[1][-1] == f"# weekly: {old} would be disabled"
    assert schedule("apply")[1] == [f"weekly: disabled {old}"]
    assert states(kfp) == ["DISABLED", "ENABLED"]
    # an answer that was lost: what it created is found again
    write(cron="0 0 5 * * *")
    kfp.spoil("POST /recurringruns", "taken")
    assert schedule("apply")[0] == 1
    assert schedule("apply")[0] == 0
    assert states(kfp) == ["DISABLED", "DISABLED", "ENABLED"]


def test_disabled_in_its_file(kfp, schedule, write):
    write(enabled=False)
    assert schedule("apply")[1] == ["nothing to change"]
    assert kfp.recurring == []
    write()
    schedule("apply")
    (made,) = kfp.recurring
    write(enabled=False)
    code, lines, _ = schedule("diff")
    assert (code, [line for line in lines if line[:2] in ("-e", "+e")]) == (
        1,
        ["-enabled: true", "+enabled: false"],
    )
    assert schedule("apply")[1] == [f"weekly: disabled {made.recurring_run_id}"]
    write()
    assert schedule("apply")[1] == [f"weekly: enabled {made.recurring_run_id}"]
    assert states(kfp) == ["ENABLED"]


def test_recurring_runs_of_others_are_left_alone(kfp, schedule, write):
    theirs = [
        api.V2beta1RecurringRun(recurring_run_id=f"their-{number}", display_name="weekly", status="ENABLED")
        for number in range(3)  # also the first pages of the listing
    ]
    kfp.recurring += theirs
    write()
    write("daily", cron="0 0 1 * * *")
    assert schedule("apply")[0] == 0
    assert schedule("apply")[1] == ["nothing to change"]
    assert states(kfp) == ["ENABLED"] * 5
    assert not [request for request in kfp.requests if "their-" in request]


def test_a_new_pipeline_or_profile_is_a_new_state(kfp, write, folder):
    def digests():
        return {one.digest for one in resolve(connect(), load_schedules(folder))}

    write()
    found = digests()
    assert digests() == found
    profile = folder.parent / "profile.yaml"
    for change in (
        "service_account: other",
        "caching: false",
        "steps: {score: {cpu: {request: '1', limit: '2'}}}",
    ):
        profile.write_text(f"images: lock.yaml\n{change}\n")
        found |= digests()
    assert len(found) == 4
    assert on_server(connect()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cron": "0 3 * * 1"}, "cron: has 5 fields, and Kubeflow wants 6: seconds, minutes, hours"),
        ({"pipeline": "trainnig"}, "pipeline: no such pipeline; there is training, "),
        ({"catchup": True}, "catchup: unknown key"),
        ({"max_concurrency": 11}, "max_concurrency: "),
        ({"set": ["score.batch=3"]}, "weekly.yaml: score.batch: unknown key"),
        ({"set": []}, "weekly.yaml: score.source: data/sample/"),
        ({"profile": "nowhere"}, "weekly.yaml: --profile nowhere: "),
    ],
)
def test_faults_of_a_file_are_found_before_anything_is_sent(kfp, schedule, write, changes, said):
    write(**changes)
    code, out, err = schedule("apply")
    assert (code, out) == (2, [])
    assert any(said in line for line in err)
    assert not kfp.sent("POST")


def test_two_files_of_one_name(schedule, write, folder):
    write()
    (folder / "again.yaml").write_text((folder / "weekly.yaml").read_text())
    assert schedule("diff")[::2] == (2, [f"crossface: {folder}: 2 schedules are called weekly"])


def test_the_example_is_valid():
    (example,) = load_schedules(SHIPPED).values()
    assert example.no_catchup
    assert example.max_concurrency == 1


@pytest.mark.parametrize(
    "good",
    [
        "0 0 9 ? * 2-6",
        "*/15 * * * * *",
        "0 0 0 1,15 JAN-mar *",
        "59 59 23 31 12 SAT",
        "0 5/10 * * * 0,3",
        "0 0 8-18/2 * * *",
    ],
)
def test_cron_of_kubeflow(good):
    assert cron.fault(good) == ""


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ("60 0 0 * * *", "seconds"),
        ("0 60 0 * * *", "minutes"),
        ("0 0 24 * * *", "hours"),
        ("0 0 0 0 * *", "day of month"),
        ("0 0 0 * 13 *", "month"),
        ("0 0 0 * * 7", "day of week"),  # Sunday is 0 for robfig/cron
        ("0 0 0 * * MON-SUN", "day of week"),
        ("0 */0 0 * * *", "minutes"),
        ("0 0,, 0 * * *", "minutes"),
        ("0 0 5-3 * * *", "hours"),
        ("0 0 0 L * *", "day of month"),
        ("0 0 0 * FEBRUARY *", "month"),
        ("0 0 -1 * * *", "hours"),
    ],
)
def test_cron_that_is_none(bad, field):
    assert cron.fault(bad).startswith(f"{field}: ")


@pytest.mark.parametrize("bad", ["", "@weekly", "0 0 * * 1", "0 0 0 * * * 2026"])
def test_cron_of_other_lengths(bad):
    assert "Kubeflow wants 6" in cron.fault(bad)
