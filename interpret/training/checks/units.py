"""Units that are dead, or stuck at the ends of their activation function."""

from __future__ import annotations

import numpy as np

from pellucid.interpret.results import Finding
from pellucid.interpret.training.checks.case import (
    Case,
    Curve,
    Outcome,
    evidence,
    held_since,
    others,
    share,
)

# "As much as 40 % of your network can be dead" after steps that were too large: Karpathy, Stanford
# CS231n, "Neural networks part 1". At nine tenths, next to nothing gets through.
DEAD = 0.4
NEARLY_ALL_DEAD = 0.9
# Saturated units pass on next to no gradient (Glorot & Bengio 2010); while most values are
# within 1 % of an end, most of the gradient is lost.
SATURATED = 0.5
NEARLY_ALL_SATURATED = 0.9


def dead(case: Case) -> Outcome:
    """Look for layers of which many units are zero for a whole batch."""
    measured = case.outputs("dead")
    if not measured:
        if case.outputs("mean"):
            return "no activation function was recorded as a layer of its own"
        return "no outputs of layers were recorded"
    ill = _ill(measured, DEAD)
    if not ill:
        return []
    value, since, layer, curve = ill[0]
    return [
        Finding(
            kind="dead units",
            severity="problem" if value >= NEARLY_ALL_DEAD else "warning",
            sentence=(
                f"{share(value)} of the units of {layer} are zero for whole batches"
                f"{others(len(ill) - 1)}: they pass on nothing, and get no gradient."
            ),
            advice=(
                "Lower the learning rate, start biases at zero, use He initialization, a "
                "normalization layer, or LeakyReLU or GELU in place of ReLU."
            ),
            step=since,
            layer=layer,
            evidence=evidence((f"{layer}: share of dead units", curve)),
        )
    ]


def saturated(case: Case) -> Outcome:
    """Look for bounded activations that are at their ends for most inputs."""
    measured = case.outputs("saturated")
    if not measured:
        if case.outputs("mean"):
            return "no layer has a bounded activation function such as sigmoid or tanh"
        return "no outputs of layers were recorded"
    layers = list(case.run.layers)
    weighted = [layers.index(place.layer) for place in case.places]
    # What bounds the model's own output, with no weight behind it, is right to be sure.
    hidden = [
        (layer, curve)
        for layer, curve in measured
        if not weighted or layers.index(layer) < max(weighted)
    ]
    ill = _ill(hidden, SATURATED)
    if not ill:
        return []
    value, since, layer, curve = ill[0]
    return [
        Finding(
            kind="saturated units",
            severity="problem" if value >= NEARLY_ALL_SATURATED else "warning",
            sentence=(
                f"{share(value)} of the values of {layer} are within 1 % of an end of its "
                f"activation function{others(len(ill) - 1)}: the gradient there is nearly zero."
            ),
            advice=(
                "Initialize weights smaller (Glorot), scale the inputs to about unit size, add a "
                "normalization layer in front, or use ReLU-like activations."
            ),
            step=since,
            layer=layer,
            evidence=evidence((f"{layer}: share of saturated values", curve)),
        )
    ]


def _ill(measured: list[tuple[str, Curve]], limit: float) -> list[tuple[float, float, str, Curve]]:
    """Return share, first step, layer and curve of the layers beyond a limit, the worst first."""
    ill = []
    for layer, curve in measured:
        beyond = curve.values >= limit
        since = held_since(curve.steps, beyond)
        if since is not None:
            ill.append((float(np.median(curve.values[beyond])), since, layer, curve))
    return sorted(ill, key=lambda item: -item[0])
