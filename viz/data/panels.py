"""What figures of data share: panels side by side, legends, axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from pellucid.viz.data.columns import Column
from pellucid.viz.data.prepare import Groups
from pellucid.viz.scale import evenly
from pellucid.viz.theme import Theme, escape, shorten

MOST = 12  # panels
GAP = 16  # pixels between two panels of a row
HEAD = 24  # pixels above a panel for its name
_LETTER = 6.9
_LEGEND_LINE = 24
_NARROW = 560  # pixels of a figure that takes the width it is given
_LEAST = 160  # pixels of a plot beside its legend
_LONGEST = 20  # letters of a legend's entry
_TICKS = 12  # categories on an axis that all are named
_TICK_LETTERS = 16


@dataclass(frozen=True)
class Panels:
    """Where the panels of a figure stand, all of the same axes.

    Attributes
    ----------
    names
        Of the panels; empty for a single one without a name.
    columns
        How many stand side by side.
    """

    names: tuple[str, ...]
    columns: int

    @classmethod
    def of(cls, groups: Groups | None, width: int | None) -> Panels:
        """Return the panels of groups."""
        if groups is None:
            return cls((), 1)
        names = tuple(f"{groups.title}: {label}" for label in groups.labels)
        wide = 3 if (width or 700) >= 900 and len(names) != 4 else 2
        return cls(names, min(len(names), wide))

    @property
    def count(self) -> int:
        """How many panels there are."""
        return max(1, len(self.names))

    @property
    def rows(self) -> int:
        """How many rows of panels there are."""
        return math.ceil(self.count / self.columns)

    def natural(self, single: float) -> float:
        """Return the height of all, where one alone would have `single` pixels."""
        return single if not self.names else self.rows * (0.62 * single + HEAD)

    @staticmethod
    def axes(k: int) -> dict[str, str]:
        """Return the axes of a panel, for its traces."""
        suffix = "" if k == 0 else str(k + 1)
        return {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}

    def arrange(
        self,
        figure: go.Figure,
        x: dict[str, Any],
        y: dict[str, Any],
        size: tuple[float, float],
    ) -> None:
        """Place the panels, with ticks at the left and below.

        Parameters
        ----------
        figure
            To which the axes are added.
        x, y
            Options of every panel's axes.
        size
            Pixels of the plot's width, roughly, and height.
        """
        step = 1 / self.rows
        gap = GAP / size[0]
        inner = (1 - gap * (self.columns - 1)) / self.columns
        for k in range(self.count):
            row, column = divmod(k, self.columns)
            left = column * (inner + gap)
            top = 1 - row * step - (HEAD / size[1] if self.names else 0)
            bottom = 1 - (row + 1) * step + (0.3 * HEAD / size[1] if row < self.rows - 1 else 0)
            lowest = k + self.columns >= self.count
            names = self.axes(k)
            for option, own, shown, domain in (
                ("xaxis", x, lowest, [left, min(1.0, left + inner)]),
                ("yaxis", y, column == 0, [bottom, top]),
            ):
                axis = {**own, "domain": domain, "showticklabels": shown}
                if not shown:
                    axis |= {"title": None, "ticks": ""}
                if k:
                    axis["matches"] = option[0]
                axis["anchor"] = names["yaxis" if option == "xaxis" else "xaxis"]
                figure.update_layout({f"{option}{names[option][1:]}": axis})
            if self.names:
                letters = max(14, int(size[0] * inner / _LETTER))
                figure.add_annotation(
                    text=escape(shorten(self.names[k], letters)),
                    x=left,
                    y=top,
                    xref="paper",
                    yref="paper",
                    xanchor="left",
                    yanchor="bottom",
                    showarrow=False,
                )


@dataclass(frozen=True)
class Legend:
    """Where the names of groups stand, and the room that they take.

    Attributes
    ----------
    above, right
        Pixels.
    """

    groups: Groups | None
    above: int = 0
    right: int = 24

    @classmethod
    def of(cls, groups: Groups | None, width: int | None = None, left: int = 76) -> Legend:
        """Return a legend above the plot if its names fit in one line, else where there is room."""
        if groups is None:
            return cls(None)
        names = [len(shorten(label, _LONGEST)) for label in groups.labels]
        title = len(shorten(groups.title, _LONGEST))
        room = (width or _NARROW) - left - 24
        if sum(_LETTER * letters + 46 for letters in names) + _LETTER * title <= room:
            return cls(groups, above=_LEGEND_LINE)
        right = int(62 + _LETTER * max(*names, title))
        if room - right < _LEAST:
            return cls(groups, above=_LEGEND_LINE * len(names))
        return cls(groups, right=right)

    def name(self, k: int) -> str:
        """Return the name of a group, escaped."""
        return "" if self.groups is None else escape(shorten(self.groups.labels[k], _LONGEST))

    def set(self, figure: go.Figure) -> None:
        """Place the legend."""
        if self.groups is None:
            figure.update_layout(showlegend=False)
            return
        title = escape(shorten(self.groups.title, _LONGEST))
        place: dict[str, Any] = {"x": 1.01, "xanchor": "left", "y": 1, "yanchor": "top"}
        if self.above:
            place = {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"}
        figure.update_layout(
            showlegend=True,
            legend={
                **place,
                "itemsizing": "constant",
                "title": {"text": title, "font": {"size": 12}},
            },
        )


def axis_of(column: Column, scale: str | None = None) -> dict[str, Any]:
    """Return the options of an axis that shows a column's values."""
    axis: dict[str, Any] = {"title": {"text": escape(column.label)}, "zeroline": False}
    if column.kind == "date":
        return axis | {"type": "date"}
    if column.kind == "category":
        shown = evenly(len(column.levels), _TICKS)
        return axis | {
            "tickvals": shown,
            "ticktext": [escape(shorten(column.levels[k], _TICK_LETTERS)) for k in shown],
            "range": [-0.6, len(column.levels) - 0.4],
        }
    if scale == "log":
        return axis | {"type": "log", "nticks": 7}
    return axis | {"type": "linear"}


def left_of(column: Column) -> int:
    """Return the pixels left of a plot for the ticks of a column's axis."""
    if column.kind != "category":
        return 76
    longest = max(len(shorten(level, _TICK_LETTERS)) for level in column.levels)
    return int(48 + _LETTER * longest)


def plain_size(width: int | None, left: int, right: int) -> float:
    """Return the pixels that a plot is wide, roughly where nobody said."""
    return max(120.0, (width or 680) - left - right)


def look_of(k: int, groups: Groups | None, look: Theme) -> str:
    """Return the colour of a group; of the only one, the first."""
    return look.classes[0] if groups is None else groups.colors[k]


def faint(color: str) -> str:
    """Return a colour as one that others show through."""
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"
