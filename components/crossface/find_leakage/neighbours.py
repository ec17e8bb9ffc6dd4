"""Finds 64-bit hashes that differ in few bits, exactly and without comparing all with all."""

from collections.abc import Iterator
from dataclasses import dataclass

import faiss
import numpy as np

from crossface.progress import Progress

TABLES = 3
TABLE_BITS = 64 // TABLES
QUERIES_A_BLOCK = 256  # bounds the memory: one hash may be near to every other


@dataclass(frozen=True)
class Neighbours:
    """Pairs of a query and a hash near to it; all neighbours of one query are in one block.

    Attributes:
        query: position among the queries, ascending, int64 [n].
        index: position among the hashes searched, int64 [n].
        distance: bits that differ, int64 [n].
    """

    query: np.ndarray
    index: np.ndarray
    distance: np.ndarray

    def keep(self, chosen: np.ndarray) -> "Neighbours":
        """The pairs that a mask or an order chooses."""
        return Neighbours(self.query[chosen], self.index[chosen], self.distance[chosen])


def near_hashes(queries: np.ndarray, hashes: np.ndarray, radius: int) -> Iterator[Neighbours]:
    """Yield every pair of a query and a hash that differ in at most ``radius`` bits, in blocks of queries.

    Multi-index hashing (Norouzi, Punjani & Fleet, "Fast search in Hamming space with multi-index hashing",
    CVPR 2012): of ``TABLES`` substrings at least one differs in at most ``radius // TABLES`` bits, so looking
    up all substrings that near finds every pair. The bits that no substring covers only make it nearer.

    Args:
        queries: uint64 [q].
        hashes: uint64 [n].
        radius: greatest Hamming distance, 0 to 63.
    """
    index = faiss.IndexBinaryMultiHash(64, TABLES, TABLE_BITS)
    index.nflip = min(radius // TABLES, TABLE_BITS)
    index.add(_octets(hashes))
    with Progress("search", total=len(queries), unit="hashes") as progress:
        for start in range(0, len(queries), QUERIES_A_BLOCK):
            block = queries[start : start + QUERIES_A_BLOCK]
            limits, distance, found = index.range_search(_octets(block), radius + 1)  # faiss: less than
            query = np.repeat(np.arange(start, start + len(block)), np.diff(limits).astype(np.int64))
            progress.update(len(block))
            yield Neighbours(query, found.astype(np.int64), distance.astype(np.int64))


def nearest(neighbours: Neighbours, protection: np.ndarray, most: int) -> tuple[Neighbours, int]:
    """Keep at most so many neighbours of each query: the best protected ones, of these the nearest.

    Args:
        neighbours: whole queries.
        protection: of each hash searched, int [n]; higher is better.
        most: bound of a query.

    Returns:
        the neighbours kept, and the number of queries that had more.
    """
    ordered = neighbours.keep(
        np.lexsort((neighbours.index, neighbours.distance, -protection[neighbours.index], neighbours.query))
    )
    rank = np.arange(len(ordered.query)) - np.searchsorted(ordered.query, ordered.query)
    return ordered.keep(rank < most), int((rank == most).sum())


def _octets(hashes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(hashes, dtype="<u8").view(np.uint8).reshape(-1, 8)
