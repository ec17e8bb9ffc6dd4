"""The geometry of a crop: a square around the face, padded where it leaves the photo."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image

_LANCZOS_REACH = 3.0  # source pixels, of those that are as large as a pixel of the result


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

    def meets(self, width: int, height: int) -> bool:
        """Whether any part of the box lies in a photo of ``width`` x ``height`` pixels."""
        across = min(self.left + self.width, width) > max(self.left, 0.0)
        down = min(self.top + self.height, height) > max(self.top, 0.0)
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


@dataclass(frozen=True)
class Cut:
    """How a square of a photo becomes a crop of ``size`` x ``size`` pixels.

    Pixels of the crop that are not wholly in the photo repeat the nearest one that is. Padding the crop
    instead of the photo keeps the memory bounded for any square.

    Attributes:
        size: side of the crop in pixels.
        scale: photo pixels a crop pixel.
        across: range of the crop's columns that lie wholly in the photo.
        down: range of its rows.
        region: left, top, right and bottom of these in the photo, in pixels of the photo.
    """

    size: int
    scale: float
    across: tuple[int, int]
    down: tuple[int, int]
    region: tuple[float, float, float, float]

    @classmethod
    def plan(cls, square: Square, width: int, height: int, size: int) -> Self:
        """Find what a photo of ``width`` x ``height`` pixels shows of a square.

        Raises:
            OutsideError: not one pixel of the crop lies wholly in the photo.
        """
        scale = square.side / size
        first_x, end_x = across = _visible(square.left, width, scale, size)
        first_y, end_y = down = _visible(square.top, height, scale, size)
        if first_x >= end_x or first_y >= end_y:
            raise OutsideError(f"less than a pixel of {square} is in the photo of {width} x {height} px")
        region = (
            max(square.left + first_x * scale, 0.0),
            max(square.top + first_y * scale, 0.0),
            min(square.left + end_x * scale, width),
            min(square.top + end_y * scale, height),
        )
        return cls(size, scale, across, down, region)

    def rows_needed(self, shrink: int) -> int:
        """How many rows of the photo the crop depends on, when it is decoded ``shrink`` times smaller."""
        return math.ceil(self.region[3] + self._reach(shrink)) + 2 * shrink  # the last row may be wrong

    def _reach(self, shrink: int) -> float:
        """How far beyond the region the filter looks, in pixels of the photo."""
        return _LANCZOS_REACH * max(self.scale, shrink)

    def crop(self, image: Image.Image, shrink: int) -> Image.Image:
        """Resize the region, antialiased, and pad it.

        Args:
            image: the photo, ``shrink`` times smaller along each axis; at least the rows that are needed.
            shrink: photo pixels a pixel of the image.
        """
        (first_x, end_x), (first_y, end_y) = self.across, self.down
        left, top, right, bottom = (edge / shrink for edge in self.region)
        reach = self._reach(shrink) / shrink
        # what else is decoded must not matter, and Pillow's roundings depend on the size of an image
        x, y = max(math.floor(left - reach), 0), max(math.floor(top - reach), 0)
        end = min(math.ceil(right + reach), image.width), min(math.ceil(bottom + reach), image.height)
        visible = image.crop((x, y, *end)).resize(
            (end_x - first_x, end_y - first_y),
            Image.Resampling.LANCZOS,
            box=(left - x, top - y, right - x, bottom - y),
            reducing_gap=3.0,
        )
        if visible.size == (self.size, self.size):
            return visible
        padding = ((first_y, self.size - end_y), (first_x, self.size - end_x), (0, 0))
        return Image.fromarray(np.pad(np.asarray(visible), padding, mode="edge"))


def _visible(start: float, length: int, scale: float, size: int) -> tuple[int, int]:
    """Range of crop pixels along one axis that lie wholly in [0, length), up to rounding errors."""
    tolerance = 1e-4
    first = math.ceil(-start / scale - tolerance)
    end = math.floor((length - start) / scale + tolerance)
    return max(first, 0), min(end, size)
