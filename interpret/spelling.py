"""Ids become texts and words again, as a person can read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from pellucid.errors import InputError

_BROKEN = "\N{REPLACEMENT CHARACTER}"  # what a part of a character is decoded to


class Speller:
    """Says which text each id stands for, and which ids make up a word.

    Parameters
    ----------
    tokenizer
        The tokenizer; without one, ids are named by their numbers.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, str] = {}
        self._special = set(getattr(tokenizer, "all_special_ids", ()))
        unknown = getattr(tokenizer, "unk_token_id", None)
        self._no_word = self._special - {unknown}
        self._mark = _mark(tokenizer)

    def texts(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each token of a sequence, as it can be read.

        A word's first token begins with a blank where the tokenizer knows of blanks. A character
        that several tokens make up stands with the last of them.
        """
        if self._tokenizer is None:
            return [str(i) for i in ids]
        names = self._tokenizer.convert_ids_to_tokens(list(ids))
        found: list[str] = []
        pending: list[str] = []
        for i, name in zip(ids, names, strict=True):
            if name is None or i in self._special:
                pending = []
                found.append(str(i) if name is None else str(name))
                continue
            text = self._text(name)
            if _BROKEN in text:
                pending = [*pending[-3:], name]
                whole = self._joined(pending)
                done = _BROKEN not in whole
                text, pending = (whole, []) if done else (_BROKEN, pending)
            else:
                pending = []
            found.append(text)
        return found

    def _text(self, name: str) -> str:
        if name not in self._known:
            self._known[name] = self._joined([name])
        return self._known[name]

    def _joined(self, names: list[str]) -> str:
        """Return the text of the tokens of one word; decoding strips the blank before it."""
        join = getattr(self._tokenizer, "convert_tokens_to_string", None)
        first = names[0]
        text = str(join(names)) if callable(join) else "".join(names)
        if self._mark == "##":
            return text.removeprefix("##")
        if self._mark == "</w>":
            return text.replace("</w>", "").strip()
        if self._mark and first.startswith(self._mark):
            return " " + text.removeprefix(self._mark).removeprefix(" ")
        return text

    def words(self, ids: Sequence[int], texts: Sequence[str], known: Sequence[Any]) -> list[int]:
        """Return which word each token belongs to, -1 for those of none, by the tokens' marks.

        Parameters
        ----------
        ids, texts
            The tokens, and their texts.
        known
            For each token its text of a pair and its word, or None, as the tokenizer said when it
            split the text. Empty where that is not known.
        """
        # A tokenizer that splits no text into words counts the whole of it as one.
        inside = any(
            text[:1].isspace() and known[i] == known[i - 1] and known[i][1] is not None
            for i, text in enumerate(texts[1:], 1)
            if len(known) == len(ids)
        )
        usable = len(known) == len(ids) and not inside
        found, word, before = [], -1, None
        names = self._tokenizer.convert_ids_to_tokens(list(ids)) if self._tokenizer else []
        for i, (token, text) in enumerate(zip(ids, texts, strict=True)):
            if (usable and known[i][1] is None) or token in self._no_word:
                found.append(-1)
                before = None
                continue
            begins = known[i] != before if usable else before is None or self._begins(names, i)
            word += bool(begins)
            before = known[i] if usable else text
            found.append(word)
        return found

    def _begins(self, names: Sequence[Any], i: int) -> bool:
        """Whether a token begins a word, by its mark; behind another token of text."""
        name, last = str(names[i]), str(names[i - 1])
        if self._mark == "##":
            return not name.startswith("##")
        if self._mark == "</w>":
            return last.endswith("</w>")
        if self._mark:
            return self._text(name)[:1].isspace()
        return True


def _mark(tokenizer: Any) -> str:
    """Return what marks in a vocabulary where words begin, or go on; empty for whole words."""
    vocabulary: dict[str, int] = getattr(tokenizer, "get_vocab", dict)()
    counts = {
        "Ġ": sum(name.startswith("Ġ") for name in vocabulary),
        "▁": sum(name.startswith("▁") for name in vocabulary),
        "##": sum(name.startswith("##") for name in vocabulary),
        "</w>": sum(name.endswith("</w>") for name in vocabulary),
    }
    mark = max(counts, key=counts.__getitem__)
    return mark if counts[mark] else ""


def name_tokens(
    ids: Tensor, mask: Tensor | None, tokenizer: Any, encoding: Any
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the text of each token, and which word it belongs to.

    Parameters
    ----------
    ids, mask
        The tokens (samples, tokens), and which of them are no padding.
    tokenizer
        The tokenizer, or None.
    encoding
        What a fast tokenizer returned for these texts, or None.

    Returns
    -------
    tokens
        Strings, (samples, tokens), empty for padding.
    words
        Integers, (samples, tokens), -1 for padding and special tokens; None without a tokenizer.
    """
    speller = Speller(tokenizer)
    rows = ids.cpu().tolist()
    kept = [[True] * len(row) for row in rows] if mask is None else (mask != 0).cpu().tolist()
    split = getattr(encoding, "word_ids", None)
    texts, words = [], []
    for i, row in enumerate(rows):
        real = [c for c, keep in enumerate(kept[i]) if keep]
        here = [row[c] for c in real]
        found = speller.texts(here)
        line, belongs = [""] * len(row), [-1] * len(row)
        for c, text in zip(real, found, strict=True):
            line[c] = text
        texts.append(line)
        if tokenizer is not None:
            known = list(zip(encoding.sequence_ids(i), split(i), strict=True)) if split else []
            # Behind a prompt, tokens were generated that the tokenizer has never split.
            marks = [known[c] for c in real] if len(known) == len(row) else []
            for c, word in zip(real, speller.words(here, found, marks), strict=True):
                belongs[c] = word
        words.append(belongs)
    return np.array(texts, dtype=str), None if tokenizer is None else np.array(words)


def token_id(text: Any, tokenizer: Any) -> int:
    """Return the id of a token that is named by its text.

    Raises
    ------
    InputError
        If there is no tokenizer, or the text is no token or several.
    """
    if tokenizer is None:
        raise InputError(
            f"target {text!r} is a token's text: give tokenizer=..., or the token's id"
        )
    vocabulary: dict[str, int] = getattr(tokenizer, "get_vocab", dict)()
    if text in vocabulary:
        return int(vocabulary[text])
    encode = getattr(tokenizer, "encode", None)
    ids = list(encode(text, add_special_tokens=False)) if callable(encode) else []
    unknown = getattr(tokenizer, "unk_token_id", None)
    if len(ids) == 1 and ids[0] != unknown:
        return int(ids[0])
    parts = [str(name) for name in tokenizer.convert_ids_to_tokens(ids)]
    raise InputError(
        f"target {text!r} is not one token of the tokenizer"
        + (f", but {len(ids)}: {', '.join(map(repr, parts[:6]))}" if len(ids) > 1 else "")
        + "; give one token, or its id"
    )
