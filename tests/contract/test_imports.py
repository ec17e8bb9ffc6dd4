"""Imports run one way, and only the faces of the steps know KFP."""

import ast
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

import crossface
import crossface_pipelines

PACKAGE = Path(crossface.__file__).parent
STEPS = (
    "ingest",
    "crop_faces",
    "find_leakage",
    "probe_bias",
    "train",
    "evaluate",
    "chart",
    "register",
    "pin_model",
    "score",
    "finalize",
)
FILES = sorted(path for path in PACKAGE.rglob("*.py"))
# rooms a step may use; data, the lowest, uses none of the others
ROOMS = {
    "bias": {"data", "bias"},
    "cropping": {"data", "cropping"},
    "gate": {"data", "gate"},
    "measures": {"data", "measures"},
    "model": {"data", "model"},
    "data": {"data"},
}
KNOW_MLFLOW = {
    "tracking.py",
    "pin_model/pin.py",
    "register/judge.py",
    "register/promotion.py",
    "register/registry.py",
    "register/served_model.py",
    "finalize/finalize.py",
}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("crossface.")}


def faults(place: str, names: set[str]) -> list[str]:
    """What is wrong with the imports of a file.

    Args:
        place: its path in the package.
        names: what it imports.
    """
    path, found = PurePosixPath(place), []
    room, used = path.parts[0], rooms(names)
    if any(name.startswith("crossface_pipelines") for name in names):
        found.append("a step knows nothing of the pipelines")
    if room in STEPS:
        if not used & set(STEPS) <= {room}:
            found.append("steps never import each other")
    elif room in ROOMS:
        if not used - {"errors", "config", "progress", "bootstrap"} <= ROOMS[room]:
            found.append(f"{room} uses a room that is above it")
    elif used & set(STEPS):
        found.append("what steps share imports a step")
    tops = {name.split(".")[0] for name in names}
    if ("kfp" in tops) != (path.name == "component.py"):
        found.append("kfp is known to components alone")
    if "mlflow" in tops and place not in KNOW_MLFLOW:
        found.append("logic does not know MLflow")
    faces = {"component.py", "__main__.py"}
    if path.name not in faces and place != "finalize/finalize.py" and "crossface.tracking" in names:
        found.append("tracking is for the faces of a step")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_run_one_way_and_logic_knows_neither_kfp_nor_mlflow(path):
    assert faults(path.relative_to(PACKAGE).as_posix(), imported(path)) == []


@pytest.mark.parametrize(
    ("place", "name", "fault"),
    [
        ("train/loop.py", "crossface_pipelines.cli", "nothing of the pipelines"),
        ("train/loop.py", "crossface.evaluate.report", "never import each other"),
        ("data/crops.py", "crossface.model.networks", "a room that is above it"),
        ("model/networks.py", "crossface.train.loop", "a room that is above it"),
        ("tracking.py", "crossface.train.loop", "imports a step"),
        ("train/loop.py", "kfp.dsl", "components alone"),
        ("train/component.py", "pathlib", "components alone"),
        ("train/loop.py", "mlflow", "does not know MLflow"),
        ("train/loop.py", "crossface.tracking", "faces of a step"),
    ],
)
def test_each_rule_is_noticed_when_broken(place, name, fault):
    assert any(fault in found for found in faults(place, {name}))


@pytest.mark.parametrize("step", STEPS)
def test_step_folder_is_complete(step):
    names = {path.name for path in (PACKAGE / step).iterdir()}
    assert {"__init__.py", "__main__.py", "component.py", "README.md"} <= names
    assert step in {"chart", "finalize"} or "config.py" in names  # nothing can be set there
    # in a pod kfp is only partly there, so a step's package must not drag its component in
    assert not imported(PACKAGE / step / "__init__.py")
    text = (PACKAGE / step / "README.md").read_text()
    parts = ("\n| in |", "\n| out |", "\n| cost |", "\n## Fails when\n")
    assert [part for part in parts if part not in text] == []


def test_help_loads_no_heavy_library():
    code = (
        "import sys; from crossface_pipelines.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'kfp', 'mlflow', 'pandas', 'pyarrow', 'sklearn', 'pydantic'}\n"
        "print('loaded', heavy & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "loaded set()" in out


def test_no_registry_host_and_no_pickle():
    root = Path(crossface_pipelines.__file__).parents[2]
    pinned = (root / "constraints.txt").read_text()
    assert "://" not in pinned
    for path in [*FILES, *Path(crossface_pipelines.__file__).parent.rglob("*.py")]:
        assert not {"pickle", "cloudpickle", "joblib"} & imported(path), path
        assert "torch.load" not in path.read_text(), path
