"""A report: one HTML file with figures, their data and where they come from."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio

from pellucid.errors import InputError, InputTypeError
from pellucid.files import write_whole
from pellucid.interpret.results import Result
from pellucid.viz import plotly_js, tables
from pellucid.viz.choose import figure, separate
from pellucid.viz.predictions.listed import listed
from pellucid.viz.theme import CONFIG, provenance, theme_of

# Inline scripts are the page's own; WebGL figures compile with `new Function`, hence eval. The
# policy's point is that nothing is fetched or sent: no connection, no frame, no form.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; worker-src blob:; connect-src 'none'; base-uri 'none'; "
    "form-action 'none'"
)
_CONTENTS = 4  # sections from which on a table of contents helps
_HEIGHT = 450  # Plotly's own, for a figure that does not say


def report(
    results: Any,
    path: str | os.PathLike[str],
    *,
    title: str = "Pellucid report",
    theme: str = "light",
) -> Path:
    """Write results into one HTML file that opens anywhere, offline, and asks nothing of the net.

    Parameters
    ----------
    results
        A result, a Plotly figure, or a string (paragraphs); a list of them; or a dict that gives
        for each heading one or a list of them. In a list, ``(heading, item)`` begins a section.
        Text is shown as it is, never read as HTML.
    path
        The file's name.
    title
        The page's title.
    theme
        ``"light"`` or ``"dark"``, of the page and of the results' figures.

    Returns
    -------
    pathlib.Path
        Where it was written.

    Raises
    ------
    InputError
        If there is nothing to report, or a result has no picture.
    InputTypeError
        If something is neither a result, a figure nor text.
    UnwritableError
        If it cannot be written there.
    """
    theme_of(theme)
    sections = _sections(results)
    if not any(section.items for section in sections):
        raise InputError("there is nothing to report; give results, figures or text")
    page = _Page(theme)
    body = "\n".join(page.section(section, k) for k, section in enumerate(sections))
    return write_whole(path, page.document(title, sections, body).encode())


# -- what is in it ---------------------------------------------------------------------------


@dataclass
class _Section:
    heading: str = ""
    items: list[Any] = field(default_factory=list)


def _sections(results: Any) -> list[_Section]:
    """Sort whatever was given into headings and items."""
    if isinstance(results, Mapping):
        return [_Section(str(heading), _items(found)) for heading, found in results.items()]
    sections = [_Section()]
    for item in _items(results):
        if isinstance(item, tuple):
            if len(item) != 2 or not isinstance(item[0], str):
                raise InputTypeError(
                    f"a tuple in a report is (heading, item); got {len(item)} parts, the first a "
                    f"{type(item[0]).__name__ if item else 'nothing'}"
                )
            sections.append(_Section(item[0], _items(item[1])))
        else:
            sections[-1].items.append(item)
    return [section for section in sections if section.heading or section.items]


def _items(found: Any) -> list[Any]:
    if isinstance(found, (str, Result, go.Figure)):
        return [found]
    if isinstance(found, Iterable):
        return list(found)
    raise InputTypeError(
        f"a report holds results, Plotly figures and text, but was given a {type(found).__name__}"
    )


# -- the page --------------------------------------------------------------------------------


class _Page:
    """The pieces of one page, numbered in order."""

    def __init__(self, theme: str) -> None:
        self.theme = theme
        self.templates: list[str] = []
        self.figures = 0
        self.traces: set[str] = set()

    def section(self, section: _Section, position: int) -> str:
        heading = f"<h2>{html.escape(section.heading)}</h2>" if section.heading else ""
        items = "\n".join(self._item(item) for item in section.items)
        return f'<section id="section-{position + 1}">{heading}\n{items}\n</section>'

    def _item(self, item: Any) -> str:
        if isinstance(item, str):
            paragraphs = (part.strip() for part in item.split("\n\n"))
            return "\n".join(f"<p>{html.escape(part)}</p>" for part in paragraphs if part)
        if isinstance(item, go.Figure):
            return self._figure(item, "")
        parts = separate(item)
        if parts:
            return "\n".join(
                f"<h3>{html.escape(name)}</h3>\n{self._item(part)}" for name, part in parts.items()
            )
        if isinstance(item, Result):
            return self._figure(figure(item, theme=self.theme), _details(item))
        raise InputTypeError(
            f"a report holds results, Plotly figures and text, but was given a "
            f"{type(item).__name__}"
        )

    def _figure(self, drawn: go.Figure, details: str) -> str:
        """Return a figure's place, its data, and its caption as text of the page."""
        self.figures += 1
        name = f"figure-{self.figures}"
        parts = drawn.to_dict()
        layout = parts["layout"]
        self.traces.update(trace.type for trace in drawn.data)
        template = layout.pop("template", None)
        caption = _take_caption(layout)
        samples = _take_samples(layout, name)
        height = layout.pop("height", None) or _HEIGHT
        width = layout.pop("width", None)
        layout["autosize"] = True
        content = {
            "data": parts["data"],
            "layout": layout,
            "template": None if template is None else self._template(template),
        }
        shape = f"height:{height:g}px" + (f";max-width:{width:g}px" if width else "")
        said = ". ".join(part for part in (_plain_title(layout), caption) if part)
        label = html.escape(said or f"Figure {self.figures}")
        shown = f"<figcaption>{html.escape(caption)}{details}</figcaption>"
        return (
            f'<figure><div class="stage"><div class="plot" id="{name}" role="img" '
            f'aria-label="{label}" style="{shape}"></div></div>\n'
            f'<script type="application/json" id="{name}-data">'
            f"{_inert(pio.json.to_json_plotly(content))}</script>\n"
            f"{shown if caption or details else ''}{samples}</figure>"
        )

    def _template(self, template: Any) -> int:
        """Return the position of a template among those of the page, each stored once."""
        text = pio.json.to_json_plotly(template)
        if text not in self.templates:
            self.templates.append(text)
        return self.templates.index(text)

    def document(self, title: str, sections: list[_Section], body: str) -> str:
        headed = [(k, s.heading) for k, s in enumerate(sections, start=1) if s.heading]
        contents = ""
        if len(headed) >= _CONTENTS:
            rows = "".join(
                f'<li><a href="#section-{k}">{html.escape(heading)}</a></li>'
                for k, heading in headed
            )
            contents = f'<nav aria-label="Contents"><ol>{rows}</ol></nav>'
        shown = html.escape(title)
        from pellucid import __version__

        return f"""<!DOCTYPE html>
<html lang="en" data-theme="{self.theme}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="pellucid {__version__}">
<meta name="referrer" content="no-referrer">
<title>{shown}</title>
<link rel="icon" href="data:,">
<style>
{_text("report.css")}</style>
</head>
<body>
<header><h1>{shown}</h1>
<noscript><p><strong>The figures need JavaScript, which is switched off here. The text and the
tables below can be read without it.</strong></p></noscript>
{contents}</header>
<main>
{body}
</main>
<footer>Written by Pellucid {__version__}. This file holds all that it shows: it opens without a
network, and sends nothing.</footer>
{self._scripts()}</body>
</html>
"""

    def _scripts(self) -> str:
        if not self.figures:
            return ""
        return (
            f'<script type="application/json" id="templates">'
            f"{_inert('[' + ','.join(self.templates) + ']')}</script>\n"
            f'<script type="application/json" id="config">{_inert(json.dumps(CONFIG))}</script>\n'
            f'<script type="text/plain" id="plotly">{plotly_js.packed(self.traces)}</script>\n'
            f"<script>\n{_text('hover.js')}{_text('samples.js')}{_text('report.js')}</script>\n"
        )


def _details(result: Result) -> str:
    """Return what folds out below a figure: the summary, the data, where they come from."""
    origin = json.dumps(provenance(result), indent=2, ensure_ascii=False)
    parts = [("Summary", f"<pre>{html.escape(result.summary())}</pre>", "")]
    table, note = tables.data(result)
    parts.append(("Data", table, note))
    parts.append(("Settings and provenance", f"<pre>{html.escape(origin)}</pre>", ""))
    return "".join(
        f'<details><summary>{name}</summary><div class="scroll" tabindex="0">{content}</div>'
        + (f'<p class="note">{html.escape(note)}</p>' if note else "")
        + "</details>"
        for name, content, note in parts
    )


def _take_caption(layout: dict[str, Any]) -> str:
    """Take our caption out of a figure, and its room with it: a page sets text better."""
    meta = layout.get("meta")
    annotations = layout.get("annotations", [])
    kept = [a for a in annotations if a.get("name") != "caption"]
    if not isinstance(meta, dict) or "caption" not in meta or len(kept) == len(annotations):
        return ""
    layout["annotations"] = kept
    room = meta["caption"]["height"]
    layout["margin"] = {**layout["margin"], "b": layout["margin"]["b"] - room}
    layout["height"] -= room
    return str(meta["caption"]["text"])


def _take_samples(layout: dict[str, Any], name: str) -> str:
    """Take the samples behind a figure's parts out of it, and return them as a list below it."""
    meta = layout.get("meta")
    if not isinstance(meta, dict) or "samples" not in meta:
        return ""
    layout["meta"] = {key: value for key, value in meta.items() if key != "samples"}
    return listed(name, meta["samples"])


def _plain_title(layout: dict[str, Any]) -> str:
    text = (layout.get("title") or {}).get("text") or ""
    return html.unescape(str(text).replace("<br>", " "))


def _inert(text: str) -> str:
    """Make JSON safe inside of a script element: without '<' nothing can end it."""
    return text.replace("<", "\\u003c")


def _text(name: str) -> str:
    return resources.files("pellucid.viz").joinpath(name).read_text(encoding="utf-8")
