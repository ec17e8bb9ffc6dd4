"""The whole pipeline on real photographs, where there are some.

``CROSSFACE_REAL_FACES`` names a folder with a folder a source, each with ``images/`` and ``legend.csv``
(``user.id,image,emotion``).
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from crossface.data.emotions import EMOTIONS

FACES = os.environ.get("CROSSFACE_REAL_FACES")


@pytest.mark.skipif(not FACES, reason="CROSSFACE_REAL_FACES names no folder of real photographs")
def test_real_photographs_go_through(tmp_path):
    options = {
        "file": "legend.csv",
        "path_column": "image",
        "label_column": "emotion",
        "image_dir": "images",
        "label_map": {**{name: name for name in EMOTIONS}, "contempt": None},
    }
    sources = sorted(path.parent for path in Path(FACES).glob("*/legend.csv"))
    small = {"backbone": "resnet8", "feature_dim": 32}
    params = {
        "datasets": [{"key": s.name, "format": "csv", "source": str(s), "options": options} for s in sources],
        "crop": {"size": 48},
        "probe": small,
        "train": {**small, "epochs": 1, "batch_size": 64},
        "adapted": {"adapt": "cda"},
        "evaluation": {"gate": {"min_balanced_accuracy": 0, "max_drop": 1, "probe_must_fall": False}},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    command = [sys.executable, "-m", "crossface_pipelines.cli", "run", "--params", "params.yaml"]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "KFP_"))}
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(source.name in done.stdout for source in sources)
    assert "registered  crossface version 1" in done.stdout
