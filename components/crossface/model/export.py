"""The deployed network as ONNX: pixels in, calibrated probabilities out, nothing left to get wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from crossface.errors import CrossfaceError
from crossface.model.networks import CrossfaceNet

TOLERANCE = 1e-4
"""Largest difference in probability between the exported and the trained network."""

_TINY = torch.finfo(torch.float32).tiny  # a probability that is 0 in float32 would have no logarithm


class ExportError(CrossfaceError):
    """The exported network does not say what the trained one says."""


@dataclass(frozen=True)
class Agreement:
    """How far two networks agree on the same faces."""

    difference: float
    """Largest difference in probability, over all heads."""
    changed: float
    """Share of the faces for which the mean head names another expression."""


class Deployed(nn.Module):
    """Normalisation, backbone, all heads, softmax, their mean, and the temperature of all of these.

    uint8 [n, size, size, 3] RGB -> float32 [n, 1 + heads, 7], rows sum to 1: the mean over the heads, then
    each head. Probabilities are to the power of 1/T and scaled to sum to 1, which is temperature scaling (Guo
    et al., ICML 2017, equation 9) with log probabilities for logits: a mean over heads has no others.

    Args:
        net: the trained network.
        temperature: T, fitted on the mean of the heads.
    """

    def __init__(self, net: CrossfaceNet, temperature: float) -> None:
        super().__init__()
        self.net = net
        self.temperature = temperature

    def forward(self, image: Tensor) -> Tensor:
        """Calibrated class probabilities."""
        _, logits = self.net(image.permute(0, 3, 1, 2).float())
        heads = logits.softmax(-1).transpose(0, 1)
        said = torch.cat([heads.mean(1, keepdim=True), heads], dim=1)
        return (said.clamp_min(_TINY).log() / self.temperature).softmax(-1)


def export_onnx(net: CrossfaceNet, target: Path, sample: np.ndarray, temperature: float = 1.0) -> Agreement:
    """Write the deployed network to one ONNX file and check it against torch.

    Args:
        net: the trained network.
        target: the file to write; input ``image``, output ``probabilities``, as of :class:`Deployed`.
        sample: uint8 [n, size, size, 3], n >= 2: real crops to compare both on.
        temperature: of the probabilities; 1 leaves them as they were trained.

    Returns:
        How far ONNX and torch agree on the sample.

    Raises:
        ExportError: the difference in probability is over ``TOLERANCE``.
    """
    deployed = Deployed(net.cpu(), temperature).eval()
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
    with torch.inference_mode():
        expected = deployed(images).numpy()
    found = agreement(run_onnx(target, sample), expected)
    if not found.difference <= TOLERANCE:
        raise ExportError(
            f"ONNX and torch differ by {found.difference:.2g} in probability (at most {TOLERANCE:g})"
        )
    return found


def agreement(first: np.ndarray, second: np.ndarray) -> Agreement:
    """Compare what two networks say of the same faces: float32 [n, 1 + heads, 7], n > 0."""
    changed = first[:, 0].argmax(-1) != second[:, 0].argmax(-1)
    return Agreement(float(np.abs(first - second).max()), float(changed.mean()))


def open_onnx(network: Path) -> Callable[[np.ndarray], np.ndarray]:
    """An exported network that answers again and again, as of :func:`run_onnx`."""
    import onnxruntime

    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"image": images})[0]


def run_onnx(network: Path, images: np.ndarray) -> np.ndarray:
    """What an exported network says of images uint8 [n, size, size, 3]: float32 [n, 1 + heads, 7]."""
    return open_onnx(network)(images)
