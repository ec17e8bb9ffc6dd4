"""How alike two crops are once one is laid over the other.

A perceptual hash alone mistakes different faces for copies: faces cut alike look alike in 8 x 8 frequencies.
So candidates are registered (shift, scale and rotation, since two datasets rarely cut a photo alike) and what
is compared is the detail that tells faces apart, not the light and shade that all faces share.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.ndimage import gaussian_filter

SIDE = 32
COARSE = SIDE // 2
COARSE_STEPS, FINE_STEPS = 8, 4
DETAIL_PX = 4.0  # what a Gaussian of this width keeps, out of SIDE pixels, is light and shade
COARSE_CORRELATION = 0.85  # of whole pictures; copies reach 0.9, and most other candidates end here
LEAST_OVERLAP = 0.6  # of the picture's area
LONGEST_STEP = 0.25  # half sides, and about as much in scale and radians
FLAT_LEVELS = 2.0  # standard deviation, of 255, below which a crop shows nothing
PAIRS_A_BLOCK = 128  # few enough to stay in the processor's cache


def correlations(first: np.ndarray, second: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Correlate the detail of registered pictures, pair by pair.

    Args:
        first: pictures, luma, uint8 [m, SIDE, SIDE].
        second: pictures, luma, uint8 [k, SIDE, SIDE].
        one: the first picture of each pair, a position in ``first``, int64 [n].
        other: the second one, a position in ``second``, int64 [n].

    Returns:
        float32 [n]: normalised cross-correlation where the pictures overlap; 0 for pairs that are far from
        alike. Two flat pictures correlate fully: neither shows anything that the other does not.
    """

    def block(part: slice) -> np.ndarray:
        return _block_correlations(first[one[part]], second[other[part]])

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # numpy lets go of the interpreter in its loops
        return np.concatenate([np.empty(0, np.float32), *pool.map(block, _blocks(len(one)))])


def _blocks(pairs: int) -> Iterator[slice]:
    return (slice(start, start + PAIRS_A_BLOCK) for start in range(0, pairs, PAIRS_A_BLOCK))


def _block_correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    same = (first == second).all((1, 2))
    first, second = first.astype(np.float32), second.astype(np.float32)
    flat_first, flat_second = (pictures.std((1, 2)) < FLAT_LEVELS for pictures in (first, second))
    result = (same | (flat_first & flat_second)).astype(np.float32)
    rest = np.flatnonzero(~(same | flat_first | flat_second))
    turn, shift, coarse = _register(_halved(first[rest]), _halved(second[rest]), COARSE_STEPS)
    alike = coarse >= COARSE_CORRELATION
    rest = rest[alike]
    *_, result[rest] = _register(
        _detail(first[rest]), _detail(second[rest]), FINE_STEPS, turn[alike], shift[alike]
    )
    return result


def _halved(pictures: np.ndarray) -> np.ndarray:
    return pictures.reshape(-1, COARSE, 2, COARSE, 2).mean((2, 4))


def _detail(pictures: np.ndarray) -> np.ndarray:
    return pictures - gaussian_filter(pictures, (0, DETAIL_PX, DETAIL_PX))


def _register(
    template: np.ndarray,
    picture: np.ndarray,
    steps: int,
    turn: np.ndarray | None = None,
    shift: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the similarity transform that lays ``picture`` over ``template``, and their correlation then.

    Inverse compositional Gauss-Newton (Baker & Matthews, "Lucas-Kanade 20 years on", IJCV 2004). A point of
    the template is a complex number z, in half sides from the middle, and lies at ``turn * z + shift`` in the
    picture, so that transforms compose by arithmetic.

    Args:
        template: float32 [n, side, side].
        picture: float32 [n, side, side].
        steps: iterations.
        turn: where to start, complex64 [n]: scale and rotation; the identity when not given.
        shift: where to start, complex64 [n].

    Returns:
        turn and shift, complex64 [n], and the normalised cross-correlation of the overlap, float32 [n].
    """
    number, side, _ = template.shape
    turn = np.ones(number, np.complex64) if turn is None else turn
    shift = np.zeros(number, np.complex64) if shift is None else shift
    points = _points(side)
    template, picture = _standardised(template), _standardised(picture)
    down, across = (slope * (side / 2) for slope in np.gradient(template, axis=(1, 2)))
    x, y = points.real, points.imag
    slopes = np.stack([across * x + down * y, down * x - across * y, across, down], 1).reshape(
        number, 4, side**2
    )
    slopes -= slopes.mean(2, keepdims=True)  # a difference in brightness alone moves nothing
    hessian = slopes @ slopes.transpose(0, 2, 1) + np.float32(0.01) * np.eye(4, dtype=np.float32)
    inverse = np.linalg.inv(hessian)
    for _ in range(steps):
        warped, inside = _warp(picture, turn, shift, points)
        error = ((warped - template) * inside).reshape(number, side**2, 1)
        step = (inverse @ (slopes @ error))[..., 0].clip(-LONGEST_STEP, LONGEST_STEP)
        turn = turn / (1 + step[:, 0] + 1j * step[:, 1])
        shift = shift - turn * (step[:, 2] + 1j * step[:, 3])
    warped, inside = _warp(picture, turn, shift, points)
    return turn, shift, _correlation(template, warped, inside)


def _points(side: int) -> np.ndarray:
    """The middles of the pixels, complex64 [side, side]; the picture spans -1 to 1."""
    middles = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / (side / 2)
    return (middles[None, :] + 1j * middles[:, None]).astype(np.complex64)


def _standardised(pictures: np.ndarray) -> np.ndarray:
    centred = pictures - pictures.mean((1, 2), keepdims=True)
    return centred / np.maximum(centred.std((1, 2), keepdims=True), 1e-3)


def _warp(
    picture: np.ndarray, turn: np.ndarray, shift: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sample pictures bilinearly; also 1.0 where the sample lies in the picture, and 0.0 elsewhere."""
    number, side, _ = picture.shape
    where = turn[:, None, None] * points + shift[:, None, None]
    column = where.real * (side / 2) + (side - 1) / 2
    row = where.imag * (side / 2) + (side - 1) / 2
    inside = (column >= 0) & (column <= side - 1) & (row >= 0) & (row <= side - 1)
    column, row = column.clip(0, side - 1.001), row.clip(0, side - 1.001)
    left, top = np.floor(column), np.floor(row)
    column, row = column - left, row - top
    pixel = (top * side + left).astype(np.int64) + np.arange(number)[:, None, None] * side**2

    def neighbour(offset: int) -> np.ndarray:
        return picture.take(pixel + offset)

    upper = neighbour(0) * (1 - column) + neighbour(1) * column
    lower = neighbour(side) * (1 - column) + neighbour(side + 1) * column
    return upper * (1 - row) + lower * row, inside.astype(np.float32)


def _correlation(template: np.ndarray, warped: np.ndarray, inside: np.ndarray) -> np.ndarray:
    area = np.maximum(inside.sum((1, 2), keepdims=True), 1)
    one, other = (
        (picture - (picture * inside).sum((1, 2), keepdims=True) / area) * inside
        for picture in (template, warped)
    )
    spread = np.sqrt((one**2).sum((1, 2)) * (other**2).sum((1, 2)))
    correlation = (one * other).sum((1, 2)) / np.maximum(spread, 1e-3)
    return np.where(inside.mean((1, 2)) >= LEAST_OVERLAP, correlation, 0).astype(np.float32)
