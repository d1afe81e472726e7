"""Baselines: what an input is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.inputs import Inputs, as_tensor, check_finite, is_whole, label
from pellucid.interpret.results.trees import is_leaf, leaves, rebuild
from pellucid.interpret.tokens import Vocabulary, check_ids


def make_baseline(
    baseline: Any,
    inputs: Inputs,
    background: Any,
    vocabularies: Mapping[str, Vocabulary] | None = None,
) -> tuple[dict[str, Tensor | None], str]:
    """Return a baseline for each attributed input, and one sentence that says what it is.

    Parameters
    ----------
    baseline
        ``"auto"``, ``"zero"``, ``"mean"`` (of the background), a number, an array of one sample's
        shape or of all samples', a function from the inputs to such, or the structure of the
        inputs with one of these for each input. For tokens a number is a token, an array holds
        tokens or vectors, and ``"auto"`` is the padding token where the text is, special tokens
        staying what they are.
    inputs
        The inputs.
    background
        Samples of the data, in the structure of the inputs; or None.
    vocabularies
        For the inputs that are tokens, what is known of them.

    Returns
    -------
    tensors
        For each attributed path a tensor whose sample axis is 1 or the number of samples; None for
        tokens whose vectors are zero.
    description
        Said in the result.
    """
    tokens = vocabularies or {}
    here = inputs.tensors(attributed=True)

    def given(value: Any) -> dict[str, Tensor | None]:
        return {
            path: _fitted_tokens(value, path, leaf, inputs, tokens[path])
            if path in tokens
            else _fitted(value, path, leaf, inputs)
            for path, leaf in here.items()
        }

    if callable(baseline):
        name = getattr(baseline, "__name__", type(baseline).__name__)
        # The function gets copies: writing into them must not change what is explained.
        copied = rebuild(
            inputs.tree, lambda _, leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf
        )
        return given(baseline(copied)), f"function {name}"
    check_word(baseline)
    if isinstance(baseline, str):
        made, sentences = _by_word(baseline, inputs, background, tokens)
        return made, "; ".join(dict.fromkeys(sentences))
    said = "as given"
    if isinstance(baseline, (int, float)):
        said = f"constant {baseline:g}"
        if tokens:
            said = f"token {baseline} in place of the text, special tokens as they are"
    return given(baseline), said


def _by_word(
    word: str, inputs: Inputs, background: Any, tokens: Mapping[str, Vocabulary]
) -> tuple[dict[str, Tensor | None], list[str]]:
    """Return the baselines that a word stands for, and what they are."""
    here = inputs.tensors(attributed=True)
    if word == "mean" and background is None:
        raise InputError("baseline='mean' needs background=..., the samples to take it from")
    if background is not None and here.keys() <= tokens.keys():
        raise InputError(
            "the inputs are tokens, whose numbers have no mean: leave background out, or give "
            "vectors of the embedding as the baseline"
        )
    made: dict[str, Tensor | None] = {}
    sentences = []
    for path, leaf in here.items():
        if path in tokens:
            made[path], said = _of_tokens(word, path, leaf, inputs, tokens[path])
        elif word == "zero" or background is None:
            made[path] = torch.zeros_like(leaf[:1])
            said = "zero" if word == "zero" else "zero (no background was given)"
        else:
            made[path] = _mean(background, path, leaf, inputs)
            count = len(_at(background, path, inputs))
            said = f"mean of a background of {count} samples"
        sentences.append(said)
    return made, sentences


def _of_tokens(
    word: str, path: str, leaf: Tensor, inputs: Inputs, vocabulary: Vocabulary
) -> tuple[Tensor | None, str]:
    """Return the tokens that stand for no text, and what they are."""
    if word == "zero" or vocabulary.blank is None:
        return None, "zero in place of every token's vector" + (
            "" if word == "zero" else " (no padding token is known)"
        )
    blank, what = vocabulary.blank
    return (
        _in_place_of_text(blank, path, leaf, inputs, vocabulary),
        f"{what} (id {blank}) in place of the text, special tokens as they are",
    )


def _in_place_of_text(
    token: int, path: str, leaf: Tensor, inputs: Inputs, vocabulary: Vocabulary
) -> Tensor:
    """Return the tokens, with this one wherever the text is: special ones and padding stay."""
    special = torch.tensor(vocabulary.special, dtype=leaf.dtype, device=leaf.device)
    stays = torch.isin(leaf, special)
    mask = inputs.mask(path)
    if mask is not None:
        stays |= mask.to(leaf.device) == 0
    return torch.where(stays, leaf, token)


def _fitted_tokens(
    baseline: Any, path: str, leaf: Tensor, inputs: Inputs, vocabulary: Vocabulary
) -> Tensor | None:
    """Return a baseline for tokens as it is given: a token, tokens, or vectors."""
    given = _at(baseline, path, inputs)
    if is_whole(given):
        check_ids(torch.tensor([[int(given)]]), vocabulary.size, f"baseline for {label(path)}")
        return _in_place_of_text(int(given), path, leaf, inputs, vocabulary)
    if isinstance(given, (bool, str, float)) or given is None:
        raise InputTypeError(
            f"baseline for {label(path)} is {given!r}; give a token's id, ids of its shape, or "
            f"vectors (tokens, {vocabulary.dim})"
        )
    tensor = _as_tensor(given, f"baseline for {label(path)}", None).to(leaf.device)
    shape = tuple(leaf.shape[1:])
    vectors = tensor.is_floating_point()
    if vectors:
        shape = (*shape, vocabulary.dim)
    if tuple(tensor.shape) == shape:
        tensor = tensor[None]
    if tuple(tensor.shape[1:]) != shape or len(tensor) not in (1, len(leaf)):
        raise InputError(
            f"baseline for {label(path)} has shape {tuple(tensor.shape)}; expected tokens of one "
            f"sample {tuple(leaf.shape[1:])} or of all of them {tuple(leaf.shape)}, or their "
            f"vectors, with a last axis of {vocabulary.dim}"
        )
    if vectors:
        check_finite(tensor, f"baseline for {label(path)}")
        return tensor
    check_ids(tensor, vocabulary.size, f"baseline for {label(path)}")
    return tensor.to(leaf.dtype)


def check_word(baseline: Any) -> None:
    """Raise an `InputError` for a word that names no baseline."""
    if isinstance(baseline, str) and baseline not in ("auto", "zero", "mean"):
        raise InputError(
            f"baseline={baseline!r} is not known; use 'auto', 'zero', 'mean' (with "
            "background=...), a number, an array, or a function of the inputs"
        )


def far_from_data(baseline: Tensor, values: Tensor) -> float:
    """Return the share of features whose baseline lies far outside the samples' range.

    Far is more than three standard deviations beyond the range: then a path from the baseline
    leads through inputs unlike any that the model has seen.
    """
    if values.ndim != 2 or len(values) < 10:
        return 0.0
    low, high = values.min(0).values.float(), values.max(0).values.float()
    reach = 3 * values.float().std(0)
    point = baseline.float().mean(0)
    return float(((point < low - reach) | (point > high + reach)).float().mean())


def _at(tree: Any, path: str, inputs: Inputs) -> Any:
    """Return the part of a person's structure that belongs to one input."""
    if isinstance(tree, Mapping) or (isinstance(tree, (tuple, list)) and not is_leaf(inputs.tree)):
        parts = dict(leaves(dict(tree) if isinstance(tree, Mapping) else tree))
        if path not in parts or parts[path] is None:
            raise InputError(f"a baseline or background for {label(path)} is missing")
        return parts[path]
    return tree


def _fitted(baseline: Any, path: str, leaf: Tensor, inputs: Inputs) -> Tensor:
    given = _at(baseline, path, inputs)
    if isinstance(given, bool) or given is None or isinstance(given, str):
        raise InputTypeError(f"baseline for {label(path)} is {given!r}; give numbers of its shape")
    if isinstance(given, (int, float)):
        filled = torch.full_like(leaf[:1], float(given))
        check_finite(filled, "the baseline")
        return filled
    tensor = (
        _as_tensor(given, f"baseline for {label(path)}", inputs.feature_names)
        .to(leaf.dtype)
        .to(leaf.device)
    )
    if tensor.ndim == 0:
        tensor = tensor.expand_as(leaf[:1])
    if tensor.shape == leaf.shape[1:]:
        tensor = tensor[None]
    if tensor.shape[1:] != leaf.shape[1:] or len(tensor) not in (1, len(leaf)):
        raise InputError(
            f"baseline for {label(path)} has shape {tuple(tensor.shape)}; expected one sample "
            f"{tuple(leaf.shape[1:])} or all of them {tuple(leaf.shape)}"
        )
    check_finite(tensor, f"baseline for {label(path)}")
    return tensor


def background_of(background: Any, path: str, leaf: Tensor, inputs: Inputs) -> Tensor:
    """Return the samples that a background has for one input, checked."""
    samples = _as_tensor(
        _at(background, path, inputs), f"background for {label(path)}", inputs.feature_names
    )
    if samples.ndim != leaf.ndim or samples.shape[1:] != leaf.shape[1:] or len(samples) == 0:
        raise InputError(
            f"background for {label(path)} has shape {tuple(samples.shape)}; expected some samples "
            f"of shape {tuple(leaf.shape[1:])}"
        )
    check_finite(samples, f"background for {label(path)}")
    return samples


def _mean(background: Any, path: str, leaf: Tensor, inputs: Inputs) -> Tensor:
    samples = background_of(background, path, leaf, inputs)
    return samples.double().mean(0, keepdim=True).to(leaf.dtype).to(leaf.device)


def _as_tensor(value: Any, what: str, names: Sequence[str] | None) -> Tensor:
    """Return an array as a tensor; the columns of a data frame in the order of the inputs'."""
    columns = [str(name) for name in getattr(value, "columns", ())]
    if columns and names is not None and columns != list(names):
        missing = [name for name in names if name not in columns]
        if missing or len(columns) != len(names):
            raise InputError(
                f"{what} has other columns than the inputs: "
                + (f"{missing[0]!r} is missing" if missing else f"{len(columns)} of them")
            )
        value = value.iloc[:, [columns.index(name) for name in names]]
    try:
        tensor = as_tensor("", value, None)
    except InputTypeError as error:
        raise InputTypeError(f"{what} is not an array of numbers: {error}") from error
    if not isinstance(tensor, Tensor):
        raise InputTypeError(f"{what} is a {type(value).__name__}; give an array of numbers")
    return tensor
