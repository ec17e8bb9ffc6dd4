"""The registered model: MLflow stores this file and runs it where the model is loaded ("models from code").

It imports nothing of crossface and no torch, so a consumer needs only the packages in ``REQUIREMENTS`` of
``registry.py``.
"""

import base64
import binascii
import io
import json
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext
from PIL import Image, ImageOps

_MAX_PIXELS = 100_000_000


class ExpressionModel(PythonModel):  # type: ignore[misc]
    """Face crops in, seven probabilities and the likeliest expression out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Open the network once."""
        import onnxruntime

        with open(context.artifacts["config"]) as file:  # noqa: PTH123
            config = json.load(file)
        self._emotions: list[str] = config["emotions"]
        self._size: int = config["image_size"]
        self._session = onnxruntime.InferenceSession(
            context.artifacts["network"], providers=["CPUExecutionProvider"]
        )

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Read the expression of each face.

        Args:
            context: unused, the network is open.
            model_input: column ``image``: JPEG or PNG files as bytes, or as base64 text, each a face crop;
                one that is not square is cut to its middle.
            params: none are known.

        Returns:
            One row a face: a column of probability for each emotion, and ``expression``.

        Raises:
            ValueError: a row is no image; says which.
        """
        faces = [self._read(row, value) for row, value in enumerate(model_input["image"])]
        if not faces:
            return pd.DataFrame(columns=[*self._emotions, "expression"])
        (probabilities,) = self._session.run(None, {"image": np.stack(faces)})
        table = pd.DataFrame(probabilities, columns=self._emotions)
        table["expression"] = [self._emotions[index] for index in probabilities.argmax(1)]
        return table

    def _read(self, row: int, value: bytes | str) -> np.ndarray:
        try:
            data = base64.b64decode(value, validate=True) if isinstance(value, str) else value
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
                if image.width * image.height > _MAX_PIXELS:
                    raise ValueError(f"more than {_MAX_PIXELS} pixels")
                upright = ImageOps.exif_transpose(image).convert("RGB")
                square = ImageOps.fit(upright, (self._size, self._size), Image.Resampling.LANCZOS)
                return np.asarray(square)
        except (OSError, ValueError, binascii.Error, Image.DecompressionBombError) as error:
            raise ValueError(f"row {row}: not a JPEG or PNG image: {error}") from None


mlflow.models.set_model(ExpressionModel())
