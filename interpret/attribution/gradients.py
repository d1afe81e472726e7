"""Attributions from the gradient at the input itself."""

from __future__ import annotations

from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.block import Block, flat
from pellucid.interpret.points import Kept, Rows


@method(
    baseline=False,
    complete=False,
    cost="1 forward and 1 backward pass (1 forward more for the predicted class)",
    promise="exact to rounding, and local: the slope at this input, not what the input contributed",
    paper="Simonyan et al. 2014, https://arxiv.org/abs/1312.6034",
    points=lambda _: 1,
)
def saliency(block: Block, *, absolute: bool = False) -> Attribution:
    """Return the gradient of the score: signed, or its magnitude with ``absolute=True``."""
    at_input = Kept()
    block.gradients(Rows(block.n), at_input)
    values = at_input.found.abs() if absolute else at_input.found
    return Attribution(values, at_input.scores, None, None, {"absolute": bool(absolute)})


@method(
    baseline=False,
    complete=False,
    cost="1 forward and 1 backward pass (1 forward more for the predicted class)",
    promise="exact to rounding; adds up to the prediction for piecewise linear models without bias",
    paper="Shrikumar et al. 2016, https://arxiv.org/abs/1605.01713",
    points=lambda _: 1,
)
def input_x_gradient(block: Block) -> Attribution:
    """Return the gradient of the score times the input."""
    at_input = Kept()
    block.gradients(Rows(block.n), at_input)
    values = at_input.found * flat(block.inputs)[:, None]
    return Attribution(values, at_input.scores, None, None, {})
