"""`Predictions`: a model's scores beside the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results.base import Result, first_rows, screen
from pellucid.interpret.results.storage import storable

if TYPE_CHECKING:
    import pandas as pd


@storable
@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Predictions(Result):
    """A model's scores for some samples, with the truth where it is known.

    Attributes
    ----------
    scores
        Of a classifier, shape (samples, classes); of a regression, shape (samples,) or (samples,
        outputs).
    kind
        ``"classification"`` or ``"regression"``.
    units
        What the scores are: ``"probability"``, ``"logit"``, ``"decision value"``, ``"value"``.
    truth
        Class indices, or the values to predict; None where it is not known.
    inputs
        What was predicted from, to be shown: pictures, rows of a table, texts; or None.
    class_names, feature_names
        Or None.
    sample_ids
        One for each sample, or None.
    name
        The model's name.
    """

    scores: np.ndarray
    kind: str
    units: str = "probability"
    truth: np.ndarray | None = None
    inputs: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    sample_ids: np.ndarray | None = None
    name: str = "model"

    _sampled: ClassVar[tuple[str, ...]] = ("scores", "truth", "inputs", "sample_ids")

    def __post_init__(self) -> None:
        if self.kind not in {"classification", "regression"}:
            raise InputError(f"kind is 'classification' or 'regression'; got {self.kind!r}")
        if self.kind == "classification" and self.scores.ndim != 2:
            raise InputError(
                f"scores of a classifier have shape (samples, classes); got {self.scores.shape}"
            )
        for name in self._sampled[1:]:
            array = getattr(self, name)
            if array is not None and len(array) != len(self.scores):
                raise InputError(f"{name} has {len(array)} entries for {len(self.scores)} samples")

    def _samples(self) -> int:
        return len(self.scores)

    @property
    def predicted(self) -> np.ndarray:
        """The class of each sample, or its predicted value."""
        return self.scores.argmax(axis=1) if self.kind == "classification" else self.scores

    def class_name(self, index: int) -> str:
        """Return a class's name, or its index as text."""
        return str(index) if self.class_names is None else self.class_names[index]

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each sample.

        Returns
        -------
        pandas.DataFrame
            Columns ``predicted``, ``truth`` (where known), and one for each class or output; the
            index is ``sample_id``.
        """
        import pandas as pd

        ids = np.arange(len(self)) if self.sample_ids is None else self.sample_ids
        index = pd.Index(ids, name="sample_id")
        found: dict[str, object] = {}
        if self.kind == "classification":
            found["predicted"] = [self.class_name(int(k)) for k in self.predicted]
            if self.truth is not None:
                found["truth"] = [self.class_name(int(k)) for k in self.truth]
        else:
            outputs = self.scores.reshape(len(self), -1)
            if outputs.shape[1] == 1:
                found["predicted"] = outputs[:, 0]
            if self.truth is not None and self.truth.ndim == 1:
                found["truth"] = self.truth
        frame = pd.DataFrame(found, index=index)
        scores = self.scores.reshape(len(self), -1)
        if self.kind == "classification" or scores.shape[1] > 1:
            kind = "class" if self.kind == "classification" else "output"
            names = [
                f"{self.units} of {self.class_name(k) if kind == 'class' else f'output {k}'}"
                for k in range(scores.shape[1])
            ]
            frame = pd.concat([frame, pd.DataFrame(scores, index=index, columns=names)], axis=1)
        return frame

    def summary(self) -> str:
        """Return how often, or how far, the predictions are from the truth."""
        head = f"Predictions of {self.name}: {len(self)} samples, {self.kind}"
        if self.truth is None:
            return screen([head, "  the truth is not known"])
        if self.kind == "regression":
            error = self.scores.reshape(len(self), -1) - self.truth.reshape(len(self), -1)
            rows = [
                ("root mean squared error", f"{np.sqrt(np.nanmean(error**2)):.4g}"),
                ("mean absolute error", f"{np.nanmean(np.abs(error)):.4g}"),
                ("mean error (bias)", f"{np.nanmean(error):.4g}"),
            ]
            return screen([head, *first_rows(rows, "measures")])
        right = self.predicted == self.truth
        shares = [("accuracy", f"{right.mean():.1%}", f"{int(right.sum())} of {len(right)}")]
        for k in range(self.scores.shape[1]):
            of = self.truth == k
            if of.any():
                share = f"{right[of].mean():.1%}"
                shares.append((self.class_name(k), share, f"{int(right[of].sum())} of {of.sum()}"))
        return screen([head, *first_rows(shares, "classes")])
