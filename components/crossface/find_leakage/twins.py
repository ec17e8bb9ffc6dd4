"""Which candidates are copies of one another: faces whose registered crops correlate."""

from dataclasses import dataclass

import numpy as np

from crossface.find_leakage.candidates import SEVERAL, Candidates, HashClasses, find_candidates, first_of_each
from crossface.find_leakage.config import LeakageConfig
from crossface.find_leakage.faces import Faces
from crossface.find_leakage.registration import correlations
from crossface.progress import Progress

PICTURES_A_CLASS = 8
"""More different pictures than this with the very same hash are noise, and the rest is not compared."""

_CANDIDATES_A_BLOCK = 65_536


@dataclass(frozen=True)
class Twins:
    """Pairs of copies with different homes, each once.

    Attributes:
        one: row of the better protected face, int64 [n].
        other: row of the other one, int64 [n].
        distance: bits in which their hashes differ, int64 [n].
        mirrored: whether one is the mirror image of the other, bool [n].
        correlation: of the registered crops, float32 [n].
    """

    one: np.ndarray
    other: np.ndarray
    distance: np.ndarray
    mirrored: np.ndarray
    correlation: np.ndarray

    def keep(self, chosen: np.ndarray) -> "Twins":
        """The pairs that a mask or an order chooses."""
        return Twins(*(column[chosen] for column in vars(self).values()))

    def __add__(self, more: "Twins") -> "Twins":
        columns = zip(vars(self).values(), vars(more).values(), strict=True)
        return Twins(*(np.concatenate(pair) for pair in columns))


@dataclass(frozen=True)
class Search:
    """What was found, and where the search was cut short.

    Attributes:
        twins: ordered by their rows.
        candidates: pairs of hashes that were near enough to compare the crops.
        bounded_hashes: hashes that had more near ones than ``max_candidates``.
        not_compared: crops that share a hash with more than ``PICTURES_A_CLASS`` different pictures.
    """

    twins: Twins
    candidates: int
    bounded_hashes: int
    not_compared: int


@dataclass(frozen=True)
class _Pictures:
    """The crops compared; those with one hash that are copies stand for one picture.

    Attributes:
        rows: of the faces, int64 [m], ascending.
        pixels: uint8 [m, side, side].
        of_class: hash class, int64 [m].
        leader: position of the best protected copy with the same hash, itself when it is that, or -1,
            int64 [m].
        likeness: correlation with the leader, float32 [m].
    """

    rows: np.ndarray
    pixels: np.ndarray
    of_class: np.ndarray
    leader: np.ndarray
    likeness: np.ndarray


def find_twins(faces: Faces, config: LeakageConfig) -> Search:
    """Find the copies among all faces.

    Of copies with the very same hash only the best protected one is compared with others and paired with
    theirs, so the pairs grow linearly where one picture comes ten thousand times.
    """
    classes = HashClasses.of(faces)
    candidates = find_candidates(classes, config.max_distance, config.max_candidates)
    pictures = _compared(faces, classes, candidates, config.min_correlation)
    same_hash = _copies_of_leaders(pictures)
    near_hash = _with_copies(_near_leaders(pictures, candidates, len(classes), config), pictures)
    twins = _oriented(same_hash + near_hash, faces)
    return Search(twins, len(candidates.one), candidates.bounded, int((pictures.leader < 0).sum()))


def _compared(faces: Faces, classes: HashClasses, candidates: Candidates, least: float) -> _Pictures:
    looked_at = np.bincount(classes.of_face, minlength=len(classes)) > 1
    looked_at &= classes.home == SEVERAL
    looked_at[candidates.one] = True
    looked_at[candidates.other] = True
    rows = np.flatnonzero(looked_at[classes.of_face])
    pixels = faces.pictures(rows)
    of_class = classes.of_face[rows]
    leader = np.full(len(rows), -1)
    likeness = np.ones(len(rows), np.float32)
    waiting = np.lexsort((rows, -faces.protection[rows], of_class))
    for _ in range(PICTURES_A_CLASS):
        head = waiting[np.searchsorted(of_class[waiting], of_class[waiting])]  # the first of its class
        leader[head] = head
        rest, head = waiting[waiting != head], head[waiting != head]
        alike = correlations(pixels, pixels, head, rest)
        copies = alike >= least
        leader[rest[copies]], likeness[rest[copies]] = head[copies], alike[copies]
        waiting = rest[~copies]
    return _Pictures(rows, pixels, of_class, leader, likeness)


def _copies_of_leaders(pictures: _Pictures) -> Twins:
    """Pairs of positions: each copy and its leader."""
    copies = np.flatnonzero((pictures.leader >= 0) & (pictures.leader != np.arange(len(pictures.rows))))
    nothing = np.zeros(len(copies), np.int64)
    return _on_faces(
        Twins(pictures.leader[copies], copies, nothing, nothing.astype(bool), pictures.likeness[copies]),
        pictures,
    )


def _near_leaders(pictures: _Pictures, candidates: Candidates, classes: int, config: LeakageConfig) -> Twins:
    """Pairs of positions: leaders of two classes that are copies, the more alike way round."""
    leaders = np.flatnonzero(pictures.leader == np.arange(len(pictures.rows)))
    leaders = leaders[np.argsort(pictures.of_class[leaders], kind="stable")]
    begin = np.searchsorted(pictures.of_class[leaders], np.arange(classes + 1))
    found = _no_twins()
    with Progress("compare", total=len(candidates.one), unit="candidates") as progress:
        for start in range(0, len(candidates.one), _CANDIDATES_A_BLOCK):
            block = slice(start, start + _CANDIDATES_A_BLOCK)
            found += _copies_among(pictures, candidates, block, leaders, begin, config.min_correlation)
            progress.update(len(candidates.one[block]))
    order = np.lexsort((found.mirrored, -found.correlation, found.other, found.one))
    found = found.keep(order)
    return found.keep(first_of_each(found.one, found.other))


def _copies_among(
    pictures: _Pictures,
    candidates: Candidates,
    block: slice,
    leaders: np.ndarray,
    begin: np.ndarray,
    least: float,
) -> Twins:
    one, other = candidates.one[block], candidates.other[block]
    ones, others = begin[one + 1] - begin[one], begin[other + 1] - begin[other]
    pair = np.repeat(np.arange(len(one)), ones * others)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(ones * others) - ones * others, ones * others)
    first = leaders[begin[one[pair]] + within // others[pair]]
    second = leaders[begin[other[pair]] + within % others[pair]]
    mirrored = candidates.mirrored[block][pair]
    alike = np.empty(len(pair), np.float32)
    for turned, pixels in ((False, pictures.pixels), (True, pictures.pixels[:, :, ::-1])):
        chosen = mirrored == turned
        alike[chosen] = correlations(pixels, pictures.pixels, first[chosen], second[chosen])
    return Twins(first, second, candidates.distance[block][pair], mirrored, alike).keep(alike >= least)


def _with_copies(near: Twins, pictures: _Pictures) -> Twins:
    """Pair each leader with the copies of the other one too."""
    members = np.argsort(pictures.leader, kind="stable")
    begin = np.searchsorted(pictures.leader[members], np.arange(len(pictures.rows) + 1))
    found = near
    for near_side, far_side in (("one", "other"), ("other", "one")):
        leader, far = getattr(near, near_side), getattr(near, far_side)
        number = begin[far + 1] - begin[far]
        pair = np.repeat(np.arange(len(far)), number)
        within = np.arange(len(pair)) - np.repeat(np.cumsum(number) - number, number)
        copy = members[begin[far[pair]] + within]
        pairs = Twins(leader[pair], copy, near.distance[pair], near.mirrored[pair], near.correlation[pair])
        found += pairs.keep(copy != far[pair])
    return _on_faces(found, pictures)


def _on_faces(positions: Twins, pictures: _Pictures) -> Twins:
    """The same pairs with rows of the faces instead of positions among the pictures."""
    return Twins(
        pictures.rows[positions.one],
        pictures.rows[positions.other],
        positions.distance,
        positions.mirrored,
        positions.correlation,
    )


def _oriented(twins: Twins, faces: Faces) -> Twins:
    """Leave out pairs with one home, put the better protected face first, and order by rows."""
    twins = twins.keep(faces.home[twins.one] != faces.home[twins.other])
    protection = faces.protection
    swap = (protection[twins.one] < protection[twins.other]) | (
        (protection[twins.one] == protection[twins.other]) & (twins.one > twins.other)
    )
    one, other = np.where(swap, twins.other, twins.one), np.where(swap, twins.one, twins.other)
    ordered = Twins(one, other, twins.distance, twins.mirrored, twins.correlation)
    return ordered.keep(np.lexsort((other, one)))


def _no_twins() -> Twins:
    nothing = np.empty(0, np.int64)
    return Twins(nothing, nothing, nothing, nothing.astype(bool), nothing.astype(np.float32))
