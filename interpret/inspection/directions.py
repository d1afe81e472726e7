"""Directions in the space of a model's parameters, and the model with moved parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.models import Model
from pellucid.interpret.tensors import wide

# For each parameter how it moves, in float32 or wider; None where it stays.
Direction = list[Tensor | None]

_SLICE = 2**22  # numbers of all states together that are compared at a time


class Parameters:
    """A model's floating-point parameters, and the model run with others in their place.

    Parameters
    ----------
    model
        A module, of torch or of Keras on torch.
    buffers
        Whether what belongs to the model without being trained, such as BatchNorm's running
        statistics, is among them.

    Raises
    ------
    InputTypeError
        If it is not a module, or one of TorchScript.
    InputError
        If it has no parameters.
    """

    def __init__(self, model: Model, *, buffers: bool = False) -> None:
        if model.module is None:
            raise InputTypeError(
                f"a landscape is made by moving parameters, but {model.name} is a function or an "
                "estimator; give a torch.nn.Module, or a Keras model on its torch backend"
            )
        if isinstance(model.module, torch.jit.ScriptModule):
            raise InputTypeError(
                "a TorchScript model cannot run with other parameters in place of its own; give "
                "the model that it was made from"
            )
        self._model, self._module = model, cast("Any", model.module)
        if model.is_keras:
            # Keras computes with its variables, not with what torch has registered of them.
            trained = {v.path: v.value for v in self._module.trainable_variables}
            beside = {v.path: v.value for v in self._module.non_trainable_variables}
        else:
            trained = dict(self._module.named_parameters())
            beside = dict(self._module.named_buffers())
        if not any(p.numel() and p.is_floating_point() for p in trained.values()):
            raise InputError(f"{model.name} has no parameters to move")
        self._beside = beside.keys() if buffers else set()
        found = {**trained, **beside} if buffers else trained
        found = {name: p for name, p in found.items() if p.is_floating_point()}
        self.names = tuple(found)
        self.tensors: list[Tensor] = [p.detach() for p in found.values()]

    def moved(
        self, directions: Sequence[Direction], distances: Sequence[float]
    ) -> Callable[..., Any]:
        """Return the model with its parameters moved so far along each direction.

        The model keeps its own: what moves are copies.
        """
        values: list[Tensor] = []
        for k, parameter in enumerate(self.tensors):
            parts = [(d[k], s) for d, s in zip(directions, distances, strict=True)]
            steps = [(part, step) for part, step in parts if part is not None and step != 0]
            value = parameter
            if steps:
                value = parameter.to(wide(parameter.dtype), copy=True)
                for part, step in steps:
                    value.add_(part, alpha=step)
            values.append(value.to(parameter.dtype))
        named = dict(zip(self.names, values, strict=True))
        if self._model.is_keras:
            return self._stateless(named)

        def call(*positional: Any, **by_name: Any) -> Any:
            return torch.func.functional_call(self._module, named, positional, by_name)

        return call

    def _stateless(self, values: Mapping[str, Tensor]) -> Callable[..., Any]:
        trained = [values.get(v.path, v.value) for v in self._module.trainable_variables]
        others = [values.get(v.path, v.value) for v in self._module.non_trainable_variables]

        def call(*positional: Any, **by_name: Any) -> Any:
            found, _ = self._module.stateless_call(
                trained, others, *positional, training=False, **by_name
            )
            return found

        return call

    def random(self, generator: torch.Generator) -> Direction:
        """Draw a direction, each filter as long as the model's own (Li et al. 2018).

        Vectors, which are biases and the scales of normalisation layers, do not move.

        Raises
        ------
        InputError
            If there are only vectors.
        """
        found: Direction = []
        for name, parameter in zip(self.names, self.tensors, strict=True):
            if parameter.ndim < 2:
                found.append(None)
                continue
            dtype = wide(parameter.dtype)
            # Drawn on the CPU: the same directions on every device.
            drawn = torch.randn(parameter.shape, generator=generator, dtype=dtype)
            drawn = drawn.to(parameter.device)
            filters = self._filter_axis(name, parameter)
            within = [axis for axis in range(parameter.ndim) if axis != filters]
            own = torch.linalg.vector_norm(parameter.to(dtype), dim=within, keepdim=True)
            drawn *= own / torch.linalg.vector_norm(drawn, dim=within, keepdim=True)
            found.append(drawn)
        if not any(part is not None for part in found):
            raise InputError(
                f"{self._model.name} has only biases and scales ({', '.join(self.names[:3])}), "
                "which random directions do not move; give to= or trajectory="
            )
        return found

    def _filter_axis(self, name: str, parameter: Tensor) -> int:
        """Return along which axis a parameter's filters stand."""
        if self._model.is_keras:
            return 0 if name.endswith("embeddings") else parameter.ndim - 1
        owner = self._module.get_submodule(name.rpartition(".")[0])
        return 1 if isinstance(owner, nn.modules.conv._ConvTransposeNd) else 0

    # -- other models' parameters --------------------------------------------------------------

    def read(self, state: Any, what: str) -> list[Tensor]:
        """Return another model's parameters, in the order of this one's, where they are.

        Parameters
        ----------
        state
            A model of the same architecture, or its state dict.
        what
            What a message calls it.

        Raises
        ------
        InputTypeError
            If it is neither.
        InputError
            If a parameter is missing, has another shape, or is not finite.
        """
        found = state
        if isinstance(state, nn.Module):
            other = Parameters(Model(state), buffers=bool(self._beside))
            found = dict(zip(other.names, other.tensors, strict=True))
        if not isinstance(found, Mapping):
            raise InputTypeError(
                f"{what} is a {type(state).__name__}; give a model of the same architecture, or "
                "its state dict"
            )
        values = []
        for name, parameter in zip(self.names, self.tensors, strict=True):
            # Compiled and data-parallel models name their parts by way of the module beneath.
            known = next((n for n in (name, f"_orig_mod.{name}", f"module.{name}") if n in found),
                         None)  # fmt: skip
            if known is None and name in self._beside:
                values.append(parameter)  # a state dict leaves out what is made anew
                continue
            if known is None:
                raise InputError(
                    f"{what} has no {name!r}: it is of another architecture than "
                    f"{self._model.name}; it has {', '.join(map(repr, list(found)[:4]))}"
                )
            value = torch.as_tensor(found[known]).detach()
            if value.shape != parameter.shape:
                raise InputError(
                    f"{name!r} has shape {tuple(value.shape)} in {what}, and "
                    f"{tuple(parameter.shape)} in {self._model.name}"
                )
            if not bool(torch.isfinite(value).all()):
                raise InputError(f"{name!r} holds NaN or infinite values in {what}")
            values.append(value)
        return values

    def towards(self, other: Sequence[Tensor]) -> Direction:
        """Return the direction that leads to another model's parameters."""
        return [self._from_here(value, k) for k, value in enumerate(other)]

    def _from_here(self, value: Tensor, k: int) -> Tensor:
        own = self.tensors[k]
        return value.to(own.device, wide(own.dtype)) - own.to(wide(own.dtype))

    def principal(
        self, states: Sequence[Sequence[Tensor]], most: int
    ) -> tuple[list[Direction], np.ndarray, np.ndarray]:
        """Find the directions in which states of a training lie, seen from this model.

        Parameters
        ----------
        states
            For each time the parameters then.
        most
            How many directions at most; fewer where the states lie on a line.

        Returns
        -------
        directions
            Unit vectors.
        coordinates
            Of each state: (times, directions).
        shares
            Of the states' squared distance from the model, in each direction.

        Raises
        ------
        InputError
            If all states are the model itself.
        """
        count = len(states)
        gram = np.zeros((count, count))
        for columns in self._differences(states):
            gram += columns @ columns.T
        powers, vectors = np.linalg.eigh(gram)
        # A state that is the model itself differs from it by rounding, if at all.
        real = int((powers > 1e-12 * max(powers[-1], 1e-300)).sum()) if powers[-1] > 0 else 0
        if not real:
            raise InputError("every state of the trajectory is the model itself: it does not move")
        kept = np.arange(count - 1, count - 1 - min(most, real), -1)
        weights = vectors[:, kept] / np.sqrt(powers[kept])
        coordinates = vectors[:, kept] * np.sqrt(powers[kept])
        # The farthest state is on the left, below: the training comes from there.
        far = np.abs(coordinates).argmax(axis=0)
        signs = -np.sign(coordinates[far, np.arange(len(kept))])
        directions: list[Direction] = []
        for column in (weights * signs).T:
            found: Direction = []
            for k in range(len(self.tensors)):
                total = torch.zeros_like(self._from_here(self.tensors[k], k))
                for state, weight in zip(states, column, strict=True):
                    total.add_(self._from_here(state[k], k), alpha=float(weight))
                found.append(total)
            directions.append(found)
        return directions, coordinates * signs, powers[kept] / powers.sum()

    def _differences(self, states: Sequence[Sequence[Tensor]]) -> Iterator[np.ndarray]:
        """Yield how the states differ from the model, some parameters at a time, in float64."""
        for k, own in enumerate(self.tensors):
            size = max(1, _SLICE // len(states))
            for start in range(0, own.numel(), size):
                here = own.reshape(-1)[start : start + size].double().cpu()
                rows = [
                    s[k].reshape(-1)[start : start + size].to("cpu", torch.float64) - here
                    for s in states
                ]
                yield torch.stack(rows).numpy()
