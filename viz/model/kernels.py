"""How a parameter becomes a map: a matrix as it is, filters as tiles, or by their peaks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pellucid.viz.scale import reduce_blocks
from pellucid.viz.theme import number
from pellucid.viz.tiles import Sheet, columns, tile

_TILES = 2048  # kernels of a layer that are tiles; of more each is one cell
_CELLS = 2**18  # of all maps of a figure together
_SIDE = 1024  # cells of a side
_COLORS = 3  # channels of a picture in colour

# What the rows of some matrices are, in blocks of equal height.
_BLOCKS = {
    "LSTM": ("input gate", "forget gate", "cell", "output gate"),
    "LSTMCell": ("input gate", "forget gate", "cell", "output gate"),
    "GRU": ("reset gate", "update gate", "new"),
    "GRUCell": ("reset gate", "update gate", "new"),
    "in_proj_weight": ("query", "key", "value"),
}


@dataclass(frozen=True)
class Map:
    """A parameter as it is drawn.

    Attributes
    ----------
    cells
        Shape (rows, columns); uint8 (rows, columns, 3) where channels are colours.
    step
        Weights along a side of a cell.
    tiled
        Whether it is tiles with gaps.
    down, across
        What rows and columns are.
    blocks
        Names of blocks of rows of equal height; empty where there are none.
    note
        What a caption says of it, or None.
    """

    cells: np.ndarray
    step: int = 1
    tiled: bool = False
    down: str = "output"
    across: str = "input"
    blocks: tuple[str, ...] = ()
    note: str | None = None

    @property
    def colored(self) -> bool:
        """Whether channels are drawn as colours."""
        return self.cells.ndim == 3


def has_colors(array: np.ndarray) -> bool:
    """Whether an array holds filters of pictures in colour: (filters, 3, rows, columns)."""
    return array.ndim == 4 and array.shape[1] == _COLORS


def as_map(kind: str, name: str, array: np.ndarray, parts: int, paper: list[int] | None) -> Map:
    """Return a parameter as a map.

    Parameters
    ----------
    kind, name
        The layer's class, and the parameter's name.
    array
        In torch's layout: (out, in, ...).
    parts
        How many maps the figure has: they share a number of cells.
    paper
        Red, green and blue of what is between filters in colour; None to draw channels apart.
    """
    if paper is not None and has_colors(array):
        return _in_colors(array, paper)
    if array.ndim < 2:
        return Map(np.atleast_2d(array), down="", across="position")
    if array.ndim > 2:
        if "Transpose" in kind:
            array = np.swapaxes(array, 0, 1)  # which torch has as (in, out, ...)
        if math.prod(array.shape[2:]) == 1:
            array = array.reshape(array.shape[:2])
    if array.ndim > 2:
        count = math.prod(array.shape[:-2])
        if count <= _TILES and array.size <= _CELLS // parts:
            plane, _ = tile(array)
            cells, step = _fitted(plane, parts)
            return Map(cells, step, True, "filters x channels", "", note=_note(step))
        size = " x ".join(map(str, array.shape[2:]))
        flat = array.reshape(*array.shape[:2], -1)
        best = np.argmax(np.nan_to_num(np.abs(flat), nan=-1.0), axis=-1)
        peaks = np.take_along_axis(flat, best[..., None], axis=-1)[..., 0]
        cells, step = _fitted(peaks, parts)
        note = f"each cell is the value of largest magnitude of a kernel of {size}"
        if step > 1:
            note += f", of {step} x {step} kernels"
        return Map(cells, step, note=note)
    # Recurrent kernels of Keras stand as (in, out).
    cells, step = _fitted(array.T if name.endswith("kernel") else array, parts)
    down, across = ("entry", "feature") if kind.startswith("Embedding") else ("output", "input")
    return Map(cells, step, False, down, across, _blocks(kind, name, array), _note(step))


def _fitted(plane: np.ndarray, parts: int) -> tuple[np.ndarray, int]:
    """Reduce a map to its share of the cells."""
    share = math.ceil(math.sqrt(plane.size * parts / _CELLS))
    step = max(share, math.ceil(max(plane.shape) / _SIDE), 1)
    return reduce_blocks(plane, math.ceil(max(plane.shape) / step))


def _note(step: int) -> str | None:
    if step == 1:
        return None
    return f"each cell is the value of largest magnitude of {step} x {step} weights"


def _blocks(kind: str, name: str, array: np.ndarray) -> tuple[str, ...]:
    """Return what the rows are in blocks, of the layers of torch that have such."""
    names = _BLOCKS.get(name) or (_BLOCKS.get(kind, ()) if name.startswith("weight_") else ())
    whole = bool(names) and array.shape[0] % len(names) == 0
    return names if whole and "hr" not in name else ()


def _in_colors(array: np.ndarray, paper: list[int]) -> Map:
    """Return filters with their channels as red, green and blue: grey is zero."""
    finite = np.where(np.isfinite(array), array, 0)
    end = float(np.abs(finite).max()) or 1.0
    shades = np.rint(127.5 + 127.5 * finite / end)
    across = columns(len(shades), shades.shape[2:], ratio=2)
    channels = [Sheet(shades[:, k], across).plane for k in range(_COLORS)]
    plane = np.stack([np.where(np.isnan(c), p, c) for c, p in zip(channels, paper, strict=True)])
    note = f"its 3 channels are red, green and blue: grey is 0, the full colour ±{number(end)}"
    return Map(np.moveaxis(plane, 0, -1).astype(np.uint8), 1, True, "filters", "", note=note)
