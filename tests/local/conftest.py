"""Runs of the whole pipeline on tiny drawn data, as a user would start them."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

# seconds of training, and a gate that lets such a model pass, so that registration is reached
SMALL = (
    "crop.size=32", "train.epochs=1", "train.batch_size=48", "train.feature_dim=32", "probe.feature_dim=32",
    "probe.permutations=2", "evaluation.probe.permutations=2", "evaluation.umap_faces=90",
    "evaluation.gate.min_balanced_accuracy=0", "evaluation.gate.max_drop=1",
    "evaluation.gate.probe_must_fall=false", "evaluation.gate.max_ece=1",
)  # fmt: skip


@dataclass(frozen=True)
class Workplace:
    """An empty directory with sample data, and the command as it is typed there."""

    root: Path

    def command(self, *settings: str) -> list[str]:
        sets = [part for setting in (*SMALL, *settings) for part in ("--set", setting)]
        return [sys.executable, "-m", "crossface_pipelines.cli", "run", "--params", "sample", *sets]

    def environment(self) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "KFP_"))}
        return {**clean, "PYTHONUNBUFFERED": "1"}

    def run(self, *settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*settings),
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=600,
        )

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.root / 'runs' / 'mlflow.db'}"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    from crossface.data.sample import write_sample_data

    root = tmp_path_factory.mktemp("workplace")
    write_sample_data(root / "data" / "sample", faces=360, seed=1)
    return Workplace(root)
