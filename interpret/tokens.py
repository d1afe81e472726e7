"""Tokens: texts become ids; what is known of their masks and vocabularies."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.inputs import Inputs, label
from pellucid.interpret.models import Model

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
    empty = next((i for i, row in enumerate(encoding["input_ids"]) if not len(row)), None)
    if empty is not None:
        raise InputError(f"text {empty} has no tokens: {texts[empty][0]!r}; leave it out")
    if len({len(row) for row in encoding["input_ids"]}) > 1:
        if getattr(tokenizer, "pad_token", None) is None:
            raise InputError(
                "the texts differ in length, and the tokenizer has no padding token: give it one, "
                "tokenizer.pad_token = tokenizer.eos_token (padding is masked), or explain one "
                "text at a time"
            )
        encoding = tokenizer(*columns, padding=True)
    first, known = _arguments(model)
    given: Any = {key: torch.tensor(encoding[key]) for key in encoding if key in known}
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
