"""A place where runs of a whole pipeline on tiny drawn data are started as a user would start them."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# seconds of training, and a gate that lets such a model pass, so that registration is reached
SMALL = (
    "crop.size=32", "train.epochs=1", "train.batch_size=48", "train.feature_dim=32", "probe.feature_dim=32",
    "probe.permutations=2", "evaluation.probe.permutations=2", "evaluation.umap_faces=90",
    "evaluation.gate.min_balanced_accuracy=0", "evaluation.gate.max_drop=1",
    "evaluation.gate.probe_must_fall=false", "evaluation.gate.max_ece=1",
)  # fmt: skip

PLANTED = {
    "AWS_ACCESS_KEY_ID": "planted-key-id",
    "AWS_SECRET_ACCESS_KEY": "planted-secret-key",
    "MLFLOW_TRACKING_USERNAME": "somebody",
    "MLFLOW_TRACKING_PASSWORD": "planted-password",
}
"""What every run is given, and nothing that it leaves behind may hold."""


@dataclass(frozen=True)
class Workplace:
    """An empty directory with sample data, and the command as it is typed there."""

    root: Path

    def command(self, *settings: str, options: Sequence[str] = ()) -> list[str]:
        sets = [part for setting in (*SMALL, *settings) for part in ("--set", setting)]
        return [sys.executable, "-m", "crossface_pipelines.cli", "run", "--params", "sample", *sets, *options]

    def environment(self) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "KFP_"))}
        return {**clean, **PLANTED, "PYTHONUNBUFFERED": "1"}

    def run(
        self, *settings: str, options: Sequence[str] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*settings, options=options),
            cwd=self.root,
            env={**self.environment(), **environment},
            capture_output=True,
            text=True,
            timeout=600,
        )

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.root / 'runs' / 'mlflow.db'}"


def new_workplace(root: Path) -> Workplace:
    """An empty folder becomes a workplace: few faces are drawn."""
    from crossface.data.sample import write_sample_data

    write_sample_data(root / "data" / "sample", faces=360, seed=1)
    return Workplace(root)


def files_with_a_secret(*roots: Path) -> list[Path]:
    """Files that hold one of the planted secrets."""
    secrets = [value.encode() for value in PLANTED.values() if value.startswith("planted")]
    found = [path for root in roots for path in root.rglob("*") if path.is_file()]
    assert found
    return [path for path in found if any(secret in path.read_bytes() for secret in secrets)]
