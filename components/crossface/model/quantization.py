"""An exported network in 8-bit integers: a quarter of the size, and on most CPUs two to three times as fast.

Static quantisation (Jacob et al., CVPR 2018): ranges of the activations are measured once, on real crops.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from crossface.model.export import Agreement, agreement, run_onnx

_BATCH = 32

# What the backbone and the heads spend their time on. Normalisation, softmax, logarithm and temperature stay
# in floating point: the logarithm of a probability in 256 steps would be noise.
_OPERATORS = ("Conv", "Gemm", "MatMul", "Add", "Relu", "LeakyRelu", "MaxPool", "GlobalAveragePool")


def quantize_onnx(network: Path, calibration: np.ndarray, target: Path) -> None:
    """Write a copy of an exported network with weights and activations in int8, weights channel by channel.

    Args:
        network: of :func:`crossface.model.export.export_onnx`.
        calibration: uint8 [n, size, size, 3], n > 0: real crops, none of the test split.
        target: the file to write.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(network, prepared)
        quantize_static(
            prepared,
            target,
            _Reader(calibration),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,  # x86 multiplies unsigned by signed; signed by signed is slow
            op_types_to_quantize=list(_OPERATORS),
            per_channel=True,
        )


def compare_onnx(network: Path, other: Path, sample: np.ndarray) -> Agreement:
    """Run two exported networks on the same crops.

    Args:
        network: an exported network.
        other: another one of the same heads.
        sample: uint8 [n, size, size, 3], n > 0.
    """
    return agreement(run_onnx(network, sample), run_onnx(other, sample))


class _Reader:
    """Feeds crops to onnxruntime, a batch at a time; None says that there are no more."""

    def __init__(self, images: np.ndarray) -> None:
        self._batches: Iterator[np.ndarray] = (
            images[start : start + _BATCH] for start in range(0, len(images), _BATCH)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"image": batch}
