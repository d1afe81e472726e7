"""Values of the groups of a picture, such as its segments, as a picture again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pellucid.interpret.results import Explanation
from pellucid.viz.attributions import features, pictures


def is_regions(explanation: Explanation) -> bool:
    """Whether values are of groups of a picture's values."""
    if explanation.values.ndim != 2 or not features.grouped(explanation):
        return False
    return next(iter((explanation.groups or {}).values())).ndim in (2, 3)


def painted(explanation: Explanation) -> Explanation:
    """Return an explanation of groups as one of a picture's rows and columns; others as they are.

    Every place has the whole value of the group that covers it, or the sum of those that do where
    the picture's channels belong to several. The values no longer add up to the prediction.
    """
    if not is_regions(explanation):
        return explanation
    masks = _masks(explanation)
    errors = explanation.standard_error
    return replace(
        explanation,
        values=_spread(explanation.values, masks),
        standard_error=None if errors is None else np.sqrt(_spread(errors**2, masks)),
        axes=("sample", "row", "column"),
        groups=None,
    )


def note(explanation: Explanation) -> str:
    """Return how a picture of groups is to be read, in words; empty for any other."""
    if not is_regions(explanation):
        return ""
    return f"each of the {explanation.values.shape[1]} regions has the colour of its whole value"


def unclear(explanation: Explanation, shown: int) -> str:
    """Return how many groups of the first samples may have no effect, in words."""
    if not is_regions(explanation) or explanation.standard_error is None:
        return ""
    spread = features.SETTLED * explanation.standard_error[:shown]
    count = int((np.abs(explanation.values[:shown]) < spread).sum())
    return f"{count} of all values drawn are not told from zero (95 %)" if count else ""


def _masks(explanation: Explanation) -> np.ndarray:
    """Return where each group is: (groups, rows, columns)."""
    masks = np.stack(list((explanation.groups or {}).values()))
    if masks.ndim == 3:
        return masks
    # A group counts once where it covers several channels.
    found: np.ndarray = np.any(masks, axis=pictures.channels(masks.shape))
    return found


def _spread(values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    flat = masks.reshape(len(masks), -1)
    found = np.zeros((len(values), flat.shape[1]), dtype=values.dtype)
    for value, mask in zip(values.T, flat, strict=True):
        found[:, mask] += value[:, None]
    return found.reshape(len(values), *masks.shape[1:])
