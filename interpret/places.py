"""Places in a model that attributions are made at: its inputs, an embedding, what a layer puts out.

A place is made of slots: tensors that can be read, differentiated by, and replaced, while the rest
of the network runs on the row's own inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.inputs import Inputs
from pellucid.interpret.models import Model
from pellucid.interpret.taps import Call, Output


@dataclass(frozen=True)
class Slot:
    """One tensor of a place.

    Attributes
    ----------
    path
        The input that it is, or that its embedding looks up; None for a layer inside.
    layer
        The module that puts it out; None for an input that the model takes as it is.
    """

    path: str | None = None
    layer: str | None = None


@dataclass(frozen=True)
class Place:
    """Where in a model attributions are made.

    Attributes
    ----------
    name
        ``"input"``, or the layer's name.
    slots
        Its tensors, one after another.
    """

    name: str
    slots: tuple[Slot, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Return the modules that have to be listened to."""
        return tuple(slot.layer for slot in self.slots if slot.layer is not None)

    @property
    def inside(self) -> bool:
        """Whether it is a layer's output, not an input or its embedding."""
        return all(slot.path is None for slot in self.slots)


def input_place(inputs: Inputs, embeddings: dict[str, str]) -> Place:
    """Return the place of the attributed inputs.

    Parameters
    ----------
    inputs
        The inputs; those that are indices are attributed by way of their embedding.
    embeddings
        From the paths of index inputs to the modules that look them up.
    """
    here = inputs.tensors(attributed=True)
    return Place(
        "input",
        tuple(
            Slot(path, None if leaf.is_floating_point() else embeddings.get(path))
            for path, leaf in here.items()
        ),
    )


def named_places(at: Any, model: Model) -> list[str]:
    """Return the names of the places that a person asks for, checked.

    Raises
    ------
    InputError, InputTypeError
        If there is no such layer, or it is not named in a way that we know.
    """
    if isinstance(at, (str, nn.Module)) or not isinstance(at, Sequence):
        at = [at]
    names = []
    for one in at:
        if isinstance(one, nn.Module):
            names.append(_name_of(one, model))
        elif isinstance(one, str):
            if one != "input":
                try:
                    model.layer(one)
                except InputError as error:
                    raise InputError(f"at={one!r}: {error}; at='input' is the input") from None
            names.append(one)
        else:
            raise InputTypeError(
                f"at={one!r} is a {type(one).__name__}; give 'input', the name of a layer such as "
                f"{_some_layer(model)!r}, a module of the model, or a list of these"
            )
    if not names:
        raise InputError("at is empty; give 'input', or the name of a layer")
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise InputError(f"at names {twice!r} more than once")
    return names


def _name_of(module: nn.Module, model: Model) -> str:
    if model.module is None:
        raise InputError(f"{model.name} is a function: it has no layers to attribute to")
    wanted = getattr(module, "_orig_mod", module)
    for name, one in model.layers.items():
        if one is wanted and name:
            return name
    raise InputError(
        f"at is a {type(module).__name__} that is not a part of {model.name}; give one of its own "
        f"modules, or a name such as {_some_layer(model)!r}"
    )


def _some_layer(model: Model) -> str:
    return next((name for name in model.layers if name), "layer")


def find_embeddings(
    given: Mapping[str, Tensor], calls: Sequence[Call], model: Model
) -> dict[str, str]:
    """Return, for the inputs that are indices, the embeddings that look them up.

    Parameters
    ----------
    given
        First rows of the inputs, as they went through the model.
    calls
        What its embeddings were called with.
    model
        The model; one of Hugging Face says itself which its word embedding is.
    """
    found: dict[str, str] = {}
    named = [call for call in calls if model.is_word_embedding(call.module)]
    for call in named or calls:
        ids = call.given
        # It stands for the input if it looks up just that, and nothing else is looked up in it.
        if sum(other.name == call.name for other in calls) > 1:
            continue
        alike = {
            path: leaf
            for path, leaf in given.items()
            if not leaf.is_floating_point()
            and leaf.dtype != torch.bool
            and ids.shape == leaf.shape
            and torch.equal(ids, leaf.to(ids.dtype))
        }
        # Two inputs may begin alike: the one whose memory the embedding reads.
        same = {path for path, leaf in alike.items() if leaf.data_ptr() == ids.data_ptr()}
        chosen = same or set(alike)
        if len(chosen) == 1:
            found.setdefault(chosen.pop(), call.name)
    return found


def attributed_indices(
    inputs: Inputs, embeddings: dict[str, str], named: Sequence[str] | None, model: Model
) -> tuple[str, ...]:
    """Return which inputs are attributed where none of them is floating-point, or as named.

    Raises
    ------
    InputTypeError
        If an index has no embedding to attribute by way of.
    """
    wanted = tuple(embeddings) if named is None else tuple(named)
    there = inputs.tensors()
    if not wanted or not set(wanted) <= {
        p for p, t in there.items() if t.is_floating_point()
    } | set(embeddings):
        raise not_differentiable(inputs, wanted, model)
    if named is None:
        # What a decoder was given already is a part of the question, not of the answer.
        asked = [path for path in wanted if path.rpartition(".")[2] != "decoder_input_ids"]
        wanted = tuple(asked) or wanted
    return tuple(path for path in there if path in wanted)


def not_differentiable(inputs: Inputs, wanted: Sequence[str], model: Model) -> InputTypeError:
    """Return what to say of indices that no embedding of the model looks up."""
    there = inputs.tensors()
    modules = [] if model.module is None else model.modules
    if any(isinstance(module, nn.EmbeddingBag) for module in modules):
        return InputTypeError(
            "the model looks tokens up in an nn.EmbeddingBag, which adds their vectors up before "
            "any of them can be seen; explain the same model with nn.Embedding and a sum or mean "
            "over the tokens behind it: the weights are the same"
        )
    floating = [path for path, leaf in there.items() if leaf.is_floating_point()]
    for path in wanted:
        if path not in floating:
            return InputTypeError(
                f"attribute names {path!r}, which is {there[path].dtype}: a gradient needs "
                "floating-point numbers, and no embedding of the model looks these up as they "
                f"are; floating-point are {floating}"
            )
    kinds = ", ".join(sorted({str(leaf.dtype) for leaf in there.values()}))
    return InputTypeError(
        f"the inputs are {kinds}, and a gradient needs floating-point numbers: "
        "if they are quantities pass inputs.float() (of an array or data frame, "
        "inputs.astype(float)); if they are indices, no nn.Embedding of the model looks them "
        "up as they are, and once: explain a function that takes the embedded vectors"
    )


def layer_axes(shape: Sequence[int], module: nn.Module, model: Model) -> tuple[str, ...]:
    """Return what each axis of a layer's output is, as far as its kind tells."""
    over_time = isinstance(module, (nn.Conv1d, nn.ConvTranspose1d, nn.modules.pooling._MaxPoolNd))
    known: dict[int, tuple[str, ...]] = {
        0: ("sample",),
        1: ("sample", "feature"),
        2: ("sample", "channel", "time") if over_time else ("sample", "token", "feature"),
        3: ("sample", "channel", "row", "column"),
        4: ("sample", "channel", "depth", "row", "column"),
    }
    axes = known.get(len(shape), ("sample", *(f"axis {i + 1}" for i in range(len(shape)))))
    return input_axes(axes, model)


def input_axes(axes: tuple[str, ...], model: Model) -> tuple[str, ...]:
    """Return the axes as this model has them: Keras puts channels last, if not told otherwise."""
    if "channel" not in axes or not model.channels_last:
        return axes
    return (*(axis for axis in axes if axis != "channel"), "channel")


def last_map(
    outputs: Sequence[Output],
    rows: int,
    channels_last: bool = False,
    *,
    method: str,
    instead: Sequence[str],
) -> str:
    """Return the last layer that puts out a map of rows and columns: where CAMs are made.

    Of one row and one column only if there is no other; called once; the innermost of those that
    hand on the same tensor.

    Parameters
    ----------
    outputs
        What every module put out in one pass of the first rows.
    rows
        How many those were.
    channels_last
        Whether maps have their channels behind rows and columns.
    method, instead
        Who asks, and methods that need no map.

    Raises
    ------
    InputError
        If there is none, or if layers of tokens come behind it.
    """
    calls = Counter(one.name for one in outputs)
    tokens = {one.tensor.shape[1] for one in outputs if one.tensor.ndim == 3}
    spatial = slice(1, 3) if channels_last else slice(2, 4)
    maps = []
    for number, one in enumerate(outputs):
        shape = one.tensor.shape
        # Tokens by tokens are attention, not a picture.
        if (
            len(shape) == 4
            and shape[0] == rows
            and one.tensor.is_floating_point()
            and calls[one.name] == 1
            and not set(tuple(shape)[spatial]) <= tokens
        ):
            maps.append((number, one))
    if not maps:
        raise InputError(
            f"{method} needs a layer with rows and columns, and no layer of the model puts out a "
            "tensor (samples, channels, rows, columns) once in a pass; a layer of tokens that "
            f"stand for patches of a picture can be named: at='name'. {', '.join(instead)} work "
            "for any model"
        )
    _, last = next((m for m in reversed(maps) if prod(m[1].tensor.shape[spatial]) > 1), maps[-1])
    number, first = next(
        m for m in maps if m[1].tensor is last.tensor and m[1].version == last.version
    )
    patches = prod(first.tensor.shape[spatial])
    behind = next(
        (
            one.name
            for one in outputs[number + 1 :]
            if one.tensor.ndim == 3 and one.tensor.shape[1] in (patches, patches + 1)
        ),
        None,
    )
    if behind is not None:
        raise InputError(
            f"the last layer with rows and columns is {first.name!r}, and layers of tokens, such "
            f"as {behind!r}, come behind it: name the one to attribute to. For a vision "
            "transformer that is the first normalisation of its last block, as in "
            "at='blocks.11.norm1': behind its attention only the class token counts"
        )
    return first.name
