"""Batches on the device: sampled, cut out of the store and augmented there."""

from dataclasses import dataclass

import torch
from torch import Tensor

from crossface.model.augment import Augmentation
from crossface.model.devices import send
from crossface.train.config import TrainConfig
from crossface.train.data import Faces
from crossface.train.distributed import rank, world_size
from crossface.train.randomness import Stream, generator
from crossface.train.sampling import BatchSampler

_GPU_SHARE = 0.5  # of the free memory of a GPU that the faces may take


@dataclass(frozen=True)
class Batch:
    """This process's part of a batch, on its device."""

    images: Tensor
    """uint8 [n, 3, size, size], channels_last."""
    emotion: Tensor
    """int64 [n]."""
    dataset: Tensor
    """int64 [n]."""


class Batches:
    """The batch of any step, the same however many processes share it.

    The faces lie on the GPU if half of its free memory holds them; otherwise they are read from the mapped
    file.

    Args:
        config: of the training; ``batch_size`` is that of all processes together.
        faces: of the train split.
        device: where the batches shall be.
    """

    def __init__(self, config: TrainConfig, faces: Faces, device: torch.device) -> None:
        self.size = min(config.batch_size, len(faces)) // world_size() * world_size()
        self._config = config
        self._sampler = BatchSampler(faces.dataset, self.size, config.sampling, config.seed)
        self._augment = Augmentation(config.augmentation, config.image_size)
        self._device = device
        self._images = faces.images
        if device.type == "cuda" and faces.images.nbytes < _GPU_SHARE * torch.cuda.mem_get_info(device)[0]:
            self._images = faces.images.to(device)
        self._emotion, self._dataset = faces.emotion.to(device), faces.dataset.to(device)

    def of_step(self, step: int) -> Batch:
        """The batch of a step, from 0: every process takes every n-th sample of it."""
        mine = slice(rank(), None, world_size())
        rows = self._sampler.batch(step)[mine]
        chances = self._augment.draw(self.size, generator(self._config.seed, Stream.AUGMENTATION, step))[mine]
        there = send(rows, self._device)
        if self._images.device == self._device:
            images = self._augment(self._images, there, send(chances, self._device))
        else:
            images = send(self._augment(self._images, rows, chances), self._device)
        return Batch(images, self._emotion[there], self._dataset[there])
