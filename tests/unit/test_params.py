"""Parameters: shorthands, overrides, and one clear line for every fault."""

import json

import pytest
import yaml

from crossface.errors import ConfigError
from crossface.evaluate.config import EvaluateConfig
from crossface.ingest.config import IngestConfig
from crossface.train.config import TrainConfig
from crossface_pipelines.cli import main
from crossface_pipelines.training.params import load_params


@pytest.fixture
def write(tmp_path):
    (tmp_path / "faces").mkdir()

    def write(**changes):
        values = {
            "datasets": [{"key": "raf", "format": "rafdb", "source": str(tmp_path / "faces")}],
            "train": {"epochs": 5, "adversary": {"smoothing": 0.2}},
            "adapted": {"adapt": "cda", "adversary": {"lambda_max": 0.3}},
            **changes,
        }
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def test_shared_values_reach_every_section(write):
    params = load_params(write(seed=7, crop={"size": 64}))
    assert params.baseline.epochs == params.adapted.epochs == 5
    assert params.adapted.adversary.lambda_max == 0.3
    assert params.adapted.adversary.smoothing == 0.2
    assert {params.baseline.seed, params.probe.seed, params.evaluation.seed, params.datasets[0].seed} == {7}
    assert {params.baseline.image_size, params.adapted.image_size, params.probe.image_size} == {64}


def test_each_training_has_a_checkpoint_of_its_own(write):
    params = load_params(write(), ["train.checkpoint.uri=s3://runs/checkpoints/"])
    assert params.baseline.checkpoint.uri == "s3://runs/checkpoints/baseline"
    assert params.adapted.checkpoint.uri == "s3://runs/checkpoints/adapted"
    assert load_params(write(), ["adapted.checkpoint.uri=/mine"]).adapted.checkpoint.uri == "/mine"
    with pytest.raises(ConfigError, match=r"adapted\.checkpoint\.uri: the baseline's too"):
        load_params(write(), ["adapted.checkpoint.uri=/mine", "baseline.checkpoint.uri=/mine/"])


@pytest.mark.parametrize("uri", ["gs://bucket/x", "s3://", "s3:/bucket/x", "s3://key:secret@bucket/x"])
def test_a_checkpoint_that_has_no_place_is_a_fault(write, uri):
    with pytest.raises(ConfigError, match=r"baseline\.checkpoint\.uri: ") as error:
        load_params(write(), [f"train.checkpoint.uri={uri}"])
    assert "secret" not in str(error.value)


def test_assignments_win(write):
    params = load_params(
        write(), ["train.epochs=3", "adapted.epochs=4", "datasets.raf.seed=9", "baseline.loss=ce"]
    )
    assert (params.baseline.epochs, params.adapted.epochs, params.datasets[0].seed) == (3, 4, 9)
    assert params.baseline.loss == "ce"


@pytest.mark.parametrize(
    ("changes", "assignments", "line"),
    [
        ({"trian": {}}, [], "trian: unknown key"),
        ({"crop": {"sise": 3}}, [], "crop.sise: unknown key"),
        ({"crop": "big"}, [], "crop: should be a mapping (got 'big')"),
        ({"datasets": []}, [], "datasets: at least one is needed"),
        ({}, ["train.lr=fast"], "baseline.lr: Input should be a valid number"),
        ({}, ["train.lr=-1"], "baseline.lr: Input should be greater than 0 (got -1)"),
        ({}, ["train.lr"], "--set train.lr: not of the form key=value"),
        ({}, ["datasets.nobody.source=x"], "--set datasets.nobody.source: nothing is called nobody"),
        (
            {},
            ["datasets.raf.source=nowhere/at/all"],
            "datasets.raf.source: nowhere/at/all is not there",
        ),
        ({}, ["datasets.raf.format=tiff"], "datasets.raf.format: "),
        ({}, ["datasets.raf.key=Raf DB"], "datasets.Raf DB.key: "),
        ({}, ["datasets=3"], "datasets: at least one is needed"),
    ],
)
def test_each_fault_is_one_line_that_names_its_key(write, changes, assignments, line):
    with pytest.raises(ConfigError) as error:
        load_params(write(**changes), assignments)
    assert [found for found in str(error.value).splitlines() if found.startswith(line)]


def test_label_file_that_is_not_there_is_named(write, tmp_path):
    options = {"file": "nowhere.csv", "path_column": "p", "label_column": "l"}
    dataset = {"key": "ours", "format": "csv", "source": str(tmp_path / "faces"), "options": options}
    with pytest.raises(ConfigError, match=r"^datasets\.ours\.options\.file: .*nowhere\.csv is not a file$"):
        load_params(write(datasets=[dataset]))
    with pytest.raises(ConfigError, match=r"below the source"):
        load_params(write(datasets=[{**dataset, "options": {**options, "file": "../l.csv"}}]))


def test_two_datasets_with_one_name(write, tmp_path):
    item = {"key": "raf", "format": "rafdb", "source": str(tmp_path / "faces")}
    with pytest.raises(ConfigError, match="two datasets are called raf"):
        load_params(write(datasets=[item, item]))


def test_all_faults_are_told_at_once(write):
    with pytest.raises(ConfigError) as error:
        load_params(write(trian={}, crop={"sise": 1}), ["train.epochs=0", "datasets.raf.source=nowhere"])
    text = str(error.value)
    assert all(key in text for key in ("trian", "crop.sise", "baseline.epochs", "datasets.raf.source"))


@pytest.mark.parametrize(
    ("content", "line"),
    [(None, "no such file"), ("a: [1", "params.yaml: "), ("- 1", "not a mapping"), ("", "not a mapping")],
)
def test_unreadable_file_is_named_and_the_exit_code_is_2(tmp_path, capsys, content, line):
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_text(content)
    assert main(["run", "--params", str(path)]) == 2
    said = capsys.readouterr().err
    assert str(path) in said
    assert line in said
    assert len(said.splitlines()) == 1


def test_changed_files_change_the_revision_and_a_given_one_is_kept(write, tmp_path):
    (tmp_path / "faces" / "deep").mkdir()
    (tmp_path / "faces" / "deep" / "a.jpg").write_bytes(b"12")
    params = load_params(write())
    before, again = (params.with_revisions().datasets[0].revision for _ in range(2))
    assert before == again != ""
    (tmp_path / "faces" / "deep" / "a.jpg").write_bytes(b"123")
    assert params.with_revisions().datasets[0].revision != before
    given = load_params(write(), ["datasets.raf.revision=v2"])
    assert given.with_revisions().datasets[0].revision == "v2"


def test_arguments_survive_the_way_through_kfp(write, tmp_path):
    """KFP knows no null, and hands every number of a dict over as a float."""
    (tmp_path / "faces" / "l.csv").touch()
    options = {
        "file": "l.csv",
        "path_column": "p",
        "label_column": "l",
        "label_map": {"joy": "happiness", "x": None},
    }
    dataset = {"key": "ours", "format": "csv", "source": str(tmp_path / "faces"), "options": options}
    params = load_params(write(datasets=[dataset], train={"feature_dim": 0, "clip_norm": 0, "epochs": 3}))
    text = json.dumps(params.arguments())
    assert "null" not in text
    floats = json.loads(text, parse_int=float)
    assert IngestConfig.parse(floats["datasets"][0]) == params.datasets[0]
    assert TrainConfig.parse(floats["baseline"]) == params.baseline
    assert EvaluateConfig.parse(floats["evaluation"]) == params.evaluation


def test_the_gate_s_policy_may_be_a_file(write, tmp_path):
    policy = tmp_path / "strict.yaml"
    policy.write_text("version: 7\nmargin: 0.01\n")
    gate = load_params(write(evaluation={"gate": str(policy)})).evaluation.gate
    assert (gate.version, gate.margin) == (7, 0.01)
    assert load_params(write(evaluation={"gate": "default"})).evaluation.gate == EvaluateConfig().gate
    policy.write_text("margin: 2\n")
    with pytest.raises(ConfigError, match=r"evaluation\.gate\.margin: "):
        load_params(write(evaluation={"gate": str(policy)}))
    with pytest.raises(ConfigError, match="nowhere: no such file"):
        load_params(write(evaluation={"gate": "nowhere"}))


def test_a_candidate_is_held_against_the_champion_of_the_model_it_would_be_registered_as(write):
    params = load_params(write(registration={"model_name": "faces"}))
    assert params.evaluation.champion == "faces"
    assert load_params(write()).evaluation.champion == "crossface"
    two = load_params(write(), check_sources=False).datasets[0]
    both = params.model_copy(update={"datasets": (two, two.model_copy(update={"key": "other"}))})
    benchmark = both.arguments("benchmark")
    assert benchmark["evaluation"]["champion"] == "", "a benchmark promotes nothing"
    assert "registration" not in benchmark
    assert "trainings" not in both.arguments()
    assert [training["datasets"] for training in benchmark["trainings"][:2]] == [["raf"], ["other"]]
