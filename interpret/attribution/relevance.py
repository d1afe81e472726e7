"""Rules of layer-wise relevance propagation for modules that Captum has none for.

Captum's scheme: what flows back between two modules, in the place of a gradient, is relevance. A
rule listens to its module on the way forward, and changes what flows on the way back.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from captum.attr._utils.custom_modules import Addition_Module
from captum.attr._utils.lrp_rules import (
    Alpha1_Beta0_Rule,
    EpsilonRule,
    GammaRule,
    IdentityRule,
    PropagationRule,
)
from torch import Tensor, nn

# Linear in their input, but for an offset: their relevance is shared in proportion to what each
# input brought.
_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d,
             nn.ConvTranspose3d)  # fmt: skip
_PROPORTIONAL = (
    Addition_Module, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.AvgPool1d, nn.AvgPool2d,
    nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.MaxPool1d,
    nn.MaxPool2d, nn.MaxPool3d,
)  # fmt: skip
# Value by value: relevance passes as it is.
_PASSED = (
    nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus,
    nn.Sigmoid, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.ReLU, nn.Tanh, nn.Softsign,
)  # fmt: skip
# They only move values: so does their gradient. What looks up an index is where relevance ends.
_MOVED = (nn.Flatten, nn.Unflatten, nn.Identity, nn.modules.dropout._DropoutNd, nn.Embedding)
# What Captum treats as values that pass, where it is exactly that.
_CAPTUMS = (nn.ReLU, nn.Dropout, nn.Tanh)


class _Unchanged(torch.autograd.Function):
    """A module's output, behind which what flows back passes to its input as it is."""

    @staticmethod
    def forward(_: Any, __: Tensor, output: Tensor) -> Tensor:
        """Return the output."""
        return output.clone()

    @staticmethod
    def backward(_: Any, *relevance: Tensor) -> tuple[Tensor, None]:
        """Pass it on."""
        return relevance[0], None


class Counted(PropagationRule):  # type: ignore[misc]
    """A rule that notes what relevance does not come out of its module again.

    Of each output's relevance a part goes to what the module puts out at zero: to its bias; and one
    to the small number that keeps the division stable.
    """

    kept: Tensor | None = None

    @classmethod
    def of(cls, rule: PropagationRule) -> PropagationRule:
        """Return a copy of a rule that notes it too."""
        made = copy.copy(rule)
        made.__class__ = type(type(rule).__name__, (cls, type(rule)), {})
        made.kept = None
        return made

    def forward_hook(self, module: nn.Module, inputs: Any, outputs: Any) -> Any:
        """Ask the module what it puts out at zero, without its hooks."""
        with torch.no_grad():
            self._offset = module.forward(*map(torch.zeros_like, inputs))
        return super().forward_hook(module, inputs, outputs)

    def _create_backward_hook_output(self, outputs: Tensor) -> Callable[[Tensor], Tensor]:
        pass_on = super()._create_backward_hook_output(outputs)

        def note(relevance: Tensor) -> Tensor:
            small = torch.where(outputs < 0, -self.STABILITY_FACTOR, self.STABILITY_FACTOR)
            self.kept = _summed(relevance * (self._offset + small) / (outputs + small))
            passed: Tensor = pass_on(relevance)
            return passed

        return note


class _Moves(PropagationRule):  # type: ignore[misc]
    """Nothing to be done: what flows back finds its way by itself."""

    def forward_hook(self, module: nn.Module, inputs: Any, outputs: Any) -> Any:
        """Let it be."""

    def forward_hook_weights(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        """Change no weights."""

    def forward_pre_hook_activations(self, module: nn.Module, inputs: Any) -> Any:
        """Change no inputs."""

    def _manipulate_weights(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        """Change no weights."""


class _Passes(_Moves):
    """Relevance of a value is that of the value it was made of."""

    def forward_hook(self, module: nn.Module, inputs: Any, outputs: Any) -> Any:
        """Put the function behind the module whose gradient is one."""
        return _Unchanged.apply(inputs[0], outputs.detach())  # type: ignore[no-untyped-call]


class Start(torch.autograd.Function):
    """The model's output, where what flows back becomes relevance.

    Behind a score that is a sum of weights times outputs, an output's relevance is its own part of
    that sum: gradient times output.
    """

    @staticmethod
    def forward(context: Any, output: Tensor, first: Tensor) -> Tensor:
        """Return the output; relevance starts from what it was at first."""
        context.save_for_backward(first)
        return output.clone()

    @staticmethod
    def backward(context: Any, *gradient: Tensor) -> tuple[Tensor, None]:
        """Return gradient times output."""
        (first,) = context.saved_tensors
        return gradient[0] * first, None


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that hold no others, by name: those that need a rule."""
    return {n or "the model": m for n, m in model.named_modules() if not any(m.children())}


RULES: dict[str, Callable[[float, float], PropagationRule]] = {
    "epsilon": lambda epsilon, _: EpsilonRule(epsilon),
    "gamma": lambda _, gamma: GammaRule(gamma),
    "alpha1_beta0": lambda *_: Alpha1_Beta0_Rule(),
}


def rule_for(module: nn.Module, weighted: PropagationRule) -> PropagationRule | None:
    """Return a module's rule; None where Captum has its own.

    Parameters
    ----------
    module
        One that holds no others.
    weighted
        The rule for modules with weights, of which a copy is made.

    Raises
    ------
    KeyError
        If there is none; it holds the module's kind.
    """
    own = getattr(module, "rule", None)
    if own is not None:
        return own if isinstance(own, IdentityRule) else Counted.of(own)
    if type(module) in _CAPTUMS:
        return None
    if isinstance(module, _WEIGHTED):
        return Counted.of(weighted)
    if isinstance(module, _PROPORTIONAL):
        return Counted.of(EpsilonRule())
    if isinstance(module, _PASSED):
        return _Passes()
    if isinstance(module, _MOVED):
        return _Moves()
    raise KeyError(type(module).__name__)


def kept(rules: list[PropagationRule], rows: int, device: torch.device) -> Tensor:
    """Return the relevance that did not come out of modules again, behind a pass: (rows,)."""
    total = torch.zeros(rows, dtype=torch.float64, device=device)
    for rule in rules:
        here = getattr(rule, "kept", None)
        if here is not None:
            total += here
            rule.kept = None
    return total


def _summed(relevance: Tensor) -> Tensor:
    return relevance.double().flatten(1).sum(1) if relevance.ndim > 1 else relevance.double()
