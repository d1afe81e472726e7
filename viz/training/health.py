"""A training's diagnosis on one page: what was found, the worst first, each with its evidence."""

from __future__ import annotations

import itertools
import textwrap
from dataclasses import dataclass

import plotly.graph_objects as go

from pellucid.errors import InputTypeError
from pellucid.interpret.results import Diagnosis, Finding, Run
from pellucid.interpret.results.diagnosis import SEVERITIES
from pellucid.viz.theme import (
    Frame,
    Theme,
    escape,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)
from pellucid.viz.training import evidence
from pellucid.viz.training.steps import ASSUMED, when

_GLYPHS = {"problem": "✖", "warning": "▲", "note": "●"}
_WIDE = 560  # pixels from which on evidence stands beside the words
_LEFT, _RIGHT = 16, 60  # pixels: the page's edge, and the small pictures' numbers
_WORDS = 0.6  # share of a wide page for words
_LETTER = 6.9  # pixels of a letter of 13 pixels' size
_WIDE_LETTER, _UNBROKEN = 8.0, 30
_LINE = 17
_BETWEEN = 4  # pixels between two paragraphs
_HEADING = 24
_GAP = 26  # between findings, with a rule in it


def training_health(
    result: Diagnosis | Run,
    *,
    top: int = 12,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw what looks ill in a training, the worst first, with the evidence beside each finding.

    Each finding has its severity as a sign, a word and a colour, its sentence, what to try, and a
    small picture of the curves that show it, with a dotted line at the step where it began. Below
    stand what was looked for and not found, and what could not be judged.

    Parameters
    ----------
    result
        A diagnosis, or a run, which is diagnosed.
    top
        How many findings to draw at most.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that names the run.
    width, height
        In pixels; None for the width that there is, and the height that the findings need. A
        smaller height shows the first findings.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If `top` is no positive integer.
    InputTypeError
        If it is neither a Diagnosis nor a Run.
    """
    look = theme_of(theme)
    if isinstance(result, Run):
        result = result.diagnose()
    if not isinstance(result, Diagnosis):
        raise InputTypeError(
            f"viz.training_health draws a Diagnosis or a Run, but was given a "
            f"{type(result).__name__}"
        )
    top = positive_whole(top, "top", "how many findings to draw")
    page = _Page(look, width or ASSUMED, result.step_unit)
    below = page.summary(result)
    rows = [page.row(finding) for finding in result.findings[:top]]
    heading = page.verdict(result)

    def framed(count: int) -> Frame:
        return Frame(
            title=f"Training health of {shorten(result.name, 60)}" if title is None else title,
            caption=sentences(
                [
                    f"drawn: the first {count} of {len(result.findings)} findings"
                    if count < len(result.findings)
                    else None,
                    "dotted line: where it began"
                    if any(finding.step is not None for finding in result.findings[:count])
                    else None,
                    *evidence.notes(result.findings[:count]),
                ]
            ),
            left=_LEFT,
            right=_RIGHT,
            axis=6,
            width=width,
            height=height,
        )

    def natural(count: int) -> int:
        return heading.height + sum(row.height + _GAP for row in rows[:count]) + below.height

    fitting = [
        count
        for count in range(len(rows), 0, -1)
        if framed(count).plot_height(natural(count)) >= natural(count)
    ]
    count = fitting[0] if fitting else min(1, len(rows))
    frame = framed(count)
    tall = frame.plot_height(natural(count))
    sheet = evidence.Sheet()
    heading.draw(sheet, 0)
    offset = heading.height
    for k, row in enumerate(rows[:count]):
        row.draw(sheet, offset)
        page.evidence(sheet, result.findings[k], offset, row, tall)
        offset += row.height + _GAP
        sheet.rule(look.grid, 1 - (offset - _GAP / 2) / tall)
    below.draw(sheet, offset)
    return frame.apply(sheet.figure(), look, result, natural(count))


@dataclass(frozen=True)
class _Text:
    """A paragraph, escaped, and how far below the block's top it stands."""

    text: str
    top: int
    color: str
    left: int = 0
    size: int = 13


@dataclass(frozen=True)
class _Block:
    """Paragraphs with the pixels that they take."""

    texts: tuple[_Text, ...]
    height: int
    words: int = 0  # pixels of the words alone

    def draw(self, sheet: evidence.Sheet, offset: float) -> None:
        """Write the paragraphs, `offset` pixels below the plot's top."""
        for text in self.texts:
            down = offset + text.top
            sheet.write(text.text, down, color=text.color, size=text.size, shift=text.left)


class _Page:
    """What a page of so many pixels holds."""

    def __init__(self, look: Theme, width: int, unit: str) -> None:
        self.look = look
        self.unit = unit
        self.room = width - _LEFT - _RIGHT
        self.wide = width >= _WIDE
        self.words = int(self.room * _WORDS) if self.wide else width - 2 * _LEFT

    def color(self, severity: str) -> str:
        """Return a severity's colour, which its sign and word say too."""
        look = self.look
        return {"problem": look.positive, "warning": look.warning}.get(severity, look.quiet)

    def verdict(self, diagnosis: Diagnosis) -> _Block:
        """Return the page's first line: how many findings of which severity."""
        counts = [
            (severity, sum(finding.severity == severity for finding in diagnosis.findings))
            for severity in SEVERITIES
        ]
        parts = [
            f'<span style="color:{self.color(severity)}">{_GLYPHS[severity]}</span> '
            f"{count} {severity}{'' if count == 1 else 's'}"
            for severity, count in counts
            if count
        ]
        parts = parts or ["Nothing looks ill"]
        passed = len(diagnosis.healthy)
        rest = [f"✔ {passed} check{'' if passed == 1 else 's'} passed"]
        rest += [f"? {len(diagnosis.unknown)} not judged"] if diagnosis.unknown else []
        found, looked = "   ".join(parts), "   ".join(rest)
        quiet = f'<span style="color:{self.look.quiet}">{looked}</span>'
        lines = [f"{found}   {quiet}"] if self.wide else [found, quiet]
        text = _Text("<br>".join(lines), 0, self.look.ink, size=14)
        return _Block((text,), _HEADING * len(lines) + 12)

    def row(self, finding: Finding) -> _Block:
        """Return a finding in words: what, where and since when; its sentence; what to try."""
        look, color = self.look, self.color(finding.severity)
        head = f"{finding.kind[:1].upper()}{finding.kind[1:]}"
        since = "" if finding.step is None else f"{self.unit} {when(finding.step)}"
        texts = [
            _Text(f"{_GLYPHS[finding.severity]} <b>{finding.severity}</b>", 0, color),
            _Text(f"<b>{escape(shorten(head, 34))}</b>", 0, look.ink, left=82, size=14),
        ]
        top = _HEADING
        where = [f"in {shorten(finding.layer, 34)}"] if finding.layer else []
        facts = ", ".join([*where, *([f"since {since}"] if since else [])])
        for words, paint in (
            (facts, look.quiet),
            (finding.sentence, look.ink),
            (f"Try: {finding.advice}", look.ink),
        ):
            lines = self._wrap(words)
            said = "<br>".join(escape(line) for line in lines)
            if words.startswith("Try: "):
                said = said.replace("Try:", "<b>Try:</b>", 1)
            texts += [_Text(said, top, paint)] if lines else []
            top += _LINE * len(lines) + (_BETWEEN if lines else 0)
        small = evidence.HEIGHT if evidence.curves(finding) else 0
        height = max(top, small) if self.wide else top + (small + 8 if small else 0)
        return _Block(tuple(texts), height, top)

    def summary(self, diagnosis: Diagnosis) -> _Block:
        """Return what was looked for and not found, and what could not be judged."""
        paragraphs = []
        if diagnosis.healthy:
            found = ", ".join(diagnosis.healthy)
            paragraphs.append(("✔ Looked for and not found:", f"{found}.", self.look.ink))
        # Many illnesses are unknown for one reason.
        pairs = sorted(diagnosis.unknown.items(), key=lambda item: item[1])
        for reason, items in itertools.groupby(pairs, key=lambda item: item[1]):
            kinds = ", ".join(kind for kind, _ in items)
            paragraphs.append(("? Not judged:", f"{kinds} ({reason}).", self.look.quiet))
        texts, top = [], 0
        for head, words, color in paragraphs:
            lines = self._wrap(f"{head} {words}", self.room + _RIGHT - _LEFT)
            said = "<br>".join(escape(line) for line in lines)
            texts.append(_Text(said.replace(head, f"<b>{head}</b>", 1), top, color))
            top += _LINE * len(lines) + 2 * _BETWEEN
        return _Block(tuple(texts), top)

    def evidence(
        self, sheet: evidence.Sheet, finding: Finding, offset: float, row: _Block, tall: float
    ) -> None:
        """Draw a finding's curves beside or below its words, with a line where it began."""
        top = offset + (0 if self.wide else row.words + 8)
        low, high = offset + row.height - evidence.BELOW, top + evidence.ABOVE
        left = _WORDS + 0.03 if self.wide else 0.0
        evidence.draw(
            sheet,
            evidence.curves(finding),
            look=self.look,
            unit=self.unit,
            domains=((left, 1.0), (max(0.0, 1 - low / tall), min(1.0, max(0.01, 1 - high / tall)))),
            since=finding.step,
            color=self.color(finding.severity),
            names=(top, self.room * (1 - left) + _RIGHT),
        )

    def _wrap(self, text: str, room: float | None = None) -> list[str]:
        # A name without a break fills its line to the last letter, and may have wide ones.
        unbroken = max(map(len, text.split()), default=0) > _UNBROKEN
        letters = (room or self.words) / (_WIDE_LETTER if unbroken else _LETTER)
        return textwrap.wrap(text, max(24, int(letters)), break_on_hyphens=False)
