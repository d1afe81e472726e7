"""Gradients that are lost on their way, or grow too large."""

from __future__ import annotations

import numpy as np

from pellucid.interpret.results import Finding
from pellucid.interpret.training.checks.case import (
    Case,
    Curve,
    Outcome,
    Place,
    evidence,
    held_since,
    others,
    said,
    share,
    times,
)
from pellucid.interpret.training.checks.updates import SMALL_UPDATE, middle, moves

# Gradients shrink or grow by a factor from layer to layer (Glorot & Bengio 2010), so a sound
# network keeps them within one or two orders of magnitude; three is an illness.
VANISHED = 1e-3
EXPLODED = 1e3
# A gradient this many times as large as the weights themselves replaces them in one step of plain
# descent at a rate of 0.01; and a burst is such a growth over the beginning of the run (the cliffs
# of Pascanu, Mikolov & Bengio 2013).
OVERWHELMING = 100.0
BURST = 100.0
_LAYERS = 3  # weights from which on there is a depth for gradients to be lost in

NO_GRADIENTS = "no gradients of layers were recorded"


def _aligned(curves: list[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps that all curves share, and their values there, one row for each curve."""
    steps = curves[0].steps
    for curve in curves[1:]:
        steps = np.intersect1d(steps, curve.steps)
    rows = [curve.values[np.searchsorted(curve.steps, steps)] for curve in curves]
    return steps, np.array(rows)


def vanishing(case: Case) -> Outcome:
    """Look for layers whose gradient is lost on its way from later layers."""
    measured = [(p, c) for p, c in case.measured("gradient.norm") if moves(c)]
    if not case.measured("gradient.norm"):
        return NO_GRADIENTS
    if len(measured) < _LAYERS:
        return f"fewer than {_LAYERS} layers' weights get a gradient: there is no depth to lose it"
    steps, norms = _aligned([curve for _, curve in measured])
    if not len(steps):
        return "the layers' gradients were recorded at different steps"
    # The largest gradient of any later layer, at each step.
    later = np.maximum.accumulate(norms[::-1], axis=0)[::-1][1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = norms[:-1] / later
    ill = {}
    for k, ratio in enumerate(ratios):
        known = np.isfinite(ratio)
        since = held_since(steps[known], ratio[known] < VANISHED)
        if since is not None:
            ill[k] = (float(np.median(ratio[known])), since)
    if not ill:
        return []
    worst = min(ill, key=lambda k: ill[k][0])
    ratio, since = ill[worst]
    place, curve = measured[worst]
    strongest = measured[worst + 1 + int(np.nanargmax(np.nanmedian(norms[worst + 1 :], axis=1)))]
    moved = place.curves.get("update_ratio")
    # Adam and its kind divide by the gradient's size, and so make up for much of it.
    compensated = moved is not None and np.nanmedian(moved.values) >= SMALL_UPDATE
    return [
        Finding(
            kind="vanishing gradients",
            severity="warning" if compensated else "problem",
            sentence=(
                f"The gradient of {place.name} is {times(1 / max(ratio, 1e-300))} smaller than "
                f"that of {strongest[0].name} behind it{others(len(ill) - 1)}"
                + (
                    f"; the optimizer makes up for it (updates of {share(middle(moved))})"
                    if compensated and moved is not None
                    else ""
                )
                + "."
            ),
            advice=(
                "Use ReLU-like activations in place of sigmoid or tanh, normalization layers or "
                "residual connections, and He or Glorot initialization."
            ),
            step=since,
            layer=place.layer,
            evidence=evidence(
                (f"{place.name}: gradient norm", curve),
                (f"{strongest[0].name}: gradient norm", strongest[1]),
            ),
        )
    ]


def exploding(case: Case) -> Outcome:
    """Look for gradients larger than the weights, growing towards the input or in bursts."""
    measured = case.measured("gradient.norm")
    if not measured:
        return NO_GRADIENTS
    found = [_backwards(measured), _overwhelming(measured), _burst(measured, case.unit)]
    seen = [finding for finding in found if finding is not None]
    # One illness, one finding: the first that applies.
    return seen[:1]


_CLIP = (
    "Clip gradients (torch.nn.utils.clip_grad_norm_ at 1), lower the learning rate, initialize "
    "weights smaller, and scale inputs and targets to about unit size."
)


def _exploded(
    place: Place, sentence: str, since: float, shown: dict[str, tuple[np.ndarray, np.ndarray]]
) -> Finding:
    return Finding(
        kind="exploding gradients",
        severity="problem",
        sentence=sentence,
        advice=_CLIP,
        step=since,
        layer=place.layer,
        evidence=shown,
    )


def _backwards(measured: list[tuple[Place, Curve]]) -> Finding | None:
    """Look for gradients that grow from the output to the input."""
    if len(measured) < _LAYERS:
        return None
    steps, norms = _aligned([curve for _, curve in measured])
    last, last_curve = measured[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = norms[:-1] / norms[-1]
    usual = [float(np.median(r[np.isfinite(r)])) if np.isfinite(r).any() else 0.0 for r in ratios]
    worst = int(np.argmax(usual))
    known = np.isfinite(ratios[worst])
    since = held_since(steps[known], ratios[worst][known] > EXPLODED)
    if since is None:
        return None
    place, curve = measured[worst]
    count = sum(value > EXPLODED for value in usual)
    return _exploded(
        place,
        f"The gradient of {place.name} is {times(usual[worst])} larger than that of {last.name} "
        f"at the output{others(count - 1)}: it grows on its way back.",
        since,
        evidence(
            (f"{place.name}: gradient norm", curve), (f"{last.name}: gradient norm", last_curve)
        ),
    )


def _overwhelming(measured: list[tuple[Place, Curve]]) -> Finding | None:
    """Look for gradients that are far larger than the weights themselves."""
    ill: list[tuple[float, float, Place, Curve, Curve]] = []
    for place, curve in measured:
        size = place.curves.get("norm")
        if size is None:
            continue
        steps, (gradient, weight) = _aligned([curve, size])
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = gradient / weight
        known = np.isfinite(ratio)
        since = held_since(steps[known], ratio[known] > OVERWHELMING)
        if since is not None:
            ill.append((float(np.median(ratio[known])), since, place, curve, size))
    if not ill:
        return None
    ratio, since, place, curve, size = max(ill, key=lambda item: item[0])
    return _exploded(
        place,
        f"The gradient of {place.name} is {times(ratio)} as large as its weights (norm "
        f"{said(middle(curve))} against {said(middle(size))}){others(len(ill) - 1)}.",
        since,
        evidence((f"{place.name}: gradient norm", curve), (f"{place.name}: norm", size)),
    )


def _burst(measured: list[tuple[Place, Curve]], unit: str) -> Finding | None:
    """Look for gradients that grow over the run, for some steps or for good."""
    ill = []
    for place, curve in measured:
        known = curve.finite
        size = place.curves.get("norm")
        if len(known) < 2 or size is None or not len(size.finite):
            continue
        early = float(np.median(known.values[: max(1, len(known) // 10)]))
        weight = np.interp(known.steps, size.finite.steps, size.finite.values)
        # A small gradient may well grow a hundredfold when a plateau is left; an explosion
        # outgrows the weights, too.
        high = (known.values > BURST * early) & (known.values > weight) & (early > 0)
        if high.any():
            top = int(np.argmax(known.values))
            ill.append((known.values[top] / early, early, top, high, place, known))
    if not ill:
        return None
    factor, early, top, high, place, curve = max(ill, key=lambda item: item[0])
    return _exploded(
        place,
        f"The gradient of {place.name} grew {times(factor)}, from a norm of {said(early)} to "
        f"{said(curve.values[top])} at {unit} {curve.steps[top]:g}; {int(high.sum())} of "
        f"{len(curve)} records are such bursts{others(len(ill) - 1)}.",
        float(curve.steps[np.argmax(high)]),
        evidence((f"{place.name}: gradient norm", curve)),
    )
