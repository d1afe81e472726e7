"""How much of a large result is drawn: what a screen can show, without losing the extremes."""

from __future__ import annotations

import math

import numpy as np

LIMIT = 2000  # points of one line; more cannot be seen on a screen
_SIDE = 1024  # cells of a side; more are blocks


def decimate(values: np.ndarray, limit: int = LIMIT) -> np.ndarray:
    """Return the positions to draw: the minimum and maximum of each stretch, and every gap.

    Parameters
    ----------
    values
        What is drawn; NaN where the line is interrupted.
    limit
        How many points to keep at most, beside the interruptions.
    """
    if len(values) <= limit:
        return np.arange(len(values))
    kept = []
    for stretch in np.array_split(np.arange(len(values)), limit // 2):
        part = values[stretch]
        finite = stretch[np.isfinite(part)]
        if finite.size:
            kept += [finite[np.argmin(values[finite])], finite[np.argmax(values[finite])]]
        if finite.size < stretch.size:
            kept.append(stretch[~np.isfinite(part)][0])
    return np.unique(kept)


def reduce_blocks(plane: np.ndarray, side: int = _SIDE) -> tuple[np.ndarray, int]:
    """Reduce a map to at most `side` cells a side, keeping each block's value of largest size."""
    block = math.ceil(max(plane.shape) / side)
    if block == 1:
        return plane, 1
    rows, cols = (math.ceil(n / block) for n in plane.shape)
    padded = np.full((rows * block, cols * block), np.nan, np.float32)
    padded[: plane.shape[0], : plane.shape[1]] = plane
    blocks = padded.reshape(rows, block, cols, block).transpose(0, 2, 1, 3)
    flat = blocks.reshape(rows, cols, block * block)
    best = np.argmax(np.nan_to_num(np.abs(flat), nan=-1.0), axis=-1)
    return np.take_along_axis(flat, best[..., None], axis=-1)[..., 0], block
