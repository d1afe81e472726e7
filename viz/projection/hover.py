"""What a point shows when it is pointed at: a picture, a text, or a row of a table."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pellucid.errors import InputError, InputTypeError
from pellucid.viz.data.table import read
from pellucid.viz.pixels import png, to_bytes
from pellucid.viz.theme import escape, shorten

_PICTURES = 5000
_SPRITE_BYTES = 2_000_000
_LETTERS = 160  # of a text
_CELL = 40  # letters of one value of a row
_COLUMNS = 8
_ALL = 2_000_000  # letters of all texts
_LEAST = 20  # shorter texts say nothing


def hover_images(display: np.ndarray | None) -> tuple[dict[str, Any] | None, str]:
    """Return all pictures as one, with what is needed to find each; and a note if there are none.

    Parameters
    ----------
    display
        Pictures, (samples, rows, columns[, 3]).
    """
    if display is None:
        return None, ""
    if display.ndim not in (3, 4) or (display.ndim == 4 and display.shape[3] not in (1, 3)):
        raise InputError(
            f"display has shape {display.shape}; pictures are (samples, rows, columns) or "
            "(samples, rows, columns, 3)"
        )
    count, tall, wide = display.shape[:3]
    if count > _PICTURES:
        return None, f"no pictures on hover: more than {_PICTURES:,}"
    pixels, _ = to_bytes(display)
    if pixels.ndim == 4 and pixels.shape[3] == 1:
        pixels = pixels[..., 0]
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.zeros((rows * columns, *pixels.shape[1:]), np.uint8)
    sheet[:count] = pixels
    grid = sheet.reshape(rows, columns, *pixels.shape[1:])
    joined = np.moveaxis(grid, 2, 1).reshape(rows * tall, columns * wide, *pixels.shape[3:])
    file = png(joined)
    if len(file) > _SPRITE_BYTES:
        return None, f"no pictures on hover: {len(file) / 1e6:.1f} MB would be too large"
    return {
        "uri": "data:image/png;base64," + base64.b64encode(file).decode(),
        "width": wide,
        "height": tall,
        "columns": columns,
        "count": count,
    }, ""


class Texts:
    """A text for each point, written for those that are drawn.

    Parameters
    ----------
    given
        A list of texts, or a data frame (or dict of columns) with a row for each point; None for
        no texts.
    count
        How many points there are.

    Raises
    ------
    InputError
        If there is not one for each point.
    InputTypeError
        If it is neither.
    """

    def __init__(self, given: Any, count: int) -> None:
        self._table = self._texts = None
        if given is None:
            return
        if isinstance(given, Mapping) or hasattr(given, "columns"):
            self._table = read(given)
            found = self._table.count
        elif isinstance(given, str) or not hasattr(given, "__len__"):
            raise InputTypeError(
                "hover is one text for each point, or a data frame with one row for each; got a "
                f"{type(given).__name__}"
            )
        else:
            self._texts = given if isinstance(given, (list, tuple)) else np.asarray(given).tolist()
            found = len(self._texts)
            if any(isinstance(text, (list, tuple, dict)) for text in self._texts[:1]):
                raise InputTypeError(
                    "hover is one text for each point; for several values of each give a data frame"
                )
        if found != count:
            raise InputError(f"hover has {found:,} entries for {count:,} points")

    def of(self, rows: np.ndarray, drawn: int) -> list[str] | None:
        """Return the texts of some points, escaped; None where there is no room for texts.

        Parameters
        ----------
        rows
            Positions of the points.
        drawn
            How many points the whole figure draws.
        """
        room = _ALL // max(1, drawn)
        if room < _LEAST:
            return None
        if self._texts is not None:
            length = min(_LETTERS, room)
            return [_wrapped(shorten(self._texts[i], length)) for i in rows.tolist()]
        if self._table is None:
            return None
        count = max(1, min(_COLUMNS, room // _CELL, len(self._table.names)))
        table = self._table.chosen(rows)
        columns = [table.column(k) for k in range(count)]
        names = [escape(shorten(column.label, _CELL)) for column in columns]
        said = [
            [escape(shorten(column.said(value), _CELL)) for value in column.values.tolist()]
            for column in columns
        ]
        return [
            "<br>".join(f"{name}: {value}" for name, value in zip(names, row, strict=True))
            for row in zip(*said, strict=True)
        ]

    def note(self, drawn: int) -> str | None:
        """Say what of the texts is left out."""
        if self._texts is None and self._table is None:
            return None
        if _ALL // max(1, drawn) < _LEAST:
            return f"no texts on hover: more than {_ALL // _LEAST:,} points"
        if self._table is not None and len(self._table.names) > _COLUMNS:
            return f"on hover: {_COLUMNS} of {len(self._table.names)} columns"
        return None


def _wrapped(text: str) -> str:
    """Break a text into lines that a hover label can hold."""
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + len(word) >= 60:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return "<br>".join(escape(part) for part in [*lines, line])
