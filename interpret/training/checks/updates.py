"""Weights that change too much, too little or not at all."""

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
    listing,
    others,
    share,
    times,
)

# A step should change weights by about a thousandth (Karpathy, Stanford CS231n, "Neural networks
# part 3": "somewhere around 1e-3"); a hundred times more or less is out of range.
USUAL_UPDATE = 1e-3
LARGE_UPDATE = 100 * USUAL_UPDATE
SMALL_UPDATE = USUAL_UPDATE / 100
_AT_FIRST = 3  # records in which updates that are too large show at the beginning

NO_UPDATES = "no update ratios of layers were recorded"


def large_updates(case: Case) -> Outcome:
    """Look for weights of which a step changes too much."""
    return _updates(case, "update ratio too high")


def small_updates(case: Case) -> Outcome:
    """Look for a network of which a step changes too little."""
    return _updates(case, "update ratio too low")


def _updates(case: Case, kind: str) -> Outcome:
    measured = [(p, c.finite) for p, c in case.measured("update_ratio") if moves(c)]
    if not case.measured("update_ratio"):
        return NO_UPDATES
    high = kind == "update ratio too high"
    ill = []
    for place, curve in measured:
        found = _fast(place, curve) if high else _slow(curve)
        if found is not None:
            ill.append((*found, place, curve))
    # One layer that moves little may be meant so; most of them may not.
    if not ill or (not high and len(ill) <= len(measured) / 2):
        return []
    ratio, since, place, curve = (max if high else min)(ill, key=lambda item: item[0])
    rate = (
        f"{share(ratio)} of its size at each step"
        if high
        else f"{ratio:.1e} of its size at each step"
    )
    lower = "Lower" if high else "Raise"
    return [
        Finding(
            kind=kind,
            severity="problem" if high and ratio > 1 else "warning",
            sentence=(
                f"The weights of {place.name} change by {rate}, {times(_apart(ratio))} "
                f"{'more' if high else 'less'} than the usual thousandth"
                f"{others(len(ill) - 1)}."
            ),
            advice=(
                f"{lower} the learning rate tenfold and compare; the ratio of update to weight "
                "should be about 0.001."
                + ("" if high else " Weights in half precision may round small updates away.")
            ),
            step=since,
            layer=place.layer,
            evidence=evidence((f"{place.name}: update ratio", curve)),
        )
    ]


def _fast(place: Place, curve: Curve) -> tuple[float, float] | None:
    """Return how large updates were, and since when, if they were too large."""
    large = curve.values > LARGE_UPDATE
    since = held_since(curve.steps, large)
    if since is not None:
        return float(np.median(curve.values[large])), since
    # Steps that are too large blow the weights up, and are soon small beside them. Weights that
    # begin at zero have large updates at first, rightly.
    first = place.curves["update_ratio"].values[0]
    size = place.curves.get("norm")
    from_zero = not np.isfinite(first) or (size is not None and size.values[0] == 0)
    if from_zero or len(large) < _AT_FIRST or not large[:_AT_FIRST].all():
        return None
    return float(np.median(curve.values[:_AT_FIRST])), float(curve.steps[0])


def _slow(curve: Curve) -> tuple[float, float] | None:
    """Return how small updates were, and since when, if they were too small.

    A schedule warms up and ends with small steps: the middle half of the run counts.
    """
    n = len(curve)
    usual = float(np.median(curve.values[n // 4 : max(n // 4 + 1, n - n // 4)]))
    if usual >= SMALL_UPDATE:
        return None
    return usual, float(curve.steps[np.argmax(curve.values < SMALL_UPDATE)])


def _apart(ratio: float) -> float:
    return max(ratio / USUAL_UPDATE, USUAL_UPDATE / max(ratio, 1e-300))


def moves(curve: Curve) -> bool:
    """Say whether a norm or ratio is anything but zero for most of the run."""
    values = curve.finite.values
    return bool(values.size) and float(np.mean(values > 0)) > 0.5


def middle(curve: Curve) -> float:
    """Return the median of what is finite."""
    return float(np.median(curve.finite.values))


# -- what does not learn ---------------------------------------------------------------------


def idle_layers(case: Case) -> Outcome:
    """Look for weights that do not change, or get no gradient, while others do."""
    updates = {id(p): (p, c.finite) for p, c in case.measured("update_ratio") if len(c.finite)}
    gradients = {id(p): (p, c.finite) for p, c in case.measured("gradient.norm") if len(c.finite)}
    if not updates and not gradients:
        return "neither gradients nor updates of layers were recorded"
    moving = [key for key, (_, curve) in updates.items() if moves(curve)]
    felt = [key for key, (_, curve) in gradients.items() if moves(curve)]
    if not moving and not felt:
        return [_idle(case, list((updates or gradients).values()), "all")]
    found = []
    unfelt = [pair for key, pair in gradients.items() if key not in felt]
    if unfelt:
        found.append(_idle(case, unfelt, "no gradient"))
    still = [pair for key, pair in updates.items() if key not in moving]
    if still and not moving:
        return [*found, _idle(case, still, "all")]
    # What gets a gradient of zero was named above; what has none at all was frozen. An optimizer
    # may hold it or not.
    frozen = [
        (place, curve)
        for place, curve in case.measured("norm")
        if gradients
        and id(place) not in gradients
        and id(place) not in moving
        and np.ptp(curve.values) == 0
    ]
    unmoved = [pair for pair in still if id(pair[0]) in felt]
    if unmoved:
        found.append(_idle(case, unmoved, "no update"))
    if frozen:
        found.append(_idle(case, frozen, "frozen"))
    return found


_IDLE = {
    "all": (
        "problem",
        "No weight changed in the whole run: {names}.",
        "Check that optimizer.step() is called, that the optimizer was given this model's "
        "parameters, and that the learning rate is not zero.",
    ),
    "no gradient": (
        "warning",
        "The gradient of {names} is exactly zero{count}, while other layers learn.",
        "Look for dead units behind it, a detach() or no_grad() on the way, or an output that "
        "the loss does not use.",
    ),
    "no update": (
        "warning",
        "{names} {get} a gradient, but {do} not change{count}.",
        "Give these parameters to the optimizer, or freeze them with requires_grad_(False) if "
        "that is meant; in half precision, keep the weights in float32.",
    ),
    "frozen": (
        "note",
        "{names} {do} not change and {have} no gradient{count}, while other layers learn.",
        "Nothing, if these layers are frozen on purpose; else set requires_grad_(True).",
    ),
}  # fmt: skip


def _idle(case: Case, pairs: list[tuple[Place, Curve]], how: str) -> Finding:
    severity, sentence, advice = _IDLE[how]
    names = [place.name for place, _ in pairs]
    one = len(names) == 1
    return Finding(
        kind="layers that do not learn",
        severity=severity,
        sentence=sentence.format(
            names=listing(names),
            count=f" ({len(names)} of {len(case.places)} weights)",
            get="gets" if one else "get",
            do="does" if one else "do",
            have="has" if one else "have",
        ),
        advice=advice,
        step=float(pairs[0][1].steps[0]),
        layer=pairs[0][0].layer,
        evidence=evidence(*((f"{p.name}: {_measure(p, c)}", c) for p, c in pairs[:1])),
    )


def _measure(place: Place, curve: Curve) -> str:
    """Return what a curve measures, in words."""
    return curve.name.removeprefix(f"{place.parameter}.").replace(".", " ").replace("_", " ")


def learning_rate(case: Case) -> Outcome:
    """Look for a learning rate of zero."""
    rates = [curve.finite for curve in case.rates if len(curve.finite)]
    if not rates:
        return "no learning rate was recorded"
    # A schedule may begin or end at zero; for half of the run it may not.
    zero = [curve for curve in rates if np.mean(curve.values == 0) >= 0.5]
    if not zero:
        return []
    worst = max(zero, key=lambda curve: float(np.mean(curve.values == 0)))
    count = int(np.sum(worst.values == 0))
    return [
        Finding(
            kind="learning rate zero",
            severity="problem" if len(zero) == len(rates) else "note",
            sentence=(
                f"{worst.name} is exactly 0 in {count} of {len(worst)} records"
                + ("" if len(rates) == 1 else f" ({len(zero)} of {len(rates)} groups)")
                + "."
            ),
            advice="Check the scheduler: its warm-up, its number of steps, and when it is stepped.",
            step=float(worst.steps[np.argmax(worst.values == 0)]),
            evidence=evidence(worst),
        )
    ]
