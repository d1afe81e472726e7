"""What pictures of predictions share: checks, names, and how far a list of classes goes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results import Predictions
from pellucid.viz.theme import escape, expect, shorten

CLASSIFICATION, REGRESSION = "classification", "regression"


def check(
    predictions: Predictions, function: str, kind: str | None = None, *, truth: bool = True
) -> None:
    """Raise unless these are predictions of the kind that `function` draws, beside the truth."""
    expect(predictions, Predictions, function)
    if kind is not None and predictions.kind != kind:
        others = {
            CLASSIFICATION: "viz.residuals draws how far values are from the truth",
            REGRESSION: "viz.confusion_matrix draws which classes are taken for which",
        }
        raise InputError(
            f"viz.{function} draws a {kind}, and these predictions of {predictions.name} are a "
            f"{predictions.kind}; {others[kind]}"
        )
    if truth and predictions.truth is None:
        raise InputError(
            f"viz.{function} compares predictions with the truth, which is not known here; give "
            "it to pellucid.predict(model, inputs, targets)"
        )
    if not predictions.finite.any():
        raise InputError(f"viz.{function}: no sample has scores that are all finite")


def finite(predictions: Predictions) -> Predictions:
    """Return the samples whose scores are finite, each with its id."""
    return replace(predictions, sample_ids=predictions.ids)[predictions.finite]


def broken_note(predictions: Predictions) -> str | None:
    """Return how many samples are left out because their scores are not finite."""
    broken = int((~predictions.finite).sum())
    if not broken:
        return None
    return f"left out: {counted(broken)} whose scores are not finite"


def counted(count: int) -> str:
    """Return a number of samples in words."""
    return f"{count:,} sample{'s' if count != 1 else ''}"


def names(predictions: Predictions, length: int = 20) -> list[str]:
    """Return the classes' names, of at most that many characters, escaped."""
    return [
        escape(shorten(predictions.class_name(k), length))
        for k in range(predictions.scores.shape[1])
    ]


def class_of(predictions: Predictions, label: int | str) -> int:
    """Return the index of a class that is given by its index or name."""
    count = predictions.scores.shape[1]
    if isinstance(label, str):
        known = [predictions.class_name(k) for k in range(count)]
        if label in known:
            return known.index(label)
        more = f" and {count - 12} more" if count > 12 else ""
        raise InputError(f"there is no class {label!r}; there are {', '.join(known[:12])}{more}")
    whole = isinstance(label, (int, np.integer)) and not isinstance(label, bool)
    if not whole or not 0 <= label < count:
        raise InputError(f"a class is a name, or an index from 0 to {count - 1}; got {label!r}")
    return int(label)


def unit(predictions: Predictions) -> str:
    """Return what a score is called on an axis."""
    return escape(predictions.units)


def say_interval(found: tuple[float, float] | None) -> str:
    """Return an interval of shares, such as ``0.93 to 0.97``."""
    return "" if found is None else f"{found[0]:.3f} to {found[1]:.3f}"
