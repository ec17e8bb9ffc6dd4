"""Seeded splits by group: stable, so that a dataset that grows keeps its faces where they were."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable

from crossface.data.emotions import Split
from crossface.errors import DataError
from crossface.ingest.readers.face import Face


def assign_splits(faces: list[Face], dev_fraction: float, test_fraction: float, seed: int) -> list[Split]:
    """Give every face its split; a group never straddles two.

    Published splits are kept. Where none is published, groups are drawn for test; where no dev split is
    published, groups of train are drawn for dev.

    Args:
        faces: all faces of one dataset; either all of them have a published split or none has.
        dev_fraction: share of the groups of train that becomes dev.
        test_fraction: share of all groups that becomes test.
        seed: of the draws.

    Returns:
        One split a face, in the order of ``faces``.

    Raises:
        DataError: a group is in two published splits.
    """
    split_of = _published(faces)
    if not split_of:
        test = draw_groups(faces, test_fraction, f"{seed}/test")
        split_of = {face.group: "test" if face.group in test else "train" for face in faces}
    if "dev" not in split_of.values():
        train = [face for face in faces if split_of[face.group] == "train"]
        split_of |= dict.fromkeys(draw_groups(train, dev_fraction, f"{seed}/dev"), "dev")
    return [split_of[face.group] for face in faces]


def draw_groups(faces: Iterable[Face], fraction: float, salt: str) -> set[str]:
    """Draw groups: each by a number in [0, 1) that depends on nothing but ``salt`` and its own name.

    On small data a draw can miss a rare emotion, or everything. So an emotion of at least three groups
    that the draw missed gives its lowest group, and a draw that is still empty takes the lowest of all.
    Once every emotion is drawn, further faces move no group.
    """
    groups_of: defaultdict[int, set[str]] = defaultdict(set)
    for face in faces:
        groups_of[face.emotion].add(face.group)
    number = {group: _number(salt, group) for groups in groups_of.values() for group in groups}
    drawn = {group for group, value in number.items() if value < fraction}
    for _, groups in sorted(groups_of.items()):
        if len(groups) >= 3 and drawn.isdisjoint(groups):
            drawn.add(min(groups, key=number.__getitem__))
    if not drawn and len(number) > 1:
        drawn.add(min(number, key=number.__getitem__))
    return drawn


def _number(salt: str, group: str) -> float:
    digest = hashlib.blake2b(f"{salt}/{group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _published(faces: list[Face]) -> dict[str, Split]:
    split_of: dict[str, Split] = {}
    for face in faces:
        if face.split and split_of.setdefault(face.group, face.split) != face.split:
            raise DataError(
                f"group {face.group!r} is published in two splits, {split_of[face.group]} and {face.split} "
                f"({face.photo}); choose groups that the published split keeps together"
            )
    return split_of
