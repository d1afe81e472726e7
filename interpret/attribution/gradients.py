"""Attributions from the gradient at the input, or at a layer, as it is."""

from __future__ import annotations

from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.block import Block, flat


@method(
    baseline=False,
    complete=False,
    cost="1 forward and 1 backward pass, shared by all places",
    promise="exact to rounding, and local: the slope at this input, not what the input contributed",
    paper="Simonyan et al. 2014, https://arxiv.org/abs/1312.6034",
    points=lambda _: 1,
    kept=lambda _: 1,
)
def saliency(block: Block, *, absolute: bool = False) -> Attribution:
    """Return the gradient of the score: signed, or its magnitude with ``absolute=True``."""
    here = block.here()
    values = block.reduced(here.gradient.abs() if absolute else here.gradient)
    return Attribution(values, here.scores, None, None, {"absolute": bool(absolute)})


@method(
    baseline=False,
    complete=False,
    cost="1 forward and 1 backward pass, shared by all places",
    promise="exact to rounding; adds up to the prediction for piecewise linear models without bias",
    paper="Shrikumar et al. 2016, https://arxiv.org/abs/1605.01713",
    points=lambda _: 1,
    kept=lambda _: 1,
)
def input_x_gradient(block: Block) -> Attribution:
    """Return the gradient of the score times the input, or times the layer's activation."""
    here = block.here()
    values = block.reduced(here.gradient * flat(here.activation)[:, None])
    return Attribution(values, here.scores, None, None, {})
