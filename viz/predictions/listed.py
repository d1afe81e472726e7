"""The samples behind the parts of a figure, as HTML: what a report lists below it."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

_PNG = re.compile("data:image/png;base64,[A-Za-z0-9+/]*=*")
_LONG = 16  # characters of a cell


def listed(figure: str, samples: Mapping[str, Any]) -> str:
    """Return a list of a figure's parts that fold out, each with its samples.

    It can be read without a script. A script opens a part when its mark is clicked.

    Parameters
    ----------
    figure
        The id of the figure's element; the list's is ``"<figure>-samples"``.
    samples
        What `pellucid.viz.predictions.samples.listing` returns. All of it is text or numbers that
        may come from outside: a figure can be read from a file.
    """
    name = html.escape(f"{figure}-samples")
    sprite = _checked(samples["sprite"])
    parts = "\n".join(_part(part, samples["columns"], sprite) for part in samples["parts"])
    style = "" if sprite is None else f"<style>{_style(name, sprite)}</style>"
    count = len(samples["parts"])
    return (
        f'<details class="samples" id="{name}"><summary>Samples of each part '
        f"({count}; a click in the figure opens one)</summary>{style}\n{parts}\n</details>"
    )


def _checked(sprite: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return an image of pictures whose parts can say nothing but what they are for."""
    if sprite is None or not _PNG.fullmatch(sprite["uri"]):
        return None
    return {"uri": sprite["uri"]} | {k: int(sprite[k]) for k in ("width", "height", "columns")}


def _style(name: str, sprite: Mapping[str, Any]) -> str:
    """Return what all pictures of a list have in common: the one image that holds them."""
    wide, tall = sprite["width"], sprite["height"]
    return (
        f"#{name} i{{display:block;width:{wide}px;height:{tall}px;"
        f"background-image:url({sprite['uri']})}}"
    )


def _part(part: Mapping[str, Any], columns: list[str], sprite: Mapping[str, Any] | None) -> str:
    count, shown = part["count"], len(part["rows"])
    said = f"{count:,} sample{'s' if count != 1 else ''}"
    if shown < count:
        said += f", the {shown} most confident listed"
    body = _table(part, columns) if sprite is None else _pictures(part, columns, sprite)
    return (
        f'<details data-part="{html.escape(part["key"])}"><summary>{html.escape(part["name"])} '
        f'({said})</summary><div class="scroll" tabindex="0">{body}</div></details>'
    )


def _table(part: Mapping[str, Any], columns: list[str]) -> str:
    # Only long texts are broken into lines: a column of numbers is as wide as they are.
    cells = [[html.escape(cell) for cell in row] for row in part["rows"]]
    wide = [any(len(row[k]) > _LONG for row in part["rows"]) for k in range(len(columns))]
    marks = [' class="text"' if is_wide else "" for is_wide in wide]
    head = "".join(
        f"<th{mark}>{html.escape(column)}</th>" for mark, column in zip(marks, columns, strict=True)
    )
    rows = "\n".join(
        "<tr>"
        + "".join(f"<td{mark}>{cell}</td>" for mark, cell in zip(marks, row, strict=True))
        + "</tr>"
        for row in cells
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>"


def _pictures(part: Mapping[str, Any], columns: list[str], sprite: Mapping[str, Any]) -> str:
    wide, tall = sprite["width"], sprite["height"]
    items = []
    for row, position in zip(part["rows"], part["pictures"], strict=True):
        down, across = divmod(int(position), sprite["columns"])
        said = "; ".join(f"{c} {v}" for c, v in zip(columns, row, strict=True))
        items.append(
            f'<li title="{html.escape(said)}"><i role="img" aria-label="{html.escape(said)}" '
            f'style="background-position:{-across * wide}px {-down * tall}px"></i>'
            f"{html.escape(row[0])}<br>{html.escape(row[1])}</li>"
        )
    return f'<ul class="pictures">{"".join(items)}</ul>'
