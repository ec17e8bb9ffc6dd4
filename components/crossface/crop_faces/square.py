"""The geometry of a crop: a square around the face, padded where it leaves the photo."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image


class OutsideError(Exception):
    """No pixel of the face is in the photo."""


@dataclass(frozen=True)
class Box:
    """A face in the pixels of its upright photo; it may leave the photo."""

    left: float
    top: float
    width: float
    height: float

    @property
    def has_area(self) -> bool:
        """Whether the box is finite and spans something."""
        numbers = (self.left, self.top, self.width, self.height)
        return all(map(math.isfinite, numbers)) and self.width > 0 and self.height > 0

    @property
    def longer_side(self) -> float:
        """In pixels of the photo."""
        return max(self.width, self.height)

    def meets(self, image: Image.Image) -> bool:
        """Whether any part of the box lies in the image."""
        across = min(self.left + self.width, image.width) > max(self.left, 0.0)
        down = min(self.top + self.height, image.height) > max(self.top, 0.0)
        return across and down


@dataclass(frozen=True)
class Square:
    """A square in the pixels of a photo."""

    left: float
    top: float
    side: float

    @classmethod
    def around(cls, box: Box, margin: float) -> Self:
        """The square with the box's centre whose side is the longer one of the box plus two margins."""
        side = box.longer_side * (1 + 2 * margin)
        return cls(box.left + (box.width - side) / 2, box.top + (box.height - side) / 2, side)


def cut(image: Image.Image, square: Square, size: int) -> Image.Image:
    """Resize a square of an image to ``size`` x ``size`` pixels, antialiased.

    Pixels of the crop that are not wholly in the photo repeat the nearest one that is. Padding the crop
    instead of the photo keeps the memory bounded for any box.

    Raises:
        OutsideError: not one pixel of the crop lies wholly in the photo.
    """
    scale = square.side / size  # photo pixels a crop pixel
    first_x, end_x = _visible(square.left, image.width, scale, size)
    first_y, end_y = _visible(square.top, image.height, scale, size)
    if first_x >= end_x or first_y >= end_y:
        raise OutsideError(
            f"less than a pixel of {square} is in the photo of {image.width} x {image.height} px"
        )
    region = (
        max(square.left + first_x * scale, 0.0),
        max(square.top + first_y * scale, 0.0),
        min(square.left + end_x * scale, image.width),
        min(square.top + end_y * scale, image.height),
    )
    visible = image.resize(
        (end_x - first_x, end_y - first_y), Image.Resampling.LANCZOS, box=region, reducing_gap=3.0
    )
    padding = ((first_y, size - end_y), (first_x, size - end_x), (0, 0))
    return Image.fromarray(np.pad(np.asarray(visible), padding, mode="edge"))


def _visible(start: float, length: int, scale: float, size: int) -> tuple[int, int]:
    """Range of crop pixels along one axis that lie wholly in [0, length), up to rounding errors."""
    tolerance = 1e-4
    first = math.ceil(-start / scale - tolerance)
    end = math.floor((length - start) / scale + tolerance)
    return max(first, 0), min(end, size)
