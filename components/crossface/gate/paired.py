"""Two models on the same test faces, and a paired bootstrap of whatever they differ in."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from crossface.bootstrap import RESAMPLES
from crossface.data.records import ATTRIBUTES

_FACTS = [field.name for field in ATTRIBUTES]

Sides = tuple[np.ndarray, np.ndarray]
"""Candidate and champion."""


@dataclass(frozen=True)
class Pairs:
    """Faces that count alike are one row: of one dataset, class and groups, with both models right or wrong.

    Resampling rows by how many faces they stand for is the bootstrap over faces, at a cost that does not
    grow with the faces.
    """

    rows: pd.DataFrame
    """``dataset``, ``emotion``, ``gender``, ``race``, ``age`` (null: unknown), ``candidate`` and ``champion``
    (whether right), ``count``."""

    def resampled(self, rng: np.random.Generator) -> np.ndarray:
        """Counts of resamples, drawn within each class of each dataset: int64 [RESAMPLES, rows]."""
        drawn = np.empty((RESAMPLES, len(self.rows)), np.int64)
        for index in self.rows.groupby(["dataset", "emotion"]).indices.values():
            counts = self.rows["count"].to_numpy()[index]
            drawn[:, index] = rng.multinomial(counts.sum(), counts / counts.sum(), size=RESAMPLES)
        return drawn

    def counts(self) -> np.ndarray:
        """The observed counts, int64 [1, rows]: what :meth:`resampled` gives without chance."""
        return self.rows["count"].to_numpy()[None]

    def balanced_accuracy_differences(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Candidate minus champion on each dataset.

        Args:
            counts: int64 [n, rows], of :meth:`counts` or :meth:`resampled`.

        Returns:
            by dataset, float64 [n].
        """
        found = {}
        for dataset, index in self.rows.groupby("dataset").indices.items():
            classes = self.rows["emotion"].to_numpy()[index]
            recalls = [
                _share(counts[:, index[classes == label]], self._difference()[index[classes == label]])
                for label in np.unique(classes)
            ]
            found[str(dataset)] = np.mean(recalls, axis=0)
        return found

    def group_accuracies(
        self, counts: np.ndarray, min_faces: int
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Accuracy of both models in every group of people, over all datasets.

        Args:
            counts: as above.
            min_faces: groups with fewer faces are left out.

        Returns:
            by group, such as ``gender female``: candidate and champion, float64 [n] each.
        """
        found = {}
        for fact in _FACTS:
            for value, index in self.rows.groupby(fact).indices.items():
                if self.rows["count"].to_numpy()[index].sum() >= min_faces:
                    candidate, champion = (
                        _share(counts[:, index], self.rows[model].to_numpy()[index].astype(np.int64))
                        for model in ("candidate", "champion")
                    )
                    found[f"{fact} {value}"] = candidate, champion
        return found

    def _difference(self) -> np.ndarray:
        return self.rows["candidate"].to_numpy().astype(np.int64) - self.rows["champion"].to_numpy()


def pair_predictions(candidate: pa.Table, champion: pa.Table) -> Pairs:
    """Match two models' predictions of the same faces.

    Args:
        candidate: rows of ``PREDICTION_SCHEMA`` of one model.
        champion: the same of another; in any order.

    Raises:
        ValueError: they are not of the same faces.
    """
    left, right = _verdicts(candidate), _verdicts(champion)
    if len(left) != len(right) or not left.index.sort_values().equals(right.index.sort_values()):
        raise ValueError("the two models were not tested on the same faces")
    faces = left.rename(columns={"right": "candidate"})
    faces["champion"] = right["right"]  # by the index, the face
    keys = ["dataset", "emotion", *_FACTS, "candidate", "champion"]
    return Pairs(faces.groupby(keys, dropna=False).size().rename("count").reset_index())


def _verdicts(predictions: pa.Table) -> pd.DataFrame:
    said = np.stack(predictions["mean"].to_numpy()).argmax(1)
    frame = predictions.select(["face_id", "dataset", "emotion"]).to_pandas()
    attributes = predictions["attributes"].combine_chunks()
    for place, fact in enumerate(_FACTS):
        frame[fact] = attributes.flatten()[place].to_pandas()
    frame["right"] = said == frame["emotion"]
    return frame.set_index("face_id")


def _share(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean of ``values`` [rows] weighted by ``counts`` [n, rows]; nan where a resample has none."""
    with np.errstate(invalid="ignore"):
        return counts @ values / counts.sum(1)
