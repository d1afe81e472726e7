"""The samples behind a part of a figure: as pictures, rows of a table, or texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pellucid.interpret.results import Predictions
from pellucid.viz.attributions.pictures import channels
from pellucid.viz.pixels import to_bytes
from pellucid.viz.projection.scatter import hover_images
from pellucid.viz.theme import number, percent, shorten

MOST = 50  # samples that one part of a figure lists
_TOTAL = 1000  # samples that all its parts list
_BYTES = 600_000  # of all their pictures, before they are packed
_COLUMNS = 8  # features of a table that are listed
_SIDE = 48  # pixels of a picture in a list


def pictures(predictions: Predictions, positions: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Return pictures of some samples, uint8 (sample, row, column[, 3]), and a note.

    None where what was predicted from is no picture.
    """
    inputs = predictions.inputs
    if inputs is None or inputs.ndim not in (3, 4) or inputs.dtype.kind not in "fiub":
        return None, ""
    found, notes = inputs[positions], []
    if found.ndim == 4:
        found = np.moveaxis(found, channels(found.shape), -1)
        if found.shape[-1] not in (1, 3, 4):
            notes.append(f"pictures are the mean of their {found.shape[-1]} channels")
            found = found.mean(axis=-1, keepdims=True)
        found = found[..., 0] if found.shape[-1] == 1 else found[..., :3]
    pixels, rescaled = to_bytes(found)
    if rescaled:
        notes.append(f"their brightness is rescaled from {rescaled}")
    return pixels, "; ".join(notes)


def sized(pixels: np.ndarray, side: int) -> tuple[np.ndarray, str]:
    """Return pictures whose longer side is about so many pixels, and whether some were merged.

    Small ones are enlarged by a whole number, so that their pixels stay what they are.
    """
    longest = max(pixels.shape[1:3])
    if longest <= side:
        times = max(1, round(side / longest))
        return pixels.repeat(times, axis=1).repeat(times, axis=2), ""
    block = -(-longest // side)
    tall, wide = (-(-n // block) for n in pixels.shape[1:3])
    room = [(0, 0), (0, tall * block - pixels.shape[1]), (0, wide * block - pixels.shape[2])]
    whole = np.pad(pixels, room + [(0, 0)] * (pixels.ndim - 3), mode="edge")
    parts = whole.reshape(len(pixels), tall, block, wide, block, *pixels.shape[3:])
    merged = np.rint(parts.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)
    return merged, f"each pixel shown is the mean of {block} x {block}"


def confidence(predictions: Predictions, score: float) -> str:
    """Return a score in words: a probability in percent."""
    if predictions.units != "probability":
        return number(score)
    # 99.99 % is not 100 %.
    return percent(score) if score <= 0.99 or score == 1 else f"{100 * min(score, 0.9999):.2f} %"


def listing(
    predictions: Predictions, parts: Mapping[str, tuple[str, np.ndarray]]
) -> dict[str, Any]:
    """Return the samples behind the parts of a figure, for a report to list below it.

    Parameters
    ----------
    parts
        By a part's key, ``"trace:row,column"`` or ``"trace:point"``: what it is called, and the
        positions of its samples, those to be listed first in front.

    Returns
    -------
    dict
        ``columns``: what each value of a sample is called. ``parts``: of each its ``key``, its
        ``name``, its ``count``, the ``rows`` of values as text, and where ``sprite`` has its
        ``pictures``. Texts are as they are, not escaped.
    """
    counts = np.array([len(found) for _, found in parts.values()], dtype=int)
    most, total = MOST, _fitting(predictions)
    while most > 1 and np.minimum(counts, most).sum() > total:
        most -= 1
    chosen = {key: found[:most] for key, (_, found) in parts.items()}
    every = np.unique(np.concatenate([*chosen.values(), np.zeros(0, int)]).astype(int))
    pixels, _ = pictures(predictions, every)
    sprite = None if pixels is None else hover_images(sized(pixels, _SIDE)[0])[0]
    columns, cells = _cells(predictions, every, sprite is not None)
    return {
        "columns": columns,
        "sprite": sprite,
        "parts": [
            {
                "key": key,
                "name": name,
                "count": len(found),
                "rows": [cells[i] for i in np.searchsorted(every, chosen[key])],
                "pictures": np.searchsorted(every, chosen[key]).tolist() if sprite else None,
            }
            for key, (name, found) in parts.items()
        ],
    }


def _fitting(predictions: Predictions) -> int:
    """Return how many samples a report has room for."""
    pixels, _ = pictures(predictions, np.arange(1))
    if pixels is None:
        return _TOTAL
    small = min((pixels, sized(pixels, _SIDE)[0]), key=lambda one: one.size)
    return min(_TOTAL, _BYTES // small.size)


def _cells(
    predictions: Predictions, every: np.ndarray, pictured: bool
) -> tuple[list[str], list[list[str]]]:
    """Return what is said of each sample besides its picture, and what each of that is called."""
    ids = predictions.ids
    best = predictions.scores.max(axis=1)
    columns = ["sample", predictions.units]
    rows = [[shorten(ids[i], 40), confidence(predictions, float(best[i]))] for i in every.tolist()]
    inputs = predictions.inputs
    if pictured or inputs is None or inputs.ndim > 2:
        return columns, rows
    table = inputs[every]
    if table.ndim == 1:
        table = table[:, None]
    named = predictions.feature_names
    shown = min(table.shape[1], _COLUMNS)
    text = inputs.ndim == 1 and inputs.dtype.kind not in "fiub"
    columns += ["text"] if text else [shorten(named[k], 30) if named else f"feature {k}"
                                      for k in range(shown)]  # fmt: skip
    for row, values in zip(rows, table, strict=True):
        row += [cell(value, 160 if text else 30) for value in values[:shown].tolist()]
    return columns, rows


def cell(value: Any, length: int) -> str:
    """Return one value of an input as text."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number(value) if np.isfinite(value) else "missing"
    return shorten(value, length)
