"""The deployed network as ONNX: pixels in, probabilities out, nothing left for a caller to get wrong."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from crossface.errors import CrossfaceError
from crossface.model.networks import CrossfaceNet

TOLERANCE = 1e-4
"""Largest difference in probability between the exported and the trained network."""


class ExportError(CrossfaceError):
    """The exported network does not say what the trained one says."""


class Deployed(nn.Module):
    """Normalisation, backbone, all heads, softmax and their mean.

    uint8 [n, size, size, 3] RGB -> float32 [n, 7], rows sum to 1.
    """

    def __init__(self, net: CrossfaceNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        """Mean over the heads of their class probabilities."""
        _, logits = self.net(image.permute(0, 3, 1, 2).float())
        return logits.softmax(-1).mean(0)


def export_onnx(net: CrossfaceNet, target: Path, sample: np.ndarray) -> float:
    """Write the deployed network to one ONNX file and check it against torch.

    Args:
        net: the trained network.
        target: the file to write.
        sample: uint8 [n, size, size, 3], n >= 2: real crops to compare both on.

    Returns:
        The largest difference in probability on the sample.

    Raises:
        ExportError: the difference is over ``TOLERANCE``.
    """
    import onnxruntime

    deployed = Deployed(net.cpu()).eval()
    images = torch.from_numpy(sample)
    torch.onnx.export(
        deployed,
        (images,),
        target,
        input_names=["image"],
        output_names=["probabilities"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = deployed(images).numpy()
    difference = float(np.abs(session.run(None, {"image": sample})[0] - expected).max())
    if not difference <= TOLERANCE:
        raise ExportError(f"ONNX and torch differ by {difference:.2g} in probability (at most {TOLERANCE:g})")
    return difference
