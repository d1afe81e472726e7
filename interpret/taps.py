"""Taps on layers: what they put out is read, differentiated by, or replaced."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import InputError, ModelError
from pellucid.interpret.models import Model


@dataclass(frozen=True)
class Call:
    """One call of an embedding: which, and with what indices."""

    name: str
    module: nn.Embedding
    given: Tensor


@dataclass(frozen=True)
class Output:
    """What one call of a module put out."""

    name: str
    tensor: Tensor
    version: int  # of the tensor then: a layer behind may write into it


class Taps:
    """Hooks on some layers of a model, for as long as they are open.

    Before each forward pass, `put` says what replaces the output of which layer; after it, `seen`
    has what came out of each layer that is tapped.
    """

    def __init__(self, model: Model, layers: Iterable[str]) -> None:
        self._model, self.layers = model, tuple(dict.fromkeys(layers))
        self.seen: dict[str, Tensor] = {}
        self._put: Mapping[str, Tensor] = {}

    @contextlib.contextmanager
    def open(self) -> Iterator[Taps]:
        """Register the hooks, and take them off at the end."""
        with contextlib.ExitStack() as held:
            for name in self.layers:
                module = self._model.layer(name)
                handle = module.register_forward_hook(self._hook(name))
                held.callback(handle.remove)
            yield self

    def put(self, replaced: Mapping[str, Tensor]) -> None:
        """Replace the outputs of these layers in the next forward pass, and forget the last."""
        self._put = replaced
        self.seen = {}

    def check(self, rows: int) -> None:
        """Raise a `ModelError` if a layer was not called, or puts out nothing with these rows."""
        for name in self.layers:
            if name not in self.seen:
                raise ModelError(
                    f"layer {name!r} was called 0 times in one forward pass; choose one that is "
                    "called once"
                )
            if len(self.seen[name]) != rows:
                raise ModelError(
                    f"layer {name!r} puts out a tensor of shape {tuple(self.seen[name].shape)} for "
                    f"{rows} rows, not one with a row for each input"
                )

    def _hook(self, name: str) -> Any:
        def heard(_: nn.Module, __: Any, output: Any) -> Any:
            if name in self.seen:
                raise ModelError(
                    f"layer {name!r} was called 2 times or more in one forward pass; choose one "
                    "that is called once"
                )
            tensor = first_tensor(output)
            if tensor is None or tensor.ndim == 0 or not tensor.is_floating_point():
                raise ModelError(
                    f"layer {name!r} puts out {_kind(output)}, not a tensor with a row for each "
                    "input"
                )
            here = self._put.get(name)
            if here is not None:
                here = here.to(tensor.dtype)
            elif torch.is_grad_enabled() and not tensor.requires_grad:
                # The first layer on the way: what lies before it keeps no graph.
                here = tensor.detach().requires_grad_()
            else:
                here = tensor
            self.seen[name] = here
            # A copy goes on: an in-place layer behind it may write over it.
            return with_first_tensor(output, here.clone())

        return heard


@contextlib.contextmanager
def embedding_calls(model: Model) -> Iterator[list[Call]]:
    """Note what the embeddings of a model are called with.

    An index that they do not have is an `InputError`, before it comes to them: on a GPU it would
    end the process.
    """
    calls: list[Call] = []
    with contextlib.ExitStack() as held:
        for name, module in model.layers.items():
            if isinstance(module, nn.Embedding) and name:

                def heard(module: nn.Embedding, given: Any, name: str = name) -> None:
                    if given and isinstance(given[0], Tensor):
                        # One that computes its own indices knows which there may be.
                        plain = type(module).forward is nn.Embedding.forward
                        if plain or model.is_word_embedding(module):
                            check_indices(given[0], module, name)
                        calls.append(Call(name, module, given[0].detach()))

                held.callback(module.register_forward_pre_hook(heard).remove)
        yield calls


def check_indices(given: Tensor, embedding: nn.Embedding, name: str) -> None:
    """Raise an `InputError` if an embedding is to look up what it does not have."""
    size = embedding.num_embeddings
    outside = ((given < 0) | (given >= size)).nonzero()
    if len(outside):
        first = outside[0].tolist()
        where = f"sample {first[0]}" + (f", position {first[1]}" if len(first) > 1 else "")
        raise InputError(
            f"layer {name!r} is to look up {int(given[tuple(first)])} at {where}, and it has "
            f"{size} rows, 0 to {size - 1}: a token of another vocabulary, or more positions than "
            "the model knows"
        )


@contextlib.contextmanager
def layer_outputs(model: Model) -> Iterator[list[Output]]:
    """Note the tensors that the modules of a model put out, in the order in which they do."""
    outputs: list[Output] = []
    with contextlib.ExitStack() as held:
        for name, module in model.layers.items():

            def heard(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
                tensor = first_tensor(output)
                if tensor is not None:
                    version = 0 if tensor.is_inference() else tensor._version
                    outputs.append(Output(name, tensor, version))

            if name:
                held.callback(module.register_forward_hook(heard).remove)
        yield outputs


def first_tensor(output: Any) -> Tensor | None:
    """Return a layer's tensor: its output, or the first tensor of a tuple or dict of them."""
    if isinstance(output, Tensor):
        return output
    parts = output.values() if isinstance(output, dict) else output
    if isinstance(output, (tuple, list, dict)):
        return next((part for part in parts if isinstance(part, Tensor)), None)
    return None


def with_first_tensor(output: Any, replaced: Tensor) -> Any:
    """Return a layer's output with another tensor in the place of `first_tensor`."""
    if isinstance(output, Tensor):
        return replaced
    if isinstance(output, dict):
        key = next(k for k, part in output.items() if isinstance(part, Tensor))
        changed = type(output)(output)
        changed[key] = replaced
        return changed
    first = next(i for i, part in enumerate(output) if isinstance(part, Tensor))
    parts = [replaced if i == first else part for i, part in enumerate(output)]
    if hasattr(output, "_fields"):  # a named tuple
        return type(output)(*parts)
    return type(output)(parts)


def _kind(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)} and {output.dtype}"
    return f"a {type(output).__name__}"
