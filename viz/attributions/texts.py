"""Texts as pieces to draw: tokens or words, what can be seen of them, and where each stands."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from pellucid.interpret.results import Explanation
from pellucid.viz.theme import shorten

SIZE = 13  # of the font
LINE = 27  # pixels
_LETTER = 8.0  # pixels of a letter in any monospace font of that size, with some to spare
_PAD = 8  # pixels of a token's background beyond its text
_GAP = 3
_SPECIAL = re.compile(r"<[^<>\s]+>|\[[A-Z]+\d*\]")
_BLANKS = {" ": "␣", "\n": "⏎", "\r": "⏎", "\t": "⇥"}


@dataclass(frozen=True)
class Piece:
    """A token or a word.

    Attributes
    ----------
    text, value
        As they are.
    position
        Of its first token.
    count
        How many tokens it has.
    special
        Whether it is no part of the text itself.
    """

    text: str
    value: float
    position: int
    count: int
    special: bool


def pieces(explanation: Explanation, sample: int, by_word: bool) -> list[Piece]:
    """Return the tokens or words of a text, without the padding."""
    assert explanation.tokens is not None
    texts, values = explanation.tokens[sample], explanation.values[sample]
    known = explanation.words
    belongs = None if known is None else known[sample]
    real = [i for i in range(len(texts)) if str(texts[i])]

    def special(i: int) -> bool:
        if belongs is not None:
            return bool(belongs[i] < 0)
        return _SPECIAL.fullmatch(str(texts[i]).strip()) is not None

    # Runs of one number, for the words of a pair of texts are counted from zero twice.
    def run(i: int) -> tuple[int, int]:
        if not by_word or belongs is None or belongs[i] < 0:
            return -1, i
        return int(belongs[i]), 0

    return [
        Piece(
            text="".join(_continued(str(texts[i]), k) for k, i in enumerate(members)),
            value=float(values[members].sum(dtype=np.float64)),
            position=members[0],
            count=len(members),
            special=special(members[0]),
        )
        for members in (list(group) for _, group in groupby(real, key=run))
    ]


def _continued(text: str, position: int) -> str:
    """Return a token's text within its word: some tokenizers mark what continues a word."""
    return text.removeprefix("##") if position else text


# -- where it stands -------------------------------------------------------------------------


def wrap(pieces: list[Piece], room: float) -> Iterator[tuple[Piece, int, float, float]]:
    """Yield each piece with its line, where it begins on it, and its width in pixels."""
    line, left = 0, 0.0
    for piece in pieces:
        size = min(room, _letters(fitted(piece.text, room)) * _LETTER + _PAD)
        if left and left + size > room:
            line, left = line + 1, 0.0
        yield piece, line, left, size
        left += size + _GAP


def visible(text: str) -> str:
    """Return a token's text as it can be seen: blanks as signs where there is nothing else."""
    line = " ".join(text.split())
    seen = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return seen or "".join(_BLANKS.get(letter, "␣") for letter in text)


def fitted(text: str, room: float) -> str:
    """Return a token's text, cut in its middle where it is longer than a line."""
    seen = visible(text)
    most = int((room - _PAD) / _LETTER)
    if _letters(seen) <= most:
        return seen
    return shorten(seen, max(3, most * len(seen) // _letters(seen)))


def _letters(text: str) -> int:
    """Return a text's width in letters: those of East Asia, and emoji, are two wide."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)
