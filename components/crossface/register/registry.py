"""One version of a registered model: its files, what it was made of, and its alias."""

import base64
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from crossface.data.emotions import EMOTIONS
from crossface.data.reference import REFERENCE_FILE
from crossface.model.images import encode_png
from crossface.register.judge import judge_versions
from crossface.register.lineage import lineage_tags
from crossface.register.promotion import promote
from crossface.tracking import EVALUATION_FILES, EVALUATION_FOLDER, PARENT_TAG

REQUIREMENTS = ("mlflow-skinny", "numpy", "pandas", "pillow", "onnxruntime")

CARD_FILE = "README.md"

# A text column takes bytes and arrays too, as they are, and a server hands base64 on untouched: of a binary
# column it decodes every row itself, and one that is no base64 is the end of the whole request.
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string, "image")]),
    outputs=Schema(
        [
            *(ColSpec(DataType.float, name) for name in EMOTIONS),
            ColSpec(DataType.string, "expression"),
            ColSpec(DataType.float, "confidence"),
            ColSpec(DataType.string, "error"),
        ]
    ),
    params=ParamSchema(
        [ParamSpec("head", DataType.string, "mean"), ParamSpec("detect", DataType.boolean, False)]
    ),
)


@dataclass(frozen=True)
class Release:
    """What becomes a version."""

    network: Path
    """ONNX, as of :class:`crossface.model.export.Deployed`."""
    heads: Sequence[str]
    """Names of the network's heads after the mean."""
    example: np.ndarray
    """A face crop, uint8 [size, size, 3]."""
    margin: float
    """Context around a face that is found in a photo, as a share of its longer side."""
    card: str
    """Model card, Markdown."""
    description: str
    """Of the version: at most 5,000 characters, which is what MLflow keeps on PostgreSQL."""
    tags: Mapping[str, str]
    evaluation: Path
    """Folder that evaluate wrote; what a later candidate is compared with is kept of it."""


def register_version(release: Release, name: str, run_id: str, alias: str | None = None) -> str:
    """Log a release to a run and register it.

    Args:
        release: what to register.
        name: of the registered model.
        run_id: the MLflow run that holds the files.
        alias: that the version takes, last of all; None: no alias moves.

    Returns:
        The version.
    """
    client = MlflowClient()
    digest = sha256(release.network)
    with TemporaryDirectory() as folder:
        files = _write_files(release, digest, Path(folder))
        with mlflow.start_run(run_id=run_id):
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=Path(__file__).with_name("served_model.py"),
                artifacts=_artifacts(release, files),
                signature=SIGNATURE,
                input_example=(_example(release.example), {"head": "mean", "detect": False}),
                pip_requirements=[
                    f"{package}=={importlib.metadata.version(package)}" for package in REQUIREMENTS
                ],
            )
        client.log_model_artifact(logged.model_id, str(files / CARD_FILE))
        for name_of_file in EVALUATION_FILES:
            client.log_artifact(run_id, str(release.evaluation / name_of_file), EVALUATION_FOLDER)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    version = client.create_model_version(
        name,
        logged.model_uri,
        run_id,
        tags={**release.tags, **lineage_tags(run_id, digest)},
        description=release.description,
        model_id=logged.model_id,
    ).version
    if alias:
        client.set_registered_model_alias(name, alias, version)
    return str(version)


def nested_run(run_id: str, name: str) -> str:
    """A new run below another one: its id."""
    client = MlflowClient()
    parent = client.get_run(run_id).info
    return client.create_run(parent.experiment_id, tags={PARENT_TAG: run_id}, run_name=name).info.run_id


def promote_version(name: str, version: str) -> None:
    """Make a version the champion, if it still follows the champion that there is now.

    Raises:
        PromotionError, ConfigError, LockError: as of :func:`crossface.register.promotion.promote`.
    """
    client = MlflowClient()
    promote(client, name, version, partial(judge_versions, client, name))


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_files(release: Release, digest: str, folder: Path) -> Path:
    config = {
        "emotions": EMOTIONS,
        "heads": list(release.heads),
        "image_size": release.example.shape[0],
        "margin": release.margin,
        "network_sha256": digest,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / CARD_FILE).write_text(release.card)
    return folder


def _artifacts(release: Release, files: Path) -> dict[str, str]:
    found = {"network": str(release.network), "config": str(files / "config.json")}
    reference = release.evaluation / REFERENCE_FILE
    return found | ({"reference": str(reference)} if reference.is_file() else {})


def _example(face: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"image": [base64.b64encode(encode_png(face)).decode()]})
