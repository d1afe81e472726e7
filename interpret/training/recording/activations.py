"""What layers put out in the forward pass of a step that is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils.hooks import RemovableHandle

from pellucid.errors import InputError
from pellucid.interpret.training.recording.statistics import Gathering, measurable

_CALLS = 16  # of one layer in one pass, such as a recurrent cell's, that are measured
# What they put out is what they were given, in another shape, less of it, or with holes.
_SILENT = (
    nn.Identity, nn.Flatten, nn.Unflatten, nn.modules.dropout._DropoutNd,
    nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.loss._Loss,
)  # fmt: skip
_FEATURES_LAST = (nn.Linear, nn.LayerNorm, nn.Embedding, nn.MultiheadAttention, nn.RNNBase)
_FEATURES_FIRST = (
    nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm,
)  # fmt: skip
_POSITIVE = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid, nn.Softplus, nn.Softmax)
_FEW = 32  # values that lie side by side
_NEAR = 0.01  # share of the range of a bounded activation function


def observed(model: nn.Module, wanted: bool | Iterable[str]) -> dict[str, nn.Module]:
    """Return the layers whose outputs are measured, by name, in the model's order.

    Parameters
    ----------
    model
        The model beneath any wrapper.
    wanted
        True for all that compute something themselves, False for none, or their names.

    Raises
    ------
    InputError
        If there is no such layer.
    """
    modules = dict(model.named_modules())
    if isinstance(wanted, bool):
        return {
            name: module
            for name, module in modules.items()
            if wanted and module is not model and _computes(module)
        } or ({"": model} if wanted and not list(model.children()) else {})
    missing = [name for name in wanted if name not in modules]
    if missing:
        raise InputError(
            f"activations names the layer {missing[0]!r}, which the model does not have; it has "
            + ", ".join(repr(name) for name in list(modules)[1:12])
        )
    return {name: module for name, module in modules.items() if name in set(wanted)}


def layer_name(name: str, model: nn.Module) -> str:
    """Return what a layer is called: the model itself, which has no name, by its class."""
    return name or type(model).__name__


@dataclass
class _Place:
    """A layer, and what is worth knowing of its output."""

    layer: str
    function: bool
    ends: tuple[float, float] | None
    calls: int = 0


class Activations:
    """Measures what layers put out, from `open` to the end of the model's first forward pass.

    The hooks are torch's global ones: the model holds nothing of them, so that it can be copied and
    saved meanwhile. A second forward pass of the same step is not counted, nor one in evaluation
    mode, nor what activation checkpointing computes again during the backward pass.

    Parameters
    ----------
    model
        The model beneath any wrapper.
    layers
        Those to be measured, by name.
    guard
        Called with whatever is to be done inside a forward pass; it handles errors.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Mapping[str, nn.Module],
        *,
        guard: Callable[[Callable[[], None]], None],
    ) -> None:
        self._model, self._guard = model, guard
        self._places = {
            id(module): _Place(layer_name(name, model), _is_function(module), _ends(module))
            for name, module in layers.items()
        }
        self._handles: list[RemovableHandle] = []
        self._features_last = False
        self._over = False
        self.units: dict[str, int] = {}  # of each activation function
        self.values: dict[str, int] = {}  # of each bounded activation function

    def open(self, gathering: Gathering, *, histograms: bool) -> None:
        """Listen to the next forward pass."""
        self._gathering, self._histograms = gathering, histograms
        self._over, self._features_last = False, False
        self.units, self.values = {}, {}
        for place in self._places.values():
            place.calls = 0
        if self._places:
            self._handles = [
                register_module_forward_pre_hook(self._before),
                register_module_forward_hook(self._after),
            ]

    def close(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _before(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        """Measure what an activation function is given, before it may write over it."""
        if torch.compiler.is_compiling() or not self._histograms:
            return
        place = self._places.get(id(module))
        if place and place.function and given and self._listens(place):
            tensor = given[0]
            if measurable(tensor):
                self._guard(lambda: self._gathering.add((place.layer, "input"), tensor))

    def _after(self, module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        if torch.compiler.is_compiling():
            return
        place = self._places.get(id(module))
        if place and self._listens(place):
            place.calls += 1
            tensor = _first(output)
            if tensor is not None and tensor.ndim:
                self._guard(lambda: self._measure(module, place, tensor))
        if module is self._model and self._counts():
            self._over = True

    def _counts(self) -> bool:
        # In a backward pass, a forward pass is checkpointing's second one.
        return self._model.training and torch._C._current_graph_task_id() == -1

    def _listens(self, place: _Place) -> bool:
        return not self._over and place.calls < _CALLS and self._counts()

    def _measure(self, module: nn.Module, place: _Place, tensor: Tensor) -> None:
        if isinstance(module, _FEATURES_LAST):
            self._features_last = True
        elif isinstance(module, _FEATURES_FIRST):
            self._features_last = False
        self._gathering.add((place.layer, "output"), tensor)
        values = tensor.detach()
        if place.function and values.ndim > 1 and not values.is_complex():
            axis = values.ndim - 1 if self._features_last else 1
            self._gathering.fetch(
                (place.layer, "dead"), _dead(values, axis, positive=isinstance(module, _POSITIVE))
            )
            self.units[place.layer] = self.units.get(place.layer, 0) + values.shape[axis]
        if place.ends:
            low, high = place.ends
            count = ((values <= low) | (values >= high)).sum()
            self._gathering.fetch((place.layer, "saturated"), count)
            self.values[place.layer] = self.values.get(place.layer, 0) + values.numel()


def _dead(values: Tensor, axis: int, *, positive: bool) -> Tensor:
    """Return how many units along an axis are zero wherever else one looks."""
    others = [k for k in range(values.ndim) if k != axis]
    # Over short stretches torch reduces slowly: first over the rows, then over the rest.
    short = axis == 1 and 1 < values.shape[2:].numel() < _FEW and values.is_contiguous()

    def largest(values: Tensor) -> Tensor:
        return (values.amax(0, keepdim=True) if short else values).amax(others)

    size = largest(values)
    if not positive:
        size = torch.maximum(size, largest(-values))
    return size.numel() - torch.count_nonzero(size)


def _computes(module: nn.Module) -> bool:
    if isinstance(module, _SILENT):
        return False
    leaf = next(module.children(), None) is None
    return leaf or next(module.parameters(recurse=False), None) is not None


def _is_function(module: nn.Module) -> bool:
    return type(module).__module__ == nn.modules.activation.__name__ and not isinstance(
        module, nn.MultiheadAttention
    )


def _ends(module: nn.Module) -> tuple[float, float] | None:
    """Return between which values a bounded activation function is not saturated."""
    if isinstance(module, nn.ReLU6):  # its lower end is what makes it a ReLU
        return float("-inf"), 6 - 6 * _NEAR
    if isinstance(module, nn.Hardtanh):
        low, high = float(module.min_val), float(module.max_val)
    elif isinstance(module, (nn.Tanh, nn.Softsign)):
        low, high = -1.0, 1.0
    elif isinstance(module, (nn.Sigmoid, nn.Hardsigmoid)):
        low, high = 0.0, 1.0
    else:
        return None
    near = _NEAR * (high - low)
    return low + near, high - near


def _first(output: Any) -> Tensor | None:
    """Return the first tensor of a layer's output that holds values."""
    if measurable(output):
        return output  # type: ignore[no-any-return]
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, (tuple, list)):
        return next((one for one in output if measurable(one)), None)
    return None
