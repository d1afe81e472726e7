"""What figures of tables share: features' names, their values in the inputs, and their order."""

from __future__ import annotations

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results import Explanation
from pellucid.viz.attributions import words
from pellucid.viz.theme import number, shorten

# Beyond so many standard errors a difference is not chance, at a confidence of 95 %.
SETTLED = 1.96
PLAYERS = ("feature", "group")  # what the axis of a table may be


def table(explanation: Explanation, function: str) -> Explanation:
    """Return an explanation of the rows of a table; raise for any other."""
    explanation = words.single(explanation, function)
    if np.ndim(explanation.values) != 2:
        raise InputError(
            f"viz.{function} draws values of shape (samples, features), but these have shape "
            f"{explanation.values.shape}; viz.image draws pictures, and explanation.group_sums "
            "adds values up within named groups"
        )
    if not explanation.values.shape[1]:
        raise InputError("the explanation has no features to draw")
    return explanation


def complete(explanation: Explanation, function: str, instead: str) -> Explanation:
    """Return a table whose values account for its predictions; raise for any other."""
    explanation = table(explanation, function)
    if explanation.prediction is None or explanation.baseline_prediction is None:
        raise InputError(
            f"the values of {words.method_name(explanation)} do not add up from a baseline's "
            f"prediction to the sample's, so viz.{function} cannot draw them; {instead}, or "
            "explain with a complete method such as integrated gradients"
        )
    return explanation


def name(explanation: Explanation, position: int) -> str:
    """Return a feature's or group's full name."""
    axes = tuple(explanation.axes or ("sample", "feature"))
    if grouped(explanation):
        return list(explanation.groups or ())[position]
    if explanation.feature_names is not None and axes[1] != "group":
        return explanation.feature_names[position]
    return f"{axes[1]} {position}"


def groups(explanation: Explanation) -> tuple[str, ...] | None:
    """Return the groups' names where values are of groups; None where they are of features."""
    return tuple(explanation.groups or ()) if grouped(explanation) else None


def find(explanation: Explanation, wanted: str | int, argument: str) -> int:
    """Return a feature's position by its name or position; raise if there is none."""
    count = explanation.values.shape[1]
    names = [name(explanation, i) for i in range(count)]
    if isinstance(wanted, str) and wanted in names:
        return names.index(wanted)
    whole = isinstance(wanted, (int, np.integer)) and not isinstance(wanted, bool)
    if whole and -count <= wanted < count:
        return int(wanted % count)
    listed = ", ".join(shorten(known, 40) for known in names[:12]) + (", ..." * (count > 12))
    raise InputError(
        f"{argument}={wanted!r} is no feature; give a name ({listed}) or a position from 0 to "
        f"{count - 1}"
    )


# -- values in the inputs --------------------------------------------------------------------


def column(explanation: Explanation, position: int) -> np.ndarray | None:
    """Return a feature's value in each sample; None where it is not known, or a group has many."""
    # A layer's values stand beside no input, and a token's number tells nobody anything.
    if explanation.at != "input" or explanation.tokens is not None:
        return None
    own = _own(explanation, position)
    count = _columns(explanation)
    for shown in (explanation.display, explanation.inputs):
        if own is not None and isinstance(shown, np.ndarray) and shown.shape[1:] == (count,):
            return np.broadcast_to(shown[:, own], len(explanation))
    return None


def texts(explanation: Explanation, position: int) -> tuple[str, ...] | None:
    """Return what a feature's codes stand for; None where its values are numbers."""
    own, names = _own(explanation, position), explanation.feature_names
    if own is None or explanation.categories is None:
        return None
    return explanation.categories.get(str(own) if names is None else names[own])


def _own(explanation: Explanation, position: int) -> int | None:
    """Return the column of the inputs that a feature is, or a group of one; None for others."""
    if not grouped(explanation):
        return position
    mask = list((explanation.groups or {}).values())[position]
    return int(mask.argmax()) if mask.ndim == 1 and mask.sum() == 1 else None


def _columns(explanation: Explanation) -> int:
    if not grouped(explanation):
        return int(explanation.values.shape[1])
    return int(next(iter((explanation.groups or {}).values())).size)


def grouped(explanation: Explanation) -> bool:
    """Whether values are of groups, whose names and members are known."""
    return tuple(explanation.axes or ())[1:2] == ("group",) and bool(explanation.groups)


def said(explanation: Explanation, position: int, value: object) -> str:
    """Return a feature's value as a person reads it."""
    if isinstance(value, str):
        return shorten(value)
    real = float(value)  # type: ignore[arg-type]
    if not np.isfinite(real):
        return "missing" if np.isnan(real) else number(real)
    known = texts(explanation, position)
    if known is not None and real == int(real) and 0 <= int(real) < len(known):
        return shorten(known[int(real)])
    return number(real)


def valued(explanation: Explanation, sample: int, position: int) -> str:
    """Return a feature's short name and its value in the input."""
    short = shorten(name(explanation, position))
    values = column(explanation, position)
    return short if values is None else f"{short} = {said(explanation, position, values[sample])}"


# -- order -----------------------------------------------------------------------------------


def sizes(explanation: Explanation) -> tuple[np.ndarray, np.ndarray | None]:
    """Return each feature's mean magnitude over the samples, and at most its standard error.

    All samples may have been asked about the same coalitions: their errors then go one way, and
    their mean does not average out.
    """
    values = np.abs(np.asarray(explanation.values, dtype=np.float64))
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    if explanation.standard_error is None:
        return mean, None
    errors = np.asarray(explanation.standard_error, dtype=np.float64)
    return mean, np.where(known, errors, 0.0).sum(axis=0) / count


def mean(sizes: np.ndarray, errors: np.ndarray | None, position: int) -> str:
    """Return a feature's mean magnitude, with as many digits as its error lets it have."""
    size = float(sizes[position])
    # What is smaller than that beside the largest is how the numbers were rounded.
    size = size if size > 1e-12 * sizes.max() else 0.0
    error = 0.0 if errors is None else float(errors[position])
    if not error > 0:
        said = f"{size:.3g}"
    else:
        digits = int(np.clip(np.ceil(np.log10(max(size, error) / error)) + 1, 1, 4))
        said = f"{size:.{digits}g} ± {error:.1g}"
    return said.replace("-", "\N{MINUS SIGN}")


def ranked(sizes: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the largest, largest first, and those of the rest."""
    order = np.argsort(-np.nan_to_num(sizes, nan=np.inf), kind="stable")
    # A line that stands for "1 other feature" may as well be that feature.
    kept = top if len(order) > top + 1 else len(order)
    return order[:kept], order[kept:]


def ties(sizes: np.ndarray, errors: np.ndarray | None) -> np.ndarray:
    """Return for each two neighbours whether their order may be chance, (features - 1,)."""
    if errors is None or len(sizes) < 2:
        return np.zeros(max(len(sizes) - 1, 0), dtype=bool)
    spread = SETTLED * np.hypot(errors[:-1], errors[1:])
    tied: np.ndarray = np.abs(np.diff(sizes)) < spread
    return tied


def other(count: int) -> str:
    """Return what stands for the features that are not drawn one by one."""
    return f"{count} other feature{'s' if count > 1 else ''}"
