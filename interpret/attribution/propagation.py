"""Rules that send the output back through the network, layer by layer; computed by Captum."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from pellucid.errors import InputError, ModelError
from pellucid.interpret.attribution.delegated import (
    Scored,
    delegated,
    module_of,
    refuse_softmax,
)
from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.block import Block
from pellucid.interpret.inputs import is_real
from pellucid.interpret.points import Leaves
from pellucid.interpret.targets import Score, Scoring


@method(
    baseline=True,
    complete=True,
    cost="4 forward passes and 2 backward, with hooks",
    promise="complete only where Captum has a rule for every non-linear module: the residual tells",
    paper="Shrikumar et al. 2017, https://arxiv.org/abs/1704.02685; computed by Captum",
    points=lambda _: 3,
    several_targets=False,
    typical=4,
)
def deep_lift(block: Block, *, eps: float = 1e-10) -> Attribution:
    """Compare activations with those at the baseline (DeepLIFT, rescale rule), through Captum."""
    from captum.attr import DeepLift

    model = module_of(block, "deep_lift")
    refuse_softmax(block, model, "deep_lift")
    if not is_real(eps) or not 0 < eps < 1:
        raise InputError(f"eps={eps!r}; differences below it are taken as zero: a small number")
    explainer = DeepLift(Scored(block, model), eps=eps)

    def attribute(inputs: Leaves, baselines: Leaves, rows: Tensor) -> Leaves:
        found = explainer.attribute(inputs, baselines, additional_forward_args=(rows,))
        return tuple(found)

    values = delegated(
        block,
        attribute,
        what="DeepLift",
        advice="It needs every activation to be a module of its own that is used once; "
        "method='integrated_gradients' has no such need",
        width=2,
    )
    baseline_prediction, prediction = block.ends()
    return Attribution(values, prediction, baseline_prediction, None, {"eps": float(eps)})


@method(
    baseline=False,
    complete=False,
    cost="2 forward passes and 1 backward, with hooks",
    promise="a picture, not a contribution: it looks alike for whatever class, and much like the "
    "input's edges; refused where a ReLU is not a module, which would go unnoticed",
    paper="Springenberg et al. 2015, https://arxiv.org/abs/1412.6806; computed by Captum",
    points=lambda _: 2,
    several_targets=False,
    typical=2,
)
def guided_backprop(block: Block) -> Attribution:
    """Return the gradient, of which every ReLU lets through what is positive only."""
    from captum.attr import GuidedBackprop

    return _changed_relus(block, "guided_backprop", GuidedBackprop)


@method(
    baseline=False,
    complete=False,
    cost="2 forward passes and 1 backward, with hooks",
    promise="a picture, not a contribution: it looks alike for whatever class, and much like the "
    "input's edges; refused where a ReLU is not a module, which would go unnoticed",
    paper="Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901; computed by Captum",
    points=lambda _: 2,
    several_targets=False,
    typical=2,
)
def deconvolution(block: Block) -> Attribution:
    """Return the gradient as if every ReLU acted on it, and not on what went forward."""
    from captum.attr import Deconvolution

    return _changed_relus(block, "deconvolution", Deconvolution)


def _changed_relus(block: Block, name: str, kind: Any) -> Attribution:
    model = module_of(block, name)
    explainer = kind(Scored(block, model))
    checked = False

    def attribute(inputs: Leaves, _: Leaves, rows: Tensor) -> Leaves:
        nonlocal checked
        if not checked:
            _check_relus(block, model, tuple(leaf[:1] for leaf in inputs), rows[:1], name)
            checked = True
        return tuple(explainer.attribute(inputs, additional_forward_args=(rows,)))

    values = delegated(block, attribute, what=kind.__name__)
    return Attribution(values, block.prediction(), None, None, {})


def _check_relus(block: Block, model: nn.Module, inputs: Leaves, rows: Tensor, name: str) -> None:
    """Raise an `InputError` if ReLUs lead to the score that are no modules, or none at all."""
    modules: set[Any] = set()

    def heard(_: nn.Module, __: Any, output: Any) -> None:
        modules.add(output.grad_fn)

    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(heard)
    score = block.scores(tuple(leaf.detach().requires_grad_() for leaf in inputs), rows)
    found, ahead = set(), [score.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in found:
            continue
        found.add(node)
        ahead += [one for one, _ in node.next_functions]
    relus = {node for node in found if node.name() == "ReluBackward0"}
    called = len(relus - modules)
    if called:
        raise InputError(
            f"{called} of the {len(relus)} ReLUs of {block.engine.model.name} are calls of a "
            f"function (F.relu), which {name} cannot change: behind them it would be the plain "
            "gradient. Make them nn.ReLU modules, or use method='integrated_gradients'"
        )
    if not relus and not block.place.inside:
        raise InputError(
            f"{block.engine.model.name} has no ReLU on the way to its score, so {name} would be "
            "the plain gradient; that is method='saliency'"
        )


@method(
    baseline=False,
    complete=True,
    cost="4 forward passes and 1 backward, with hooks",
    promise="the values and what biases keep (given as baseline_prediction) add up to the "
    "prediction, where every part has a rule: the residual tells",
    paper="Bach et al. 2015, https://doi.org/10.1371/journal.pone.0130140; computed by Captum",
    points=lambda _: 3,
    several_targets=False,
    typical=4,
)
def lrp(
    block: Block, *, rule: str = "epsilon", epsilon: float = 1e-9, gamma: float = 0.25
) -> Attribution:
    """Share the score out, from the output back, in proportion to what each input brought (LRP).

    For layers with weights the `rule` is ``"epsilon"``, ``"gamma"`` (which favours what is
    positive) or ``"alpha1_beta0"`` (which leaves only that); a `rule` attribute on a module, as
    Captum takes it, comes first. Activations pass relevance on, poolings and normalisations with
    running statistics share it in proportion. A bias takes its part too, and keeps it: what all of
    them keep is the result's `baseline_prediction`, which for a linear model is the prediction at
    zero. What is left of the score then, the residual, was lost or made up where no rule is: in
    sums and products that are no modules (Captum gives both branches of a sum the whole).
    """
    from captum.attr import LRP

    from pellucid.interpret.attribution.relevance import RULES, kept, parts_of, rule_for

    _check_lrp(block, rule, epsilon, gamma, list(RULES))
    model = module_of(block, "lrp")
    rules = {}
    without = []
    for name, part in parts_of(model).items():
        try:
            rules[part] = rule_for(part, RULES[rule](epsilon, gamma))
        except KeyError as kind:
            without.append(f"{name} ({kind.args[0]})")
    if without:
        raise ModelError(
            f"LRP has no rule for {', '.join(without[:4])}"
            + (f" and {len(without) - 4} more" if len(without) > 4 else "")
            + f" of {block.engine.model.name}; method='integrated_gradients' needs none"
        )
    view, started = copy.copy(block), _Started(block.score)
    view.score = started
    scored = _Once(view, model)
    absorbed: list[Tensor] = []

    def attribute(inputs: Leaves, _: Leaves, rows: Tensor) -> Leaves:
        started.restart()
        for part, one in rules.items():
            if one is not None:
                part.rule = one
        explainer = LRP(scored)
        # It would reload the model's state, buffers and all; what it changed is put back by us.
        explainer._restore_state = lambda: None
        found = explainer.attribute(inputs, additional_forward_args=(rows,))
        theirs = [one for one in rules.values() if one is not None]
        absorbed.append(kept(theirs, len(rows), rows.device))
        return tuple(found)

    values = delegated(
        block,
        attribute,
        what="LRP",
        advice="It needs every layer with weights to be a module of its own that is used once; "
        "method='integrated_gradients' has no such need",
    )
    biases = torch.cat(absorbed)[:, None].to(values.dtype)
    settings = {"rule": rule, "epsilon": float(epsilon)}
    if rule == "gamma":
        settings["gamma"] = float(gamma)
    return Attribution(values, block.prediction(), biases, None, settings)


def _check_lrp(block: Block, rule: str, epsilon: float, gamma: float, known: list[str]) -> None:
    if rule not in known:
        raise InputError(f"rule={rule!r} is not known; use {', '.join(map(repr, known))}")
    if not is_real(epsilon) or not epsilon > 0:
        raise InputError(f"epsilon={epsilon!r}; divisions are kept stable by it: a number above 0")
    if not is_real(gamma) or not gamma >= 0:
        raise InputError(f"gamma={gamma!r}; give a number from 0")
    if isinstance(block.score, Score) and block.score.output == "probability":
        raise InputError(
            "lrp shares out the score that it starts from, and a probability is no sum of what "
            "brought it; explain the logits with output='raw', or use "
            "method='integrated_gradients'"
        )


class _Started(Scoring):
    """A score whose gradient by the model's output becomes relevance.

    Captum makes two passes. A rule may change weights behind the first, so that only the first
    knows the output that relevance starts from.
    """

    def __init__(self, score: Scoring | None) -> None:
        assert score is not None
        self._score, self.layer = score, score.layer
        self._first: list[Tensor] = []
        self._passes = 0

    def restart(self) -> None:
        """Begin with the two passes of other rows."""
        self._first, self._passes = [], 0

    def __call__(self, output: Any, index: Tensor | None) -> Tensor:
        """Return the scores."""
        from pellucid.interpret.attribution.relevance import Start

        self._passes += 1
        known = iter(self._first)

        def start(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
                return leaf
            if self._passes == 1:
                self._first.append(leaf.detach())
                return leaf
            return Start.apply(leaf, next(known))  # type: ignore[no-untyped-call]

        return self._score(tree_map(start, output), index)


class _Once(Scored):
    """The score in its gradient only: Captum multiplies by the value, which is in it already."""

    def forward(self, *tensors: Any) -> Tensor:
        """Return ones, with the score's gradient."""
        score = super().forward(*tensors)
        return score - score.detach() + 1
