"""Several maps side by side: where they stand, what is written above and below each."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from pellucid.viz.projection.points import scene_of
from pellucid.viz.theme import CAPTION_SIZE, Theme, escape, shorten

_GAP = 14  # pixels between two panels of a row
_HEAD = 24
_LINE = 15
_LETTER = 6.9
_NOTE_LETTER = 5.9
_ASSUMED = 680
_ACROSS = 4  # panels side by side at most


@dataclass(frozen=True)
class Grid:
    """Where panels stand.

    Attributes
    ----------
    names
        Above the panels.
    notes
        Below each, in sentences.
    columns
        How many stand side by side.
    wide
        Pixels of a panel.
    lines
        Lines that the longest note takes.
    gap
        Pixels between two panels of a row.
    """

    names: tuple[str, ...]
    notes: tuple[tuple[str, ...], ...]
    columns: int
    wide: float
    lines: int
    gap: int = _GAP

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        notes: Sequence[Sequence[str]],
        width: int | None,
        sides: int,
        least: int = 175,
        gap: int = _GAP,
    ) -> Grid:
        """Return a grid of panels, none of them narrower than `least` pixels if it can be."""
        room = (width or _ASSUMED) - sides
        most = min(_ACROSS, max(1, int((room + gap) // (least + gap))))
        rows = math.ceil(len(names) / most)
        columns = math.ceil(len(names) / rows)  # rows of the same length, where they can be
        wide = (room - gap * (columns - 1)) / columns
        lines = max(sum(len(_wrap(part, wide)) for part in note) for note in notes)
        return cls(tuple(names), tuple(map(tuple, notes)), columns, wide, lines, gap)

    @property
    def rows(self) -> int:
        """How many rows of panels there are."""
        return math.ceil(len(self.names) / self.columns)

    @property
    def natural(self) -> float:
        """The pixels of all rows together."""
        plot = min(420.0, max(150.0, 0.9 * self.wide))
        return self.rows * (plot + _HEAD + self._foot) + (self.rows - 1) * _GAP

    @property
    def _foot(self) -> int:
        return 6 + _LINE * self.lines

    @staticmethod
    def where(k: int, dimensions: int) -> dict[str, str]:
        """Return the axes of a panel, for its traces."""
        suffix = "" if k == 0 else str(k + 1)
        if dimensions == 3:
            return {"scene": f"scene{suffix}"}
        return {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}

    def arrange(
        self,
        figure: go.Figure,
        axes: Sequence[list[dict[str, Any]]],
        plot: float,
        look: Theme,
        *,
        square: bool = True,
        ticks: int = 0,
    ) -> None:
        """Set the axes of all panels, their names and notes.

        Parameters
        ----------
        axes
            Two or three of each panel.
        plot
            Pixels of all rows together.
        square
            Whether a step across is as long as a step up, as on a map.
        ticks
            Pixels below a panel that its ticks take.
        """
        across = self.columns * self.wide + (self.columns - 1) * self.gap
        step = (plot + _GAP) / self.rows
        for k, own in enumerate(axes):
            row, column = divmod(k, self.columns)
            left = column * (self.wide + self.gap) / across
            right = min(1.0, left + self.wide / across)
            top = 1 - (row * step + _HEAD) / plot
            bottom = max(0.0, 1 - ((row + 1) * step - _GAP - self._foot - ticks) / plot)
            names = self.where(k, len(own))
            if len(own) == 3:
                place = {"x": [left, right], "y": [bottom, top]}
                figure.update_layout({names["scene"]: {**scene_of(own), "domain": place}})
            else:
                line = {"showline": True, "mirror": True}
                equal = {"constrain": "domain"} if square else {}
                x, y = names["xaxis"], names["yaxis"]
                figure.update_layout(
                    {
                        f"xaxis{x[1:]}": {
                            **own[0], **line, **equal, "domain": [left, right], "anchor": y,
                        },
                        f"yaxis{y[1:]}": {
                            **own[1], **line, **equal, "domain": [bottom, top], "anchor": x,
                            **({"scaleanchor": x} if square else {}),
                        },
                    }
                )  # fmt: skip
            text = {"xref": "paper", "yref": "paper", "showarrow": False, "xanchor": "left"}
            name = shorten(self.names[k], max(12, int(self.wide / _LETTER)))
            figure.add_annotation(text=escape(name), x=left, y=top, yanchor="bottom", **text)
            note = [line for part in self.notes[k] for line in _wrap(part, self.wide)]
            figure.add_annotation(
                text="<br>".join(escape(line) for line in note),
                x=left,
                y=bottom,
                yanchor="top",
                yshift=-ticks,
                align="left",
                font={"size": CAPTION_SIZE, "color": look.quiet},
                **text,
            )
        figure.update_layout(hovermode="closest")


def _wrap(text: str, wide: float) -> list[str]:
    return textwrap.wrap(text, max(16, int(wide / _NOTE_LETTER)), break_on_hyphens=False)
