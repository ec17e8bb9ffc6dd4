"""A profile for steps that run as processes of this environment."""

import hashlib
import importlib.metadata
import platform
from pathlib import Path

import crossface
from crossface_pipelines.profiles import Profile
from crossface_pipelines.steps import STEP_IMAGES

_NOT_RUN = {"__pycache__", "sample"}
_PACKAGES = (
    *("boto3", "faiss-cpu", "kfp", "mlflow-skinny", "numpy", "onnxruntime", "pillow", "py7zr", "pyarrow"),
    *("scikit-learn", "scipy", "timm", "torch", "torchvision"),
)


def source_profile(caching: bool = True) -> Profile:
    """Steps as processes of this environment.

    The image string takes part in the cache key, so here it is a hash of the code a step runs and of the
    packages it uses: results of old code are never mistaken for those of new code.
    """
    return Profile({step: f"python-crossface:{_code_hash(step)}" for step in STEP_IMAGES}, caching)


def _code_hash(step: str) -> str:
    root = Path(crossface.__file__).parent
    digest = hashlib.sha256()
    # what is no step is shared by all of them
    for path in sorted(path for path in root.iterdir() if path.name == step or path.name not in STEP_IMAGES):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and not _NOT_RUN & set(file.parts) and file.suffix != ".md":
                digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    digest.update(platform.python_version().encode())
    for package in _PACKAGES:
        digest.update(f"{package}={importlib.metadata.version(package)}\n".encode())
    return digest.hexdigest()[:16]
