"""Where a task runs: its image, and (on a cluster) its place and its limits."""

import hashlib
import importlib.metadata
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import crossface

STEP_IMAGES = {
    "ingest": "data",
    "crop_faces": "data",
    "find_leakage": "data",
    "probe_bias": "torch",
    "train": "torch",
    "evaluate": "torch",
    "chart": "torch",
    "register": "torch",
    "pin_model": "data",
    "score": "torch",
    "finalize": "data",
}
"""Logical image of each step."""

_SHARED_CODE = (
    *("data", "cropping", "model", "bias", "gate", "bootstrap.py", "config.py", "errors.py", "markdown.py"),
    *("outputs.py", "progress.py", "tracking.py"),
)
_NOT_RUN = {"__pycache__", "sample"}
_PACKAGES = (
    *("boto3", "faiss-cpu", "kfp", "mlflow-skinny", "numpy", "onnxruntime", "pillow", "py7zr", "pyarrow"),
    *("scikit-learn", "scipy", "timm", "torch", "torchvision"),
)


@dataclass(frozen=True)
class Profile:
    """Images of the steps, and whether their results may be cached."""

    images: dict[str, str] = field(default_factory=dict)
    """Image reference of each step."""
    caching: bool = True

    def place(self, task: Any, step: str, cache: bool = True) -> Any:
        """Apply the profile to a task of the DAG and return it.

        Args:
            task: a ``kfp.dsl.PipelineTask``.
            step: which step it is.
            cache: whether a result of an earlier run may stand in for this task at all.
        """
        return task.set_container_image(self.images[step]).set_caching_options(self.caching and cache)


def container_profile(images: dict[str, str], caching: bool = True) -> Profile:
    """Steps in containers: ``images`` maps the logical names ``data`` and ``torch`` to references."""
    return Profile({step: images[logical] for step, logical in STEP_IMAGES.items()}, caching)


def source_profile(caching: bool = True) -> Profile:
    """Steps as processes of this environment.

    The image string takes part in the cache key, so here it is a hash of the code a step runs and of the
    packages it uses: results of old code are never mistaken for those of new code.
    """
    return Profile({step: f"python-crossface:{_code_hash(step)}" for step in STEP_IMAGES}, caching)


def _code_hash(step: str) -> str:
    root = Path(crossface.__file__).parent
    digest = hashlib.sha256()
    for part in (*_SHARED_CODE, step):
        path = root / part
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and not _NOT_RUN & set(file.parts) and file.suffix != ".md":
                digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    digest.update(platform.python_version().encode())
    for package in _PACKAGES:
        digest.update(f"{package}={importlib.metadata.version(package)}\n".encode())
    return digest.hexdigest()[:16]
