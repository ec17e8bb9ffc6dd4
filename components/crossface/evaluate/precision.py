"""May the networks run in bf16? Only where they say the same in it.

Hardware that multiplies bf16 runs a network in about half the time, but each number is rounded to eight bits.
Whether that matters is a question to the models at hand, so they are asked. All models of an evaluation run
in one precision, or the comparison would not be fair.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as pad

from crossface.data.crops import open_crops
from crossface.evaluate.config import EvaluateConfig
from crossface.evaluate.tables import evenly_chosen
from crossface.model.devices import use_bf16
from crossface.model.images import iter_decoded
from crossface.model.inference import predict
from crossface.model.networks import CrossfaceNet

FACES = 256
"""Dev faces that both precisions are tried on, of all datasets together: some seconds."""

MAX_PROBABILITY_DIFFERENCE = 0.02
"""Greatest that is allowed. On 40,000 images a trained ResNet-8 had 0.008 at most and a ResNet-18 0.016: a
network that has more amplifies the rounding."""

MAX_CHANGED_EXPRESSIONS = 0.005
"""Greatest allowed share of faces of which another expression is said. It moves an accuracy by no more than
that: a quarter of what the gate lets a model lose by default."""


@dataclass(frozen=True)
class Inference:
    """The precision that all networks of an evaluation run in, and what was seen before it was chosen."""

    precision: Literal["fp32", "bf16"]
    requested: Literal["auto", "fp32", "bf16"]
    faces: int
    """That both precisions were tried on; none where there was nothing to choose."""
    max_probability_difference: float | None
    """Greatest difference of a probability of the mean head, over all faces and models."""
    changed_expressions: float | None
    """Share of the faces of which the mean head says another expression, of the model with the most."""

    @property
    def bf16(self) -> bool:
        """As the networks are told."""
        return self.precision == "bf16"


def choose_precision(
    crops: list[Path], models: Mapping[str, CrossfaceNet], config: EvaluateConfig
) -> Inference:
    """Choose by what the models say of some dev faces in either precision.

    ``auto`` becomes bf16 where the hardware multiplies it and no model differs by more than is allowed;
    ``bf16`` is taken as told, and the differences are only noted.

    Args:
        crops: one crops folder a dataset.
        models: by name, on one device.
        config: the precision that is asked for, and the seed of the sample.
    """
    requested = config.precision
    device = next(next(iter(models.values())).parameters()).device
    if not use_bf16(requested, device):
        return Inference("fp32", requested, 0, None, None)
    faces, differences, changed = _compare(_sample(crops, config.seed), models)
    alike = faces > 0 and differences <= MAX_PROBABILITY_DIFFERENCE and changed <= MAX_CHANGED_EXPRESSIONS
    chosen: Literal["fp32", "bf16"] = "bf16" if requested == "bf16" or alike else "fp32"
    return Inference(chosen, requested, faces, differences, changed)


def _sample(crops: list[Path], seed: int) -> pad.Dataset:
    dev = open_crops(crops).filter(pc.field("split") == "dev")
    known = dev.to_table(columns=["face_id", "dataset"])
    chosen = evenly_chosen(np.asarray(known["dataset"]), FACES, seed)
    return dev.filter(pc.field("face_id").isin(known["face_id"].take(chosen).combine_chunks()))


def _compare(sample: pad.Dataset, models: Mapping[str, CrossfaceNet]) -> tuple[int, float, float]:
    """Number of faces, greatest difference of a probability, greatest share of changed expressions."""
    faces, greatest, changed = 0, 0.0, dict.fromkeys(models, 0)
    for rows, images in iter_decoded(sample, {net.config.image_size for net in models.values()}, ["dataset"]):
        faces += len(rows)
        datasets = rows["dataset"].to_pylist()
        for name, net in models.items():
            size = net.config.image_size
            fp32, bf16 = (predict(net, images[size], datasets, bf16=bf16).mean for bf16 in (False, True))
            greatest = max(greatest, float(np.abs(fp32 - bf16).max()))
            changed[name] += int((fp32.argmax(1) != bf16.argmax(1)).sum())
    return faces, greatest, max(changed.values()) / max(faces, 1)
