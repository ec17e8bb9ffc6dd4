"""FER+, which has ten people vote on each picture of FER2013.

Barsoum, Zhang, Canton Ferrer, Zhang, "Training Deep Networks for Facial Expression Recognition with
Crowd-Sourced Label Distribution", ICMI 2016.

    fer2013.csv         the pictures
    fer2013new.csv      header "Usage,Image name,neutral,...,contempt,unknown,NF" (not a face); in the row
                        order of fer2013.csv. The number in "Image name" is no row number, and the name is
                        missing where there is no face.
"""

from collections.abc import Iterator
from itertools import zip_longest
from typing import ClassVar, Literal

from crossface.data.emotions import EMOTIONS
from crossface.data.rejects import Reason, Reject
from crossface.data.tree import Tree, has_file
from crossface.errors import DataError
from crossface.ingest.readers import fer2013
from crossface.ingest.readers.face import Face, ReaderOptions, reject
from crossface.ingest.readers.fer2013 import Picture, read_pictures
from crossface.ingest.readers.files import read_table, require_file

FILE = "fer2013new.csv"
CLASSES = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "NF",
)
COLUMNS = ("Usage", "Image name", *CLASSES)
NO_EMOTION = (CLASSES.index("unknown"), CLASSES.index("NF"))
EMOTION_OF = {at: EMOTIONS.index(name) for at, name in enumerate(CLASSES) if name in EMOTIONS}

ENOUGH_TO_COMPARE = 200
LEAST_AGREEMENT = 0.4
"""Of FER2013's labels with a clear vote. Rows that are out of step agree by chance, in one case of five."""

Mode = Literal["majority", "probability"]


class FerPlusOptions(ReaderOptions):
    """How votes become a label, as in sections 3.1 and 3.3 of the paper.

    Single votes are noise and do not count in either mode.

    Attributes:
        mode: ``majority`` uses faces for which one emotion has more than half of the votes;
            ``probability`` also those whose votes are spread over up to three emotions, and labels them
            with the first. The record's votes say how they are spread.
    """

    mode: Mode = "majority"


class FerPlus:
    """Reads FER+. Groups and names of the faces are those of FER2013."""

    layout: ClassVar[str] = f"{fer2013.FILE}, and {FILE} with the votes"
    options_type: ClassVar[type[ReaderOptions]] = FerPlusOptions

    def __init__(self, tree: Tree, options: FerPlusOptions) -> None:
        self._tree = tree
        self._mode = options.mode
        self._file = tree.uri(require_file(tree, FILE, "the votes of FER+"))
        require_file(tree, fer2013.FILE, "the pictures of FER2013, which FER+ votes on")

    @classmethod
    def fits(cls, tree: Tree) -> bool:
        """Whether pictures and votes are there."""
        return has_file(tree, FILE) and has_file(tree, fer2013.FILE)

    def read(self) -> Iterator[Face | Reject]:
        """Yield a face or a reject for every row of both tables, which are joined by their order."""
        agreement = _Agreement()
        for index, (picture, row) in enumerate(
            zip_longest(read_pictures(self._tree), read_table(self._tree, FILE, COLUMNS), fillvalue=None)
        ):
            if picture is None or row is None:
                longer, shorter = (FILE, fer2013.FILE) if picture is None else (fer2013.FILE, FILE)
                raise DataError(
                    f"{self._tree.uri(longer)}: more rows than the {index} of {shorter}; "
                    "the two are joined by row order"
                )
            yield picture if isinstance(picture, Reject) else self._face(picture, *row, agreement)
        agreement.check(self._file)

    def _face(self, picture: Picture, where: str, row: list[str], agreement: "_Agreement") -> Face | Reject:
        usage, *cells = (cell.strip() for cell in row)
        if usage != picture.usage:
            raise DataError(
                f"{where}: usage {usage} where {picture.where} has {picture.usage}; "
                "the two files are joined by row order and are out of step"
            )
        try:
            votes = [int(cell) for cell in cells[1:]]
        except ValueError:
            return reject(where, Reason.BAD_ROW, "votes are not numbers")
        if len(votes) != len(CLASSES) or min(votes) < 0:
            return reject(where, Reason.BAD_ROW, f"not {len(CLASSES)} counts of votes")
        agreement.compare(picture, votes)
        raw_label = ",".join(map(str, votes))
        counted = counted_votes(votes, self._mode)
        if counted is None:
            return reject(where, Reason.LABEL_NOT_USED, f"votes {raw_label} are for no one emotion")
        label = counted.index(max(counted))
        if label not in EMOTION_OF:
            return reject(where, Reason.LABEL_NOT_USED, f"votes {raw_label} are for {CLASSES[label]}")
        return picture.face(EMOTION_OF[label], raw_label, _shares(counted))


def counted_votes(votes: list[int], mode: Mode) -> list[int] | None:
    """Leave out the votes that do not count.

    Args:
        votes: for each of ``CLASSES``, ten in all.
        mode: see :class:`FerPlusOptions`.

    Returns:
        For each of ``CLASSES``; the label is the first of the greatest. None when no emotion is clear.
    """
    heard = [count if count > 1 else 0 for count in votes]
    total = sum(heard)
    if mode == "majority":
        return heard if 2 * max(heard) > total else None
    counted = [0] * len(CLASSES)
    # From the most votes down, equal ones together, until three quarters are counted, three classes are,
    # or the turn is at "unknown" or "not a face", which stand alone or not at all.
    for count in sorted(set(heard) - {0}, reverse=True):
        if 4 * sum(counted) >= 3 * total or sum(map(bool, counted)) >= 3:
            break
        tied = [at for at, own in enumerate(heard) if own == count]
        emotions = [at for at in tied if at not in NO_EMOTION]
        for at in emotions if any(counted) or emotions else tied[:1]:
            counted[at] = count
        if len(emotions) < len(tied):
            break
    if 2 * sum(counted) <= total or sum(map(bool, counted)) > 3:
        return None
    return counted


def _shares(counted: list[int]) -> tuple[float, ...]:
    shares = [0.0] * len(EMOTIONS)
    total = sum(counted[at] for at in EMOTION_OF)
    for at, emotion in EMOTION_OF.items():
        shares[emotion] = counted[at] / total
    return tuple(shares)


class _Agreement:
    """How often FER+ and FER2013 agree: hardly, when their rows are out of step."""

    def __init__(self) -> None:
        self._compared = self._agreed = 0

    def compare(self, picture: Picture, votes: list[int]) -> None:
        label = votes.index(max(votes))
        if label in EMOTION_OF and 2 * votes[label] > sum(votes):
            self._compared += 1
            self._agreed += EMOTION_OF[label] == fer2013.EMOTION_OF[picture.label]

    def check(self, where: str) -> None:
        if self._compared >= ENOUGH_TO_COMPARE and self._agreed < LEAST_AGREEMENT * self._compared:
            raise DataError(
                f"{where}: only {self._agreed} of {self._compared} clear votes agree with the labels of "
                f"{fer2013.FILE}; the two files are joined by row order and are out of step"
            )
