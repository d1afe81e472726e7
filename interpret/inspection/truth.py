"""The truth beside predictions: targets of any kind as class indices, or as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from pellucid.errors import InputError, InputTypeError

_NAMED = 12  # classes that an error lists


def as_targets(targets: Any, samples: int) -> np.ndarray:
    """Return targets as an array with one entry, or one row, for each sample.

    Raises
    ------
    InputError
        If there is not one for each sample.
    """
    given = targets.detach().cpu() if isinstance(targets, Tensor) else targets
    found = np.asarray(given)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]  # a data frame of one column, or what a loss wants
    if found.ndim == 0 or len(found) != samples:
        raise InputError(
            f"targets have shape {found.shape}; give one for each of the {samples} samples"
        )
    return found


def class_indices(
    targets: np.ndarray, classes: int, labels: np.ndarray | None, names: Sequence[str] | None
) -> np.ndarray:
    """Return the class index of each target.

    Parameters
    ----------
    targets
        Class indices, labels or names, shape (samples,).
    classes
        How many classes there are.
    labels
        What the model itself calls its classes; None for 0, 1, ...
    names
        What they are called in figures, or None.

    Raises
    ------
    InputError, InputTypeError
        If a target is none of the classes, or there is more than one for each sample.
    """
    if targets.ndim != 1:
        raise InputError(
            f"targets have shape {targets.shape}; a classification has one class for each sample: "
            "of one-hot rows give targets.argmax(axis=1)"
        )
    if targets.dtype.kind == "f" and np.isnan(targets).any():
        raise InputError(
            f"{int(np.isnan(targets).sum())} of {len(targets)} targets are NaN; leave those "
            "samples out, or give no targets"
        )
    if targets.dtype.kind not in "OUSfiub":
        raise InputTypeError(f"targets are of dtype {targets.dtype}; give classes or numbers")
    known: dict[Any, int] = {name: k for k, name in enumerate(names or ())}
    # A model's own labels go before the names: only they are what it was trained with.
    known |= {
        _plain(label): k for k, label in enumerate(range(classes) if labels is None else labels)
    }
    try:
        found, inverse = np.unique(targets, return_inverse=True)
    except TypeError:  # texts beside numbers, or None
        found, inverse = targets, np.arange(len(targets))
    given = [_plain(one) for one in found]
    strange = next((one for one in given if not _is_key(one) or one not in known), None)
    if strange is not None or None in given:
        raise InputError(_unknown(strange, targets, classes, labels, names))
    indices: np.ndarray = np.array([known[one] for one in given], dtype=np.int64)[inverse]
    return indices


def _plain(value: Any) -> Any:
    """Return Python's own value for one of NumPy's; True is 1, and 2.0 is 2, as keys of a dict."""
    found = value.item() if isinstance(value, np.generic) else value
    return found.decode() if isinstance(found, bytes) else found


def _is_key(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _unknown(
    strange: Any,
    targets: np.ndarray,
    classes: int,
    labels: np.ndarray | None,
    names: Sequence[str] | None,
) -> str:
    there = [repr(_plain(one)) for one in labels] if labels is not None else None
    if there is None:
        there = [repr(name) for name in names] if names and isinstance(strange, str) else None
    listed = (
        f"0 to {classes - 1}"
        if there is None
        else ", ".join(there[:_NAMED])
        + (f" and {len(there) - _NAMED} more" if len(there) > _NAMED else "")
    )
    hint = ""
    if isinstance(strange, str) and labels is None and not names:
        hint = "; give class_names to say which class is called so"
    return f"target {strange!r} is not a class: the model's {classes} classes are {listed}{hint}"


def values(targets: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the numbers to predict, in the shape of the scores.

    Raises
    ------
    InputError, InputTypeError
        If they are no numbers, or not of that shape.
    """
    try:
        found = targets.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputTypeError(
            f"targets are of dtype {targets.dtype}, and the model predicts numbers; give numbers, "
            "or class_names if its outputs are classes"
        ) from error
    if found.shape != shape:
        raise InputError(
            f"targets have shape {found.shape}, and the model predicts shape {shape}: one number "
            "for each sample and output"
        )
    return found
