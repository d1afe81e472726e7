"""One view of an architecture as Plotly's traces: frames, lines, arrows, boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.viz.model.blocks import View, steps
from pellucid.viz.model.boxes import (
    FRAME_SIDE,
    NARROWEST,
    SMALL,
    Box,
    boxes_of,
    ending,
    groups_of,
    hover,
    label,
    spans_of,
)
from pellucid.viz.model.graph import layered
from pellucid.viz.model.lines import Page, page
from pellucid.viz.model.paint import Paint
from pellucid.viz.theme import Theme, compact, escape

_TALL = 760.0  # pixels from which on boxes go on in another column
_WIDTHS = (172.0, 150.0, 128.0)  # pixels of a box at most; narrower where that saves height


class Drawing:
    """One view, as it is drawn."""

    def __init__(self, view: View, paint: Paint, room: float, look: Theme) -> None:
        self.view, self.paint, self.room, self.look = view, paint, room, look
        self.boxes: list[Box]
        self.page: Page
        self.groups: list[str | None]
        rows_of_boxes = layered(view.edges, [1.0] * len(view.blocks)).rows
        beside = max(sum(i < len(view.blocks) for i in row) for row in rows_of_boxes)
        fit = max(NARROWEST, (room - 40) / beside - 24)
        # Narrower boxes, where that makes room for another column.
        for most in _WIDTHS:
            self._lay_out(min(most, fit))
            if self.page.height <= 1.6 * _TALL or most > fit:
                break

    def _lay_out(self, most: float) -> None:
        """Place the boxes, and name them by as much of their path as their frame does not say."""
        self.groups = groups_of(self.view.blocks)
        self._place(most)
        framed = spans_of(self.groups, self.boxes, self.page, self.view.edges)
        if set(self.groups) - {None} - set(framed):
            self.groups = [group if group in framed else None for group in self.groups]
            self._place(most)

    def _place(self, most: float) -> None:
        self.boxes = boxes_of(self.view.blocks, self.groups, most)
        rows = layered(self.view.edges, [box.width for box in self.boxes])
        self.page = page(
            rows,
            [box.height for box in self.boxes],
            room=self.room - 2 * FRAME_SIDE,
            tall=_TALL,
            together=self.groups,
            sides=[block.role == "function" for block in self.view.blocks],
        )

    def traces(self) -> list[Any]:
        """Return frames, their names, lines, heads of arrows, and boxes."""
        return [*self._frames(), *self._lines(), self._bars()]

    def _bars(self) -> go.Bar:
        widths = np.array([box.width for box in self.boxes])
        edges = [
            self.look.quiet if block.role == "module" else self.look.ink
            for block in self.view.blocks
        ]
        return go.Bar(
            orientation="h",
            base=compact(self.page.x - widths / 2),
            x=compact(widths),
            y=compact(self.page.y),
            width=compact(np.array([box.height for box in self.boxes])),
            marker={
                "color": self.paint.fills,
                "line": {"color": edges, "width": 0.9},
                "cornerradius": 8,
            },
            text=[label(box) for box in self.boxes],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            constraintext="inside",
            insidetextfont={"size": 11, "color": self.paint.inks},
            hovertext=[hover(block) for block in self.view.blocks],
            hovertemplate="%{hovertext}<extra></extra>",
            showlegend=False,
        )

    def _lines(self) -> list[go.Scatter]:
        gap = np.full((1, 2), np.nan)
        points = [part for line in self.page.lines for part in (line, gap)]
        path = np.concatenate(points[:-1]) if points else gap
        heads = self.page.arrows
        offset = {"down": (0, -4), "up": (0, 4), "left": (4, 0), "right": (-4, 0)}
        at = np.array([(x + offset[to][0], y + offset[to][1]) for x, y, to in heads])
        at = at.reshape(-1, 2)
        return [
            go.Scatter(
                x=compact(path[:, 0]),
                y=compact(path[:, 1]),
                mode="lines",
                line={"color": self.look.quiet, "width": 1.2, "simplify": False},
                hoverinfo="skip",
                showlegend=False,
            ),
            go.Scatter(
                x=compact(at[:, 0]),
                y=compact(at[:, 1]),
                mode="markers",
                marker={
                    "symbol": [f"triangle-{to}" for _, _, to in heads],
                    "size": 7,
                    "color": self.look.quiet,
                },
                hoverinfo="skip",
                showlegend=False,
            ),
        ]

    def _frames(self) -> list[Any]:
        """Return a quiet ground behind what belongs to one module, and its name."""
        spans = spans_of(self.groups, self.boxes, self.page, self.view.edges)
        bounds = np.array(list(spans.values())).reshape(-1, 4)
        left, top, right, bottom = bounds.T
        labels = []
        for name, start in zip(spans, left, strict=True):
            # Up to where the first line comes into it.
            mine = np.array([group == name for group in self.groups])
            room = self.page.x[mine].min() - start - 8
            most = max(3, int(room / SMALL))
            labels.append(escape(ending(steps(name), most).removeprefix("…")))
        return [
            go.Bar(
                orientation="h",
                base=compact(left),
                x=compact(right - left),
                y=compact((top + bottom) / 2),
                width=compact(bottom - top),
                marker={
                    "color": self.look.grid,
                    "opacity": 0.42,
                    "line": {"width": 0},
                    "cornerradius": 10,
                },
                hoverinfo="skip",
                showlegend=False,
            ),
            go.Scatter(
                x=compact(left + 7),
                y=compact(top + 8),
                mode="text",
                text=labels,
                textposition="middle right",
                textfont={"size": 9, "color": self.look.quiet},
                hoverinfo="skip",
                showlegend=False,
            ),
        ]
