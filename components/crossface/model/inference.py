"""What a trained network says of images."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from crossface.model.networks import CrossfaceNet


@dataclass(frozen=True)
class Outputs:
    """One row an image: features float32 [n, width]; class probabilities float32 [n, 7]."""

    features: np.ndarray
    own: np.ndarray
    """Softmax of the head of the image's own dataset; the mean where its dataset has no head."""
    mean: np.ndarray
    """Mean over the heads of their softmax: what is deployed."""
    others: np.ndarray | None
    """The same without the own head, which has learnt its dataset's labelling habits; None for one head."""


def predict(
    net: CrossfaceNet, images: Tensor, datasets: Sequence[str], batch_size: int = 256, bf16: bool = False
) -> Outputs:
    """Run the network in evaluation mode.

    Args:
        net: on any device.
        images: uint8 [n, 3, size, size] on the CPU.
        datasets: n dataset keys, which choose the own head.
        batch_size: images at a time.
        bf16: run the backbone in bf16 autocast. The heads, which cost next to nothing, stay in fp32: a logit
            of bf16 has eight bits.
    """
    own_head = head_indices(net, datasets)
    features, own, mean, others = [], [], [], []
    with _evaluating(net):
        for batch, rows in _batches(net, images, batch_size):
            with torch.autocast(batch.device.type, torch.bfloat16, enabled=bf16):
                feature = net.backbone(batch).float()
            probabilities = net.head_logits(feature).softmax(-1)
            batch_mean = probabilities.mean(0)
            head = own_head[rows].to(batch.device)
            batch_own = probabilities[head.clamp(min=0), torch.arange(len(head), device=batch.device)]
            features.append(feature.cpu())
            mean.append(batch_mean.cpu())
            own.append(torch.where((head >= 0)[:, None], batch_own, batch_mean).cpu())
            others.append(_mean_without(probabilities, head).cpu())
    return Outputs(
        features=torch.cat(features).numpy(),
        own=torch.cat(own).numpy(),
        mean=torch.cat(mean).numpy(),
        others=torch.cat(others).numpy() if len(net.heads) > 1 else None,
    )


def extract_features(backbone: nn.Module, images: Tensor, batch_size: int = 256) -> np.ndarray:
    """Features float32 [n, width] of a backbone in evaluation mode, for uint8 images [n, 3, size, size]."""
    with _evaluating(backbone):
        return torch.cat(
            [backbone(batch).float().cpu() for batch, _ in _batches(backbone, images, batch_size)]
        ).numpy()


def head_indices(net: CrossfaceNet, datasets: Sequence[str]) -> Tensor:
    """Index of each dataset's head, int64 [n]; -1 where the network has none (or one pooled head)."""
    index = {name: position for position, name in enumerate(net.config.heads)}
    return torch.tensor([index.get(name, -1) for name in datasets], dtype=torch.int64)


def _mean_without(probabilities: Tensor, head: Tensor) -> Tensor:
    """Mean over the heads [heads, n, 7] but one, int64 [n] (-1: over all of them): [n, 7]."""
    kept = torch.arange(len(probabilities), device=head.device)[:, None] != head
    return (probabilities * kept[..., None]).sum(0) / kept.sum(0)[:, None]


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    was_training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        module.train(was_training)


def _batches(module: nn.Module, images: Tensor, batch_size: int) -> Iterator[tuple[Tensor, slice]]:
    device = next(module.parameters()).device
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        yield images[rows].to(device, memory_format=torch.channels_last), rows
