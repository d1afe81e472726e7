"""Tokens: texts become ids, and ids become texts and words; what is known of a vocabulary."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.inputs import Inputs, label
from pellucid.interpret.models import Model

_BROKEN = "\N{REPLACEMENT CHARACTER}"  # what a part of a character is decoded to


# -- texts become ids --------------------------------------------------------------------------


def check_tokenizer(tokenizer: Any) -> None:
    """Raise an `InputTypeError` if this is no tokenizer that we know how to ask."""
    if tokenizer is None or hasattr(tokenizer, "convert_ids_to_tokens"):
        return
    raise InputTypeError(
        f"tokenizer is a {type(tokenizer).__name__}; give a tokenizer of transformers, such as "
        "AutoTokenizer.from_pretrained(...), or PreTrainedTokenizerFast(tokenizer_object=...) "
        "around one of the tokenizers library"
    )


def read_texts(inputs: Any, tokenizer: Any, model: Model) -> tuple[Any, Any]:
    """Return inputs as the model takes them, and the encoding that knows their words.

    Parameters
    ----------
    inputs
        A list of texts, or of pairs of texts, which are tokenized; anything else stays as it is.
    tokenizer
        The tokenizer, or None.
    model
        The model, whose signature says what it takes besides the ids.

    Returns
    -------
    inputs
        Ids, and the attention mask where the model takes one.
    encoding
        What a fast tokenizer of transformers returned, here or to the caller; else None.

    Raises
    ------
    InputError
        If texts of different lengths cannot be padded.
    InputTypeError
        If there are texts and no tokenizer, or it cannot be called.
    """
    check_tokenizer(tokenizer)
    texts = _texts(inputs)
    if texts is None:
        return inputs, _known_words(inputs)
    if tokenizer is None:
        raise InputTypeError(
            "the inputs hold no array with a sample axis, only texts: give tokenizer=... to turn "
            "them into ids, or the ids themselves"
        )
    if isinstance(inputs, str):
        raise InputError("the inputs are one text; give a list, [text]: its axis is of samples")
    if not callable(tokenizer):
        raise InputTypeError(
            f"tokenizer is a {type(tokenizer).__name__}, which cannot be called with texts; give "
            "the ids as inputs"
        )
    columns = list(map(list, zip(*texts, strict=True)))
    encoding = tokenizer(*columns)
    if len({len(row) for row in encoding["input_ids"]}) > 1:
        if getattr(tokenizer, "pad_token", None) is None:
            raise InputError(
                "the texts differ in length, and the tokenizer has no padding token: give it one, "
                "tokenizer.pad_token = tokenizer.eos_token (padding is masked), or explain one "
                "text at a time"
            )
        encoding = tokenizer(*columns, padding=True)
    if not all(encoding["input_ids"]):
        empty = next(i for i, row in enumerate(encoding["input_ids"]) if not row)
        raise InputError(f"text {empty} has no tokens: {texts[empty][0]!r}; leave it out")
    first, known = _arguments(model)
    given = {key: torch.tensor(encoding[key]) for key in encoding if key in known}
    ids = torch.tensor(encoding["input_ids"])
    if "input_ids" not in known:
        # A model of one's own, which takes ids as its first argument.
        given = {first: ids, **given} if given else ids
    return given, _known_words(encoding)


def _known_words(encoding: Any) -> Any:
    """Return what a tokenizer returned if it says which word each token is of; else None."""
    fast = isinstance(encoding, Mapping) and getattr(encoding, "is_fast", False)
    return encoding if fast else None


def _texts(inputs: Any) -> list[tuple[str, ...]] | None:
    """Return texts, or pairs of them, as tuples; None for anything else."""
    if isinstance(inputs, str):
        return [(inputs,)]
    if isinstance(inputs, Mapping) or hasattr(inputs, "columns"):
        return None
    if not isinstance(inputs, (list, tuple)):
        dtype = getattr(inputs, "dtype", None)
        if getattr(inputs, "ndim", None) != 1 or getattr(dtype, "kind", "f") not in "UTO":
            return None
        inputs = list(inputs)
    if inputs and all(isinstance(text, str) for text in inputs):
        return [(str(text),) for text in inputs]
    return list(map(tuple, inputs)) if inputs and all(map(_is_pair, inputs)) else None


def _is_pair(value: Any) -> bool:
    of_two = isinstance(value, (list, tuple)) and len(value) == 2
    return of_two and all(isinstance(text, str) for text in value)


def _arguments(model: Model) -> tuple[str, set[str]]:
    """Return a model's first argument, and which of a tokenizer's outputs it takes by name."""
    call = model.call if model.module is None else model.module.forward
    parameters = inspect.signature(call).parameters
    known = set(parameters)
    if any(one.kind is one.VAR_POSITIONAL for one in parameters.values()):
        known |= {"input_ids", "attention_mask"}  # of a wrapper, which hands on what it gets
    config = getattr(model.module, "config", None)
    # Segments of a model without a table for them: GPT-2 would add the vector of the token 0.
    if not getattr(config, "type_vocab_size", 0):
        known.discard("token_type_ids")
    return next(iter(parameters), ""), known & {"input_ids", "attention_mask", "token_type_ids"}


# -- masks -------------------------------------------------------------------------------------


def check_masks(inputs: Inputs, model: Model) -> Inputs:
    """Check the attention masks, and find one that stands by position.

    Returns
    -------
    Inputs
        The inputs, which know the mask that was given by position.

    Raises
    ------
    InputError
        If a mask has another shape than its ids, or masks all tokens of a row.
    """
    there = inputs.tensors()
    pairs = {p: inputs.mask_path(p) for p in there if p.endswith("input_ids")}
    if isinstance(inputs.tree, tuple) and model.module is not None:
        names = [*inspect.signature(model.module.forward).parameters]
        if "attention_mask" in names[1:] and "0" in there and is_tokens(there["0"]):
            pairs["0"] = str(names.index("attention_mask"))
    for path, mask_path in pairs.items():
        mask = there.get(mask_path)
        if mask is None or mask.ndim != 2:
            continue
        if mask.shape != there[path].shape:
            raise InputError(
                f"{label(mask_path)} has shape {tuple(mask.shape)}, and {label(path)}, whose "
                f"tokens it masks, {tuple(there[path].shape)}"
            )
        empty = (mask != 0).sum(1) == 0
        if bool(empty.any()):
            raise InputError(
                f"{label(mask_path)} is zero everywhere in sample {int(empty.nonzero()[0])}: it "
                "has no tokens to explain; leave it out"
            )
        inputs = replace(inputs, masks={**inputs.masks, path: mask})
    return inputs


def check_length(inputs: Inputs, model: Model) -> None:
    """Raise an `InputError` for texts that are longer than the positions that a model has learned.

    Models that compute their positions take any length.
    """
    most = getattr(getattr(model.module, "config", None), "max_position_embeddings", None)
    leaf = inputs.tensors().get("input_ids")
    if not isinstance(most, int) or leaf is None or leaf.ndim != 2 or leaf.shape[1] <= most:
        return
    assert model.module is not None
    learned = [
        name
        for name, module in model.module.named_modules()
        if isinstance(module, nn.Embedding) and ("position" in name or name.endswith("wpe"))
    ]
    if learned:
        raise InputError(
            f"the texts have up to {leaf.shape[1]} tokens, and {model.name} knows {most} "
            "positions; cut them: tokenizer(texts, truncation=True, padding=True, "
            "return_tensors='pt') as inputs"
        )


def is_tokens(leaf: Tensor) -> bool:
    """Whether an input can be of token ids: whole numbers, (samples, tokens)."""
    return not leaf.is_floating_point() and leaf.dtype != torch.bool and leaf.ndim == 2


# -- vocabularies ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vocabulary:
    """What is known of the tokens that an embedding looks up.

    Attributes
    ----------
    size, dim
        Tokens, and numbers of each token's vector.
    blank
        The token that stands for no text, and what it is; None where none is known.
    special
        Tokens that are no text, such as those that begin and end a sequence.
    """

    size: int
    dim: int
    blank: tuple[int, str] | None
    special: tuple[int, ...]


def vocabulary_of(embedding: nn.Module, model: Model, tokenizer: Any) -> Vocabulary:
    """Return what the embedding, the model's configuration and the tokenizer know."""
    assert isinstance(embedding, nn.Embedding)
    size = embedding.num_embeddings
    config = getattr(model.module, "config", None)
    candidates = {
        "the model's padding token": getattr(config, "pad_token_id", None),
        "the tokenizer's padding token": getattr(tokenizer, "pad_token_id", None),
        "the tokenizer's unknown token": getattr(tokenizer, "unk_token_id", None),
        "the embedding's padding index": embedding.padding_idx,
    }
    blank = next(
        (
            (token, what)
            for what, token in candidates.items()
            if isinstance(token, int) and 0 <= token < size
        ),
        None,
    )
    special: set[int] = set()
    for name in ("bos", "eos", "pad", "sep", "cls", "mask", "decoder_start"):
        special.update(_ids_of(getattr(config, f"{name}_token_id", None)))
    # An unknown word is a word: it stands for a part of the text.
    unknown = getattr(tokenizer, "unk_token_id", None)
    special.update(i for i in getattr(tokenizer, "all_special_ids", ()) if i != unknown)
    return Vocabulary(size, embedding.embedding_dim, blank, tuple(sorted(special)))


def check_ids(ids: Tensor, size: int, what: str) -> None:
    """Raise an `InputError` that says where the first id stands that is not in a vocabulary."""
    outside = ((ids < 0) | (ids >= size)).nonzero()
    if len(outside):
        first = outside[0].tolist()
        where = f"sample {first[0]}" + (f", token {first[1]}" if len(first) > 1 else "")
        raise InputError(
            f"{what} has the id {int(ids[tuple(first)])} at {where}, and the vocabulary has "
            f"{size}, 0 to {size - 1}; is the tokenizer that of the model?"
        )


def _ids_of(known: Any) -> list[int]:
    """Return the ids of a setting that is one, several, or None."""
    known = known if isinstance(known, (list, tuple)) else [known]
    return [token for token in known if isinstance(token, int)]


def padding_id(model: Model, tokenizer: Any, size: int) -> int:
    """Return the token, of so many, to fill up with where a mask says that there is none."""
    config = getattr(model.module, "config", None)
    known = [getattr(holder, "pad_token_id", None) for holder in (config, tokenizer)]
    known += ending_ids(model, tokenizer)
    return next((i for i in known if isinstance(i, int) and 0 <= i < size), 0)


def ending_ids(model: Model, tokenizer: Any) -> list[int]:
    """Return the tokens that end a generated text."""
    for holder in (getattr(model.module, "generation_config", None), tokenizer):
        found = _ids_of(getattr(holder, "eos_token_id", None))
        if found:
            return found
    return _ids_of(getattr(getattr(model.module, "config", None), "eos_token_id", None))


# -- ids become texts and words ----------------------------------------------------------------


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
    vocabulary = getattr(tokenizer, "get_vocab", dict)()
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
    vocabulary = getattr(tokenizer, "get_vocab", dict)()
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
