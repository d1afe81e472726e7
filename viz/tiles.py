"""Many small maps laid out as one."""

from __future__ import annotations

import math

import numpy as np


def tile(array: np.ndarray) -> tuple[np.ndarray, bool]:
    """Lay an array out as one map; filters become tiles with gaps of NaN. Say whether it did."""
    if array.ndim <= 2:
        return np.atleast_2d(array), False
    if array.ndim == 3:
        array = array[:, :, None, :]
    tall, wide = array.shape[-2:]
    out = len(array)
    per_filter = int(np.prod(array.shape[1:-2]))
    side_by_side = max(1, round(math.sqrt(2 * out / per_filter)))  # about twice as wide as high
    rows = math.ceil(out / side_by_side)
    tiles = np.full((rows * side_by_side, per_filter, tall + 1, wide + 1), np.nan, np.float32)
    tiles[:out, :, :tall, :wide] = array.reshape(out, per_filter, tall, wide)
    grid = tiles.reshape(rows, side_by_side * per_filter, tall + 1, wide + 1)
    plane = grid.transpose(0, 2, 1, 3).reshape(rows * (tall + 1), -1)
    return plane[:-1, :-1], True
