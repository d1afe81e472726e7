"""Attributions from the gradient at the input, or at a layer, as it is."""

from __future__ import annotations

from typing import Any

from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.block import Block
from pellucid.interpret.tensors import flat


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
    """Return the gradient of the score: signed, or its magnitude with ``absolute=True``.

    Of a token it is the length of the gradient at its embedding: behind a layer norm, which takes
    no notice of a shift, the sum would be zero but for rounding.
    """
    here = block.here()
    tokens = not block.place.inside and bool(block.place.layers)
    values = block.reduced(here.gradient.abs() if absolute else here.gradient, length=tokens)
    settings: dict[str, Any] = {"absolute": bool(absolute) or tokens}
    if tokens:
        settings["note"] = "of a token: the length of the gradient at its embedding"
    return Attribution(values, here.scores, None, None, settings)


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
