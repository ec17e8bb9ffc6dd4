"""One version of a registered model: its files, what it was made of, and its alias."""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from crossface.data.emotions import EMOTIONS
from crossface.model.export import export_onnx
from crossface.model.images import encode_png
from crossface.model.saving import WEIGHTS_FILE, load_model

REQUIREMENTS = ("numpy", "pandas", "pillow", "onnxruntime")

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.binary, "image")]),
    outputs=Schema(
        [*(ColSpec(DataType.float, name) for name in EMOTIONS), ColSpec(DataType.string, "expression")]
    ),
)


def register_version(
    model: Path, sample: np.ndarray, name: str, alias: str, tags: Mapping[str, str], run_id: str
) -> str:
    """Export a model folder, log it to a run, register it and give it the alias.

    Args:
        model: the model folder.
        sample: uint8 [n, size, size, 3], n >= 2: real crops on which the export is checked.
        name: of the registered model.
        alias: that the version takes, last of all.
        tags: of the version.
        run_id: the MLflow run that holds the files.

    Returns:
        The version.

    Raises:
        ExportError: the exported network differs from the trained one; nothing is registered.
    """
    net = load_model(model)
    with TemporaryDirectory() as folder:
        network, config = Path(folder, "network.onnx"), Path(folder, "config.json")
        difference = export_onnx(net, network, sample)
        config.write_text(json.dumps({"emotions": EMOTIONS, "image_size": net.config.image_size}))
        digests = {"onnx_sha256": _sha256(network), "weights_sha256": _sha256(model / WEIGHTS_FILE)}
        with mlflow.start_run(run_id=run_id):
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=Path(__file__).with_name("served_model.py"),
                artifacts={"network": str(network), "config": str(config)},
                signature=SIGNATURE,
                input_example=pd.DataFrame({"image": [encode_png(sample[0])]}),
                pip_requirements=[
                    f"{package}=={importlib.metadata.version(package)}" for package in REQUIREMENTS
                ],
            )
    client = MlflowClient()
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    version = client.create_model_version(name, logged.model_uri, run_id, model_id=logged.model_id).version
    for key, value in {**tags, **digests, "export_difference": f"{difference:.2g}"}.items():
        client.set_model_version_tag(name, version, key, value)
    client.set_registered_model_alias(name, alias, version)
    return str(version)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
