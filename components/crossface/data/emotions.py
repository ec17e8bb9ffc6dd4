"""The seven expressions and the three splits, in the one order that every step uses."""

from typing import Literal

EMOTIONS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
"""Index in this tuple = class number in every artifact and every model output."""

EMOTION_INDEX = {name: index for index, name in enumerate(EMOTIONS)}

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
