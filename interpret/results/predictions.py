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
        outputs). NaN where the model gave none.
    kind
        ``"classification"`` or ``"regression"``.
    units
        What the scores are: ``"probability"``, ``"logit"``, ``"decision value"``, ``"vote"``,
        ``"value"``.
    truth
        Class indices, or the values to predict in the shape of the scores; None where it is not
        known.
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
        of_classes = self.kind == "classification"
        if of_classes and (self.scores.ndim != 2 or self.scores.shape[1] < 2):
            raise InputError(
                "scores of a classifier have shape (samples, classes), two classes or more; got "
                f"{self.scores.shape}"
            )
        if not of_classes and self.scores.ndim not in (1, 2):
            raise InputError(
                "scores of a regression have shape (samples,) or (samples, outputs); got "
                f"{self.scores.shape}"
            )
        for name in self._sampled[1:]:
            array = getattr(self, name)
            if array is not None and len(array) != len(self.scores):
                raise InputError(f"{name} has {len(array)} entries for {len(self.scores)} samples")
        if self.truth is not None:
            self._check_truth(self.truth)
        if self.class_names is not None and len(self.class_names) != self.scores.shape[-1]:
            raise InputError(
                f"there are {len(self.class_names)} class names for scores of shape "
                f"{self.scores.shape}"
            )

    def _check_truth(self, truth: np.ndarray) -> None:
        if self.kind == "regression":
            if truth.shape != self.scores.shape:
                raise InputError(
                    f"truth has shape {truth.shape}, and the scores have {self.scores.shape}"
                )
            return
        if truth.ndim != 1 or truth.dtype.kind not in "iu":
            raise InputError(
                f"truth is one class index for each sample; got {truth.dtype} of shape "
                f"{truth.shape}"
            )
        classes = self.scores.shape[1]
        if truth.size and not (truth.min() >= 0 and truth.max() < classes):
            raise InputError(
                f"truth goes from {truth.min()} to {truth.max()}; the classes are 0 to "
                f"{classes - 1}"
            )

    def _samples(self) -> int:
        return len(self.scores)

    @property
    def finite(self) -> np.ndarray:
        """Whether all scores of each sample are finite, shape (samples,)."""
        found: np.ndarray = np.isfinite(self.scores.reshape(len(self), -1)).all(axis=1)
        return found

    @property
    def predicted(self) -> np.ndarray:
        """The class of the highest score of each sample, the first of equals; or its value.

        A sample whose scores are not all finite has the class -1.
        """
        if self.kind == "regression":
            return self.scores
        return np.where(self.finite, self.scores.argmax(axis=1), -1)

    @property
    def ids(self) -> np.ndarray:
        """What each sample is called: its id, or its position."""
        return np.arange(len(self)) if self.sample_ids is None else self.sample_ids

    def class_name(self, index: int) -> str:
        """Return a class's name, or its index as text."""
        if index < 0:
            return "none"
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

        index = pd.Index(self.ids, name="sample_id")
        scores = self.scores.reshape(len(self), -1)
        if self.kind == "classification":
            names = [f"{self.units} of {self.class_name(k)}" for k in range(scores.shape[1])]
            said = pd.DataFrame(
                {"predicted": [self.class_name(k) for k in self.predicted.tolist()]}, index=index
            )
            if self.truth is not None:
                said["truth"] = [self.class_name(k) for k in self.truth.tolist()]
            return pd.concat([said, pd.DataFrame(scores, index=index, columns=names)], axis=1)
        ends = [""] if scores.shape[1] == 1 else [f" {k}" for k in range(scores.shape[1])]
        frame = pd.DataFrame(scores, index=index, columns=[f"predicted{end}" for end in ends])
        if self.truth is not None:
            truth = self.truth.reshape(len(self), -1)
            for k, end in enumerate(ends):
                frame[f"truth{end}"] = truth[:, k]
        return frame

    def summary(self) -> str:
        """Return how often, or how far, the predictions are from the truth."""
        samples = f"{len(self)} sample{'s' if len(self) != 1 else ''}"
        lines = [f"Predictions of {self.name}: {samples}, {self.kind}, {self.units}"]
        broken = int((~self.finite).sum())
        if broken:
            lines.append(f"  {broken} of them with scores that are not finite, left out below")
        if self.truth is None:
            return screen([*lines, "  the truth is not known"])
        rows = self._errors() if self.kind == "regression" else self._shares()
        return screen([*lines, *first_rows(rows, "rows")])

    def _errors(self) -> list[tuple[str, ...]]:
        """Return how far predictions are from the truth, where both are known."""
        assert self.truth is not None
        error = np.asarray(self.scores - self.truth, dtype=np.float64)
        error = error[np.isfinite(error)]
        if not error.size:
            return [("no sample has both a finite prediction and a finite truth",)]
        return [
            ("root mean squared error", f"{np.sqrt(np.mean(error**2)):.4g}"),
            ("mean absolute error", f"{np.mean(np.abs(error)):.4g}"),
            ("mean error, prediction - truth", f"{np.mean(error):.4g}"),
        ]

    def _shares(self) -> list[tuple[str, ...]]:
        """Return how many of all samples, and of each class, are predicted right."""
        assert self.truth is not None
        right, finite = self.predicted == self.truth, self.finite
        if not finite.any():
            return [("no sample has finite scores",)]
        count = int(finite.sum())
        rows: list[tuple[str, ...]] = [
            ("accuracy", f"{right[finite].mean():.1%}", f"{int(right.sum())} of {count}")
        ]
        for k in range(self.scores.shape[1]):
            of = finite & (self.truth == k)
            if of.any():
                share = f"{right[of].mean():.1%}"
                rows.append((self.class_name(k), share, f"{int(right[of].sum())} of {of.sum()}"))
        return rows
