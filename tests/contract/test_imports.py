"""Imports run one way, and only the faces of the steps know KFP."""

import ast
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_run_one_way(path):
    names = imported(path)
    room = path.relative_to(PACKAGE).parts[0]
    assert not any(name.startswith("crossface_pipelines") for name in names)
    if room in STEPS:
        assert rooms(names) & set(STEPS) <= {room}, "steps never import each other"
    elif room in ROOMS:
        assert rooms(names) - {"errors", "config", "progress", "bootstrap"} <= ROOMS[room]
    else:
        assert not rooms(names) & set(STEPS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_logic_knows_neither_kfp_nor_mlflow(path):
    tops = {name.split(".")[0] for name in imported(path)}
    place = path.relative_to(PACKAGE).as_posix()
    assert ("kfp" in tops) == (path.name == "component.py")
    assert "mlflow" not in tops or place in KNOW_MLFLOW
    if path.name not in {"component.py", "__main__.py"} and place != "finalize/finalize.py":
        assert "crossface.tracking" not in imported(path)


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
