"""Profiles: each mistake is one line that names its file and key, and no secret is repeated."""

import pytest
import yaml

from crossface.errors import ConfigError
from crossface_pipelines.compiling import write_ir
from crossface_pipelines.profiles import load_profile
from crossface_pipelines.steps import STEP_IMAGES

DATA, TORCH = (f"registry.example/{name}@sha256:{64 * name[0]}" for name in ("data", "edge"))
DIGESTS = f'data: {{image: "{DATA}", tag: "1"}}\ntorch: {{image: "{TORCH}", tag: "1"}}\n'
TAGS = "data: {image: 'data:1'}\ntorch: {image: 'torch:1'}\n"


@pytest.fixture
def write(tmp_path):
    """Write a profile and the lock file beside it; returns the profile's path."""

    def write_(profile: str, lock: str = DIGESTS) -> str:
        (tmp_path / "lock.yaml").write_text(lock)
        (tmp_path / "mine.yaml").write_text(f"images: lock.yaml\n{profile}")
        return str(tmp_path / "mine.yaml")

    return write_


def complaint(path: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_profile(path)
    return str(error.value)


def test_images_come_from_the_lock_file_by_digest(write):
    images = load_profile(write("")).images
    assert set(images) == set(STEP_IMAGES)
    assert (images["ingest"], images["train"]) == (DATA, TORCH)


def test_a_tag_is_refused_unless_the_profile_says_so(write):
    said = complaint(write("", TAGS))
    assert [line.split(": ", 1)[1] for line in said.splitlines()] == [
        "data: data:1 has no digest; make push writes one, see images/README.md",
        "torch: torch:1 has no digest; make push writes one, see images/README.md",
    ]
    assert load_profile(write("digests: false", TAGS)).images["train"] == "torch:1"
    assert "torch: required, and not given" in complaint(write("", f"data: {{image: '{DATA}'}}"))
    for almost in ("data@sha256:", "data@sha256:zz", f"data@sha256:{64 * 'a'}b"):
        assert "has no digest" in complaint(write("", DIGESTS.replace(DATA, almost)))


def test_a_step_adds_to_what_all_have_in_common(write):
    common = "default: {environment: {A: '1', B: '1'}, timeout_seconds: 60, retry: {attempts: 3}}"
    places = load_profile(write(f"steps:\n  {common}\n  train: {{environment: {{B: '2'}}}}")).placements
    assert places["train"].environment == {"A": "1", "B": "2"}
    assert places["ingest"].environment == {"A": "1", "B": "1"}
    assert {place.timeout_seconds for place in places.values()} == {60}
    assert places["train"].retry.attempts == 3
    assert places["finalize"].retry is None, "Kubeflow repeats no exit task"


@pytest.mark.parametrize(
    ("steps", "fault"),
    [
        ("trian: {}", "steps.trian: no such step"),
        ("train: {gpus: 1}", "steps.train.gpus: unknown key"),
        ("train: {gpu: {count: 0}}", "steps.train.gpu.count: "),
        ("train: {memory: {request: 4GB, limit: 8Gi}}", "steps.train.memory.request: "),
        ("train: {user: 0}", "steps.train.user: "),
        ("train: {tolerations: [{key: a, operator: Equal}]}", "value goes with operator Equal"),
        ("train: {cpu: {request: '8', limit: 4000m}}", "steps.train.cpu: request is above limit"),
        ("train: {memory: {request: 2Gi, limit: 2G}}", "steps.train.memory: request is above limit"),
        ("train: {scratch: 1Gi, volumes: {/tmp: mine}}", "/tmp is a volume already"),
        ("train: {volumes: {checkpoints: claim}}", "steps.train.volumes.checkpoints"),
    ],
)
def test_a_mistake_is_named(write, steps, fault):
    assert fault in complaint(write(f"steps: {{{steps}}}"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_SECRET_ACCESS_KEY", "planted"),
        ("API_KEY", "planted"),
        ("PASSWD", "planted"),
        ("MLFLOW_TRACKING_URI", "https://me:planted@mlflow.example"),
        ("DB_URI", "postgresql://me:planted@db"),
    ],
)
def test_a_secret_in_the_open_is_refused_and_not_repeated(write, name, value):
    said = complaint(write(f"steps: {{default: {{environment: {{{name}: '{value}'}}}}}}"))
    assert f"environment.{name}: looks like a secret; name it under secrets" in said
    assert "planted" not in said


def test_what_is_no_secret_may_be_in_the_open(write):
    harmless = "AWS_ENDPOINT_URL: 'http://store:8333', MLFLOW_KEYRING: a, HTTP_PROXY: 'http://p:3128'"
    load_profile(write(f"steps: {{default: {{environment: {{{harmless}}}}}}}"))


def test_every_setting_ends_in_the_pipeline(write, tmp_path):
    """What no profile that comes along has."""
    step = """
      pod_annotations: {sidecar.istio.io/inject: "false"}
      tolerations: [{key: pool, operator: Equal, value: faces, effect: NoExecute}]
      secrets: {store: {FIRST: key, SECOND: key}, other: {THIRD: key}}
    """
    profile = load_profile(write(f"steps:\n  score:{step}"))
    write_ir("scoring", profile, {}, tmp_path / "ir.yaml")
    _, platform = yaml.safe_load_all((tmp_path / "ir.yaml").read_text())
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-score"]
    assert settings["podMetadata"]["annotations"] == {"sidecar.istio.io/inject": "false"}
    (toleration,) = settings["tolerations"]
    assert toleration == {"key": "pool", "operator": "Equal", "value": "faces", "effect": "NoExecute"}
    named = [(entry["secretName"], pair) for entry in settings["secretAsEnv"] for pair in entry["keyToEnv"]]
    variables = [(secret, pair["envVar"], pair["secretKey"]) for secret, pair in named]
    assert variables == [("store", "FIRST", "key"), ("store", "SECOND", "key"), ("other", "THIRD", "key")]


def test_a_profile_that_is_not_there_says_which_are(tmp_path, monkeypatch):
    (tmp_path / "manifests" / "profiles").mkdir(parents=True)
    (tmp_path / "manifests" / "profiles" / "lab.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    assert complaint("prod").endswith("manifests/profiles: lab)")
