"""How people call splits and emotions, for layouts whose publisher is anybody."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

from crossface.data.emotions import EMOTION_INDEX, EMOTIONS, Split
from crossface.errors import DataError

SPLIT_OF: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
    "testing": "test",
}

_WORDS: dict[str | None, str] = {
    "surprise": "surprise surprised suprise",
    "fear": "fear fearful afraid",
    "disgust": "disgust disgusted",
    "happiness": "happiness happy joy",
    "sadness": "sadness sad",
    "anger": "anger angry",
    "neutral": "neutral",
    None: "contempt none unknown uncertain",
}
SYNONYMS: dict[str, str | None] = {word: name for name, words in _WORDS.items() for word in words.split()}
"""Usual name -> emotion, or None for one that is none of the seven."""


def plain(name: str) -> str:
    """A name without regard to case and surrounding blanks."""
    return name.strip().casefold()


def split_called(where: str, name: object) -> Split:
    """The split that a cell of a table names.

    Raises:
        DataError: it names none; the message names ``where``.
    """
    split = SPLIT_OF.get(plain(str(name)))
    if split is None:
        raise DataError(f"{where}: split {name!r} is none of {', '.join(SPLIT_OF)}")
    return split


def published_splits(names: Iterable[str]) -> dict[str, Split]:
    """Read the names of splits that are published together.

    Where train and a validation set are all there is, the latter serves as test set: what is selected on
    must not be what is reported, and a dev split can be cut from train.

    Args:
        names: all names of ``SPLIT_OF``, in any case.
    """
    split_of = {name: SPLIT_OF[plain(name)] for name in names}
    if set(split_of.values()) == {"train", "dev"}:
        return {name: "test" if split == "dev" else split for name, split in split_of.items()}
    return split_of


def _as_written(value: Any) -> Any:
    """Take ``0: neutral`` of a YAML file, whose key is a number, as label ``"0"``, and no text as null."""
    return {str(key): name or None for key, name in value.items()} if isinstance(value, dict) else value


def _check(value: dict[str, str | None]) -> dict[str, str | None]:
    for label, emotion in value.items():
        if emotion is not None and emotion not in EMOTION_INDEX:
            raise ValueError(f"{label!r} is mapped to {emotion!r}, not one of {', '.join(EMOTIONS)} or null")
    label, count = Counter(map(plain, value)).most_common(1)[0] if value else ("", 0)
    if count != 1:
        raise ValueError(f"{label!r} is mapped more than once" if count else "maps no label")
    return value


def _without_null(value: dict[str, str | None]) -> dict[str, str]:
    return {label: emotion or "" for label, emotion in value.items()}  # KFP's parameters know no null


LabelMap = Annotated[
    dict[str, str | None],
    BeforeValidator(_as_written),
    AfterValidator(_check),
    PlainSerializer(_without_null, when_used="json"),
]
"""Option: label -> emotion, or null for a label that is not used."""


class LabelTable:
    """Labels by what they say, without regard to case and surrounding blanks."""

    def __init__(self, label_map: Mapping[str, str | None]) -> None:
        self._emotion_of = {
            plain(label): None if emotion is None else EMOTION_INDEX[emotion]
            for label, emotion in label_map.items()
        }
        self._labels = ", ".join(label_map)

    def __contains__(self, label: str) -> bool:
        return plain(label) in self._emotion_of

    def __getitem__(self, label: str) -> int | None:
        """Index in ``EMOTIONS``; None: not used.

        Raises:
            KeyError: the label is not in the table.
        """
        return self._emotion_of[plain(label)]

    def __str__(self) -> str:
        return self._labels
