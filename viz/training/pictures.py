"""Pictures that another tool recorded during a training, in the order of their steps."""

from __future__ import annotations

import base64
import math
import struct
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Run
from pellucid.viz.scale import evenly
from pellucid.viz.theme import (
    Frame,
    escape,
    expect,
    positive_whole,
    sentences,
    theme_of,
)
from pellucid.viz.training.steps import ASSUMED, is_narrow, when

_MOST = 24
_BYTES = 6_000_000  # of all pictures of a figure
_LABEL = 22  # pixels above a picture, for its step
_EDGE = 16
_GAP = 10


def run_pictures(
    run: Run,
    tag: str | None = None,
    *,
    pictures: int = 12,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw the pictures that another tool's log holds, one for each of some steps.

    Parameters
    ----------
    run
        What was recorded.
    tag
        The pictures' name; None where there is only one.
    pictures
        How many to draw at most, up to 24, evenly chosen.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for the tag.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If there are no such pictures, or none that is a PNG, JPEG or GIF file.
    InputTypeError
        If it is not a Run.
    """
    look = theme_of(theme)
    expect(run, Run, "run_pictures")
    if positive_whole(pictures, "pictures", "how many to draw at most") > _MOST:
        raise InputError(f"a figure holds up to {_MOST} pictures; got pictures={pictures}")
    tag = _tag(run, tag)
    found = run.pictures[tag]
    order = np.argsort(found.steps, kind="stable")
    read = [(float(found.steps[i]), _read(found.encoded[i])) for i in order]
    drawn = [(step, one) for step, one in read if one is not None]
    if not drawn:
        raise InputError(f"none of the pictures {tag!r} is a PNG, JPEG or GIF file")
    chosen = _within(drawn, pictures)
    columns = min(len(chosen), 2 if is_narrow(width) else 4)
    rows = math.ceil(len(chosen) / columns)
    room = (width or ASSUMED) - 2 * _EDGE
    wide = (room - _GAP * (columns - 1)) / columns
    tallest = max(one.tall / one.wide for _, one in chosen)
    cell = float(np.clip(wide * tallest, 40, 480)) + _LABEL
    natural = rows * cell
    figure = go.Figure()
    for k, (step, one) in enumerate(chosen):
        row, column = divmod(k, columns)
        left, top = column * (wide + _GAP) / room, 1 - (row * cell + _LABEL) / natural
        figure.add_layout_image(
            source=one.uri,
            xref="paper",
            yref="paper",
            x=left,
            y=top,
            sizex=wide / room,
            sizey=(cell - _LABEL) / natural,
            xanchor="left",
            yanchor="top",
            sizing="contain",
        )
        figure.add_annotation(
            text=f"{escape(run.step_unit)} {when(step)}",
            x=left,
            y=top,
            xref="paper",
            yref="paper",
            xanchor="left",
            yanchor="bottom",
            showarrow=False,
            font={"color": look.quiet},
        )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    unread = len(read) - len(drawn)
    frame = Frame(
        title=tag if title is None else title,
        caption=sentences(
            [
                f"{len(chosen)} of {len(drawn)} recorded pictures, evenly chosen"
                if len(chosen) < len(drawn)
                else None,
                f"{unread} are no PNG, JPEG or GIF files (not drawn)" if unread else None,
            ]
        ),
        left=_EDGE,
        right=_EDGE,
        axis=10,
        width=width,
        height=height,
    )
    return frame.apply(figure, look, run, natural)


def _tag(run: Run, tag: str | None) -> str:
    known = [name for name, found in run.pictures.items() if len(found)]
    if tag is None and len(known) == 1:
        return known[0]
    if tag not in known:
        named = ", ".join(map(repr, known[:12])) or "none"
        asked = "give the name of one kind" if tag is None else f"there are none called {tag!r}"
        raise InputError(f"the run {run.name!r} has the pictures {named}; {asked}")
    return str(tag)


@dataclass(frozen=True)
class _Picture:
    """A picture's size in pixels, and its file."""

    wide: int
    tall: int
    kind: str
    content: bytes

    @property
    def uri(self) -> str:
        """The file as a link that holds it."""
        return f"data:image/{self.kind};base64,{base64.b64encode(self.content).decode()}"


def _within(drawn: list[tuple[float, _Picture]], most: int) -> list[tuple[float, _Picture]]:
    """Choose evenly so many that the figure stays of a bearable size, but at least one."""
    for count in range(min(most, len(drawn)), 0, -1):
        chosen = [drawn[i] for i in evenly(len(drawn), count)]
        if sum(len(one.content) for _, one in chosen) <= _BYTES:
            break
    return chosen


def _read(encoded: np.ndarray) -> _Picture | None:
    """Return a picture's size from its file's head; None where it is no picture that we know."""
    content = np.asarray(encoded, dtype=np.uint8).tobytes()
    size: tuple[int, ...] | None = None
    if content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) >= 24:
        kind, size = "png", struct.unpack(">II", content[16:24])
    elif content[:6] in (b"GIF87a", b"GIF89a") and len(content) >= 10:
        kind, size = "gif", struct.unpack("<HH", content[6:10])
    elif content[:2] == b"\xff\xd8":
        kind, size = "jpeg", _jpeg_size(content)
    if size is None or not all(0 < side <= 100_000 for side in size):
        return None
    return _Picture(size[0], size[1], kind, content)


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Return the size that the frame's header of a JPEG file holds."""
    at = 2
    while at + 9 < len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        # 0xC0 to 0xCF begin a frame, but for the tables 0xC4, 0xC8 and 0xCC.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            tall, wide = struct.unpack(">HH", content[at + 5 : at + 9])
            return wide, tall
        at += 2 + length
    return None
