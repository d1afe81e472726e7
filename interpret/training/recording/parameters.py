"""A model's weights, their gradients as an optimizer sees them, and what its step changes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.hooks import RemovableHandle

from pellucid.interpret.training.recording.activations import layer_name
from pellucid.interpret.training.recording.statistics import Gathering, Key, measurable

SKIPPED = ("optimizer", "skipped")  # whether a fused optimizer left a step out
_HALF = (torch.float16, torch.bfloat16)


class Parameters:
    """Listens to every optimizer that holds some of a model's parameters.

    What it reads is what the optimizer saw: gradients after unscaling and clipping, weights before
    the step, and how far the step moved them.

    Parameters
    ----------
    model
        The model beneath any wrapper.
    updates
        Whether updates are measured, for which the parameters are copied during a recorded step.
    guard
        Called with whatever is to be done inside an optimizer's step; it handles errors.

    Attributes
    ----------
    guessed
        Whether the last gradients are what lay there, since no optimizer was seen.
    """

    def __init__(
        self, model: nn.Module, *, updates: bool, guard: Callable[[Callable[[], None]], None]
    ) -> None:
        self._parameters: list[tuple[str, str, nn.Parameter]] = []
        self._place: dict[int, int] = {}
        for name, module in model.named_modules():
            for key, parameter in module.named_parameters(recurse=False):
                if id(parameter) not in self._place:
                    self._place[id(parameter)] = len(self._parameters)
                    self._parameters.append((layer_name(name, model), key, parameter))
        self._updates, self._guard = updates, guard
        self._optimizers: list[weakref.ref[Optimizer]] = []
        self._seen = False  # whether some optimizer holds our parameters
        self._again = False  # whether a step was recorded before
        self.guessed = False
        self._gathering: Gathering | None = None
        self._histograms = True
        self._read: set[int] = set()
        self._before: dict[int, tuple[list[int], list[Tensor]]] = {}
        self._measured: dict[int, tuple[int, int]] = {}
        self._rates: dict[int, Any] = {}
        self._apart = False  # whether groups had different rates
        self._handles: list[RemovableHandle] = []

    def open(self, gathering: Gathering, *, histograms: bool) -> None:
        """Read the next step."""
        self._gathering, self._histograms = gathering, histograms
        self._read, self._before, self._rates = set(), {}, {}
        self._handles = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]

    def close(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._gathering, self._before = [], None, {}

    def finish(self) -> None:
        """Read what no optimizer has read, at the end of a step that is recorded."""
        # Where no torch.optim.Optimizer is at work, gradients are what lies there now. Not in the
        # first step: it may have been left out, since what torch.amp had scaled overflowed.
        self.guessed = not self._seen and self._again
        self._again = True
        rest = []
        for place, (_, _, parameter) in enumerate(self._parameters):
            if place in self._read or not measurable(parameter):
                continue
            state = (parameter._version, parameter.data_ptr())
            # What nobody trains is measured when it has changed only.
            if parameter.requires_grad or self._measured.get(place) != state:
                self._measured[place] = state
                rest.append(place)
        self._measure(rest, gradients=self.guessed)
        self.close()

    def rates(self) -> dict[str, Any]:
        """Return the learning rates that were seen in this step, by name.

        Groups have one name as long as they have one rate.
        """
        rates = list(self._rates.values())
        self._apart = self._apart or any(
            isinstance(rate, Tensor) or rate != rates[0] for rate in rates[1:]
        )
        if not self._apart:
            return dict(zip(["learning_rate"], rates, strict=False))
        return {f"learning_rate/{k}": rate for k, rate in self._rates.items()}

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if not callable(closure):
            self._guard(lambda: self._look(optimizer))
            return None

        # With a closure the gradients are computed inside of the step.
        def and_look() -> Any:
            result = closure()
            self._guard(lambda: self._look(optimizer))
            return result

        if "closure" in kwargs:
            return args, {**kwargs, "closure": and_look}
        return (args[0], and_look, *args[2:]), kwargs

    def _look(self, optimizer: Optimizer) -> None:
        chosen = [
            place
            for group in optimizer.param_groups
            for parameter in group["params"]
            if (place := self._place.get(id(parameter))) is not None
        ]
        if not chosen:
            return
        self._seen = True
        known = [reference() for reference in self._optimizers]
        if optimizer not in known:
            self._optimizers.append(weakref.ref(optimizer))
            known.append(optimizer)
        # What is not trained is looked at in the end.
        chosen = [
            place
            for place in chosen
            if place not in self._read and self._parameters[place][2].requires_grad
        ]
        if self._gathering is None or not chosen:
            return
        first = sum(len(one.param_groups) for one in known[: known.index(optimizer)] if one)
        for k, group in enumerate(optimizer.param_groups):
            self._rates[first + k] = group.get("lr")
        # A fused optimizer unscales by itself what torch.amp has scaled.
        scale = getattr(optimizer, "grad_scale", None)
        skipped = getattr(optimizer, "found_inf", None)
        if isinstance(skipped, Tensor):
            self._gathering.fetch(SKIPPED, skipped.clone().reshape(()))
        self._measure(chosen, gradients=True, scale=None if scale is None else 1.0 / scale)
        if self._updates:
            stepped = [
                place
                for place in chosen
                if (gradient := self._parameters[place][2].grad) is not None and gradient.numel()
            ]
            copies = [self._parameters[place][2].detach().clone() for place in stepped]
            self._before[id(optimizer)] = stepped, copies

    def _after_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        chosen, copies = self._before.pop(id(optimizer), ([], []))
        if chosen and self._gathering is not None:
            self._guard(lambda: self._compare(chosen, copies))

    def _compare(self, chosen: Sequence[int], copies: list[Tensor]) -> None:
        """Measure how far a step has moved the parameters, in the place of their copies."""
        assert self._gathering is not None
        after = [self._parameters[place][2].detach() for place in chosen]
        torch._foreach_sub_(copies, after)
        # Half precision would round the norm, too.
        norms = torch._foreach_norm(
            [copy.float() if copy.dtype in _HALF else copy for copy in copies]
        )
        for place, norm in zip(chosen, norms, strict=True):
            layer, key, _ = self._parameters[place]
            self._gathering.fetch((layer, f"{key}.update"), norm)

    def _measure(
        self, places: Sequence[int], *, gradients: bool, scale: Tensor | None = None
    ) -> None:
        assert self._gathering is not None
        self._read.update(places)
        weights: dict[Key, Tensor] = {}
        slopes: dict[Key, Tensor] = {}
        for place in places:
            layer, key, parameter = self._parameters[place]
            if measurable(parameter):
                weights[layer, key] = parameter
                if gradients and parameter.grad is not None and measurable(parameter.grad):
                    slopes[layer, f"{key}.gradient"] = parameter.grad
        if scale is not None:
            slopes = {key: gradient * scale for key, gradient in slopes.items()}
        self._gathering.add_all({**weights, **slopes}, histogram=self._histograms)
