"""A model's modules and parameters, as arrays in torch's layout, also those of Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import nn

from pellucid.interpret.inspection.activity import array
from pellucid.interpret.models import Model
from pellucid.interpret.results import Layer

Layout = Callable[[np.ndarray], np.ndarray]


def modules_of(module: nn.Module) -> dict[str, nn.Module]:
    """Return every module once, by its first path; of a Keras model its layers."""
    if not any(cls.__module__.startswith("keras.") for cls in type(module).__mro__):
        return dict(module.named_modules())
    found: dict[str, nn.Module] = {}
    for path, part in Model(module).layers.items():
        # Keras hangs on torch's tree what it needs for itself, under names with an underscore.
        private = any(step.startswith("_") for step in path.split("."))
        is_end = type(part).__name__ == "InputLayer"
        if not (private or is_end) and all(part is not other for other in found.values()):
            found[path] = part
    return found


def parameters_of(
    parts: Mapping[str, nn.Module],
) -> tuple[tuple[Layer, ...], dict[str, list[nn.Parameter]]]:
    """Return copies of each module's own parameters, each once; and the parameters themselves."""
    layers = []
    owned: dict[str, list[nn.Parameter]] = {}
    seen: set[nn.Parameter] = set()
    for path, part in parts.items():
        copies = {}
        for key, parameter, layout in _own(part):
            if parameter in seen or isinstance(parameter, nn.UninitializedParameter):
                continue
            seen.add(parameter)
            owned.setdefault(path, []).append(parameter)
            copies[key] = layout(array(parameter))
        if copies:
            layers.append(Layer(name=path, kind=type(part).__name__, parameters=copies))
    return tuple(layers), owned


def _own(part: Any) -> list[tuple[str, nn.Parameter, Layout]]:
    """Return a module's own parameters with their names, and how they come into torch's layout."""
    if not hasattr(part, "_layers") or not hasattr(part, "weights"):
        return [(key, p, _as_is) for key, p in part.named_parameters(recurse=False)]
    below = {id(weight.value) for layer in getattr(part, "layers", ()) for weight in layer.weights}
    found: list[tuple[str, nn.Parameter, Layout]] = []
    for weight in part.weights:
        if id(weight.value) in below or not isinstance(weight.value, nn.Parameter):
            continue
        if weight.name == "kernel" and weight.value.ndim >= 2:
            depthwise = "Depthwise" in type(part).__name__
            found.append(("weight", weight.value, _each_in if depthwise else _out_first))
        else:
            found.append((weight.name, weight.value, _as_is))
    return found


def _as_is(values: np.ndarray) -> np.ndarray:
    return values


def _out_first(kernel: np.ndarray) -> np.ndarray:
    """Return a kernel of Keras, (..., in, out), as (out, in, ...)."""
    return np.ascontiguousarray(np.moveaxis(kernel, (-1, -2), (0, 1)))


def _each_in(kernel: np.ndarray) -> np.ndarray:
    """Return a kernel of a depthwise convolution, (..., in, multiplier), as (out, 1, ...)."""
    moved = np.moveaxis(kernel, (-2, -1), (0, 1))
    return np.ascontiguousarray(moved.reshape(-1, 1, *moved.shape[2:]))
