"""Which faces could be copies of one another, by their perceptual hashes alone."""

from dataclasses import dataclass

import numpy as np

from crossface.find_leakage.faces import Faces
from crossface.find_leakage.neighbours import Neighbours, near_hashes, nearest

SEVERAL = -1


@dataclass(frozen=True)
class HashClasses:
    """Faces with the same two hashes, so that a thousand blank crops are searched for once.

    Attributes:
        of_face: the class of each face, int64 [n].
        hashes: the perceptual hash, and that of the mirrored crop, uint64 [c, 2].
        protection: the best among its faces, int64 [c].
        home: where all its faces are, or -1 when that differs, int64 [c].
    """

    of_face: np.ndarray
    hashes: np.ndarray
    protection: np.ndarray
    home: np.ndarray

    @classmethod
    def of(cls, faces: Faces) -> "HashClasses":
        """Put every face in its class."""
        hashes, of_face = np.unique(faces.hashes, axis=0, return_inverse=True)
        of_face = of_face.reshape(-1)
        protection, lowest, highest = (np.full(len(hashes), fill) for fill in (0, len(faces), -1))
        np.maximum.at(protection, of_face, faces.protection)
        np.minimum.at(lowest, of_face, faces.home)
        np.maximum.at(highest, of_face, faces.home)
        return cls(of_face, hashes, protection, np.where(lowest == highest, lowest, SEVERAL))

    def __len__(self) -> int:
        return len(self.hashes)


@dataclass(frozen=True)
class Candidates:
    """Pairs of classes whose hashes are near, each once.

    Attributes:
        one: a class, int64 [n].
        other: another class, greater than ``one``, int64 [n].
        distance: bits in which the hashes differ, int64 [n].
        mirrored: whether one of the hashes is that of the mirrored crop, bool [n].
        bounded: how many hashes had more near ones than are looked at.
    """

    one: np.ndarray
    other: np.ndarray
    distance: np.ndarray
    mirrored: np.ndarray
    bounded: int


def find_candidates(classes: HashClasses, radius: int, most: int) -> Candidates:
    """Find all pairs of classes whose hashes, or the mirrored hash of one, are near.

    Pairs of faces with one home are left out.

    Args:
        classes: of all faces.
        radius: greatest Hamming distance.
        most: bound of the pairs of a hash: those with the best protected faces, of these the nearest.
    """
    found = []
    bounded = 0
    for mirrored in (False, True):
        for block in near_hashes(classes.hashes[:, int(mirrored)], classes.hashes[:, 0], radius):
            few, more = nearest(_worth_a_look(block, classes), classes.protection, most)
            bounded += more
            pairs = (np.minimum(few.query, few.index), np.maximum(few.query, few.index), few.distance)
            found.append(np.stack([*pairs, np.full(len(few.query), mirrored)]))
    one, other, distance, mirrored_ = np.concatenate([np.empty((4, 0), np.int64), *found], axis=1)
    order = np.lexsort((distance, mirrored_, other, one))
    once = first_of_each(one[order], other[order], mirrored_[order])
    kept = order[once]
    return Candidates(one[kept], other[kept], distance[kept], mirrored_[kept].astype(bool), bounded)


def first_of_each(*sorted_columns: np.ndarray) -> np.ndarray:
    """Where the rows of sorted columns differ from the row before, bool [n]."""
    changes = np.ones(len(sorted_columns[0]), bool)
    if len(changes):
        changes[1:] = np.any([column[1:] != column[:-1] for column in sorted_columns], axis=0)
    return changes


def _worth_a_look(block: Neighbours, classes: HashClasses) -> Neighbours:
    query_home, index_home = classes.home[block.query], classes.home[block.index]
    at_home = (query_home == index_home) & (query_home != SEVERAL)
    return block.keep((block.query != block.index) & ~at_home)
