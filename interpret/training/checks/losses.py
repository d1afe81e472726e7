"""What a loss tells by itself: divergence, spikes, a plateau, over-fitting."""

from __future__ import annotations

import numpy as np

from pellucid.interpret.results import Finding
from pellucid.interpret.training.checks.case import (
    Case,
    Curve,
    Outcome,
    evidence,
    said,
    share,
    spread,
)
from pellucid.interpret.training.metric_names import TRAINING, meaning

# All of these are in units of what the loss fell by, or of its noise: a loss may be in any unit.
LOST = 0.5  # of what was gained is lost again: the training diverges
ALL_LOST = 0.9
RISEN = 0.1  # of where it began: a loss that never fell diverges
CLEAR = 5.0  # standard deviations of noise beyond which a change is no chance
# Ten deviations are no tail of normal noise; losses of batches have heavier tails, so that a
# spike must also undo a good part of what was learnt.
SPIKE = 10.0
SPIKE_HEIGHT = 0.3
_SPIKES = 3  # more than that are no accident
_BLOCK = 100  # records over which noise is taken
_NEIGHBOURS = 12  # records before, and after, that a spike is compared with
LEARNT = 0.02  # of where it began: a loss that fell by less has not begun to fall
HIDDEN = 0.1  # of where it began: where noise hides as much, a plateau cannot be seen
NEAR = 0.05  # of what was gained is left to gain: the plateau begins
FLAT = 0.7  # of the run without a gain is worth a word
KNOWN = 0.9  # accuracy at the beginning with which there is little left to learn
POOR = 0.8  # of where it began: a plateau at such a height is too early
# How much of what was gained on held-out samples is lost again.
TURNED = 0.05
WORSE = 0.1
HOPELESS = 1.0


def gained(curve: Curve) -> float:
    """Return by how much a loss fell to its best; at least 0."""
    return max(0.0, curve.start - float(curve.trend.values.min()))


def clear(curve: Curve, change: float) -> bool:
    """Say whether a change between two points of a loss's trend is more than noise."""
    return bool(change > CLEAR * curve.noise / np.sqrt(curve.window))


def learnt(curve: Curve) -> bool:
    """Say whether a loss has fallen at all."""
    fall = gained(curve)
    return fall > LEARNT * abs(curve.start) and clear(curve, fall)


def not_finite(case: Case) -> Outcome:
    """Look for the first NaN or infinity."""
    losses = [c for name, c in case.curves.items() if meaning(name).quantity == "loss"]
    broken = sorted((c for c in losses if len(c.finite) < len(c)), key=_broken_at)
    events = sorted((e for e in case.run.events if e.kind == "not finite"), key=lambda e: e.step)
    if not broken and not events:
        return [] if losses else "neither a loss nor an event was recorded"
    # Where it came from is often seen a step after the loss was.
    told = next((e for e in events if e.layer is not None), None)
    if told is None and not broken:
        told = events[0]
    steps, parts = [], []
    if told is not None:
        steps.append(told.step)
        parts.append(f"at {case.unit} {told.step:g}: {told.text.rstrip('.')}")
    if broken:
        steps.append(_broken_at(broken[0]))
        parts.append(_told(broken[0], case.unit))
    ended = any(not np.isfinite(curve.values[-1]) for curve in broken)
    return [
        Finding(
            kind="not finite",
            severity="problem" if ended else "warning",
            sentence=_sentence("; ".join(parts)),
            advice=(
                "Lower the learning rate, clip gradients, and look for log, sqrt, division or exp "
                "of extreme values in that layer; torch.autograd.set_detect_anomaly(True) names "
                "the operation."
                if ended
                else "With mixed precision a few such steps are skipped, and harmless; else clip "
                "gradients, and look at the samples of these steps."
            ),
            step=min(steps),
            layer=told.layer if told is not None else None,
            evidence=evidence(*(broken[:1] or ([case.loss] if case.loss else []))),
        )
    ]


def _broken_at(curve: Curve) -> float:
    """Return the first step at which a curve is not finite."""
    return float(curve.steps[np.argmin(np.isfinite(curve.values))])


def _told(curve: Curve, unit: str) -> str:
    count = len(curve) - len(curve.finite)
    since = f"{unit} {_broken_at(curve):g}"
    if np.isfinite(curve.values[-1]):
        return (
            f"{curve.name} is not finite in {count} of {len(curve)} values, the first at {since}, "
            "and recovers"
        )
    return f"{curve.name} is not finite from {since} on ({count} of {len(curve)} values)"


def _sentence(text: str) -> str:
    """Begin with a capital where that changes no name, and end with a stop."""
    begin = text[:2].capitalize() + text[2:] if text.startswith("at ") else text
    return f"{begin}."


def divergence(case: Case) -> Outcome:
    """Look for a training loss that rises for good."""
    reason = case.missing_loss()
    if reason is not None or case.loss is None:
        return reason or ""
    loss = case.loss.finite
    trend = loss.trend
    best = int(np.argmin(trend.values))
    low, end = float(trend.values[best]), loss.end
    rise = end - low
    if not clear(loss, rise) or best == len(trend) - 1:
        return []
    fall = gained(loss)
    if learnt(loss):
        if rise < LOST * fall:
            return []
        gone = rise / fall
        detail = (
            f"it lost {share(gone)} of what it had gained"
            if gone <= 1
            else f"it ends above its beginning of {said(loss.start)}"
        )
        severity = "problem" if gone >= ALL_LOST else "warning"
    else:
        if end - loss.start < RISEN * abs(loss.start):
            return []
        detail, severity = "it never fell", "problem"
    since = float(trend.steps[best:][trend.values[best:] <= low + 0.1 * rise][-1])
    return [
        Finding(
            kind="divergence",
            severity=severity,
            sentence=(
                f"{loss.name} rises for good since {case.unit} {since:g}, from {said(low)} to "
                f"{said(end)}: {detail}."
            ),
            advice=(
                "Lower the learning rate (a third, then a tenth) or warm it up, clip gradients, "
                "and go on from the last good checkpoint."
            ),
            step=since,
            evidence=evidence(loss),
        )
    ]


def spikes(case: Case) -> Outcome:
    """Look for single steps with a loss far above their neighbours."""
    reason = case.missing_loss()
    if reason is not None or case.loss is None:
        return reason or ""
    loss = case.loss.finite
    height = SPIKE_HEIGHT * max(gained(loss), loss.start - loss.end)
    usual, noise = _around(loss.values, height)
    above = loss.values - usual
    high = (above > SPIKE * noise) & (above > height)
    if not high.any():
        return []
    # Neighbours that are high together are one spike.
    begins = np.flatnonzero(high & ~np.r_[False, high[:-1]])
    top = int(np.argmax(np.where(high, above, -np.inf)))
    count = len(begins)
    back = loss.values[top] >= loss.start
    return [
        Finding(
            kind="loss spikes",
            severity="warning" if count >= _SPIKES or back else "note",
            sentence=(
                f"{loss.name} jumps at {case.unit} {loss.steps[top]:g} to "
                f"{said(loss.values[top])} from about {said(usual[top])}"
                + (f"; there are {count} such spikes" if count > 1 else "")
                + "."
            ),
            advice=(
                "Look at the samples of these batches; clip gradients, lower the learning rate, "
                "or skip batches with a gradient far above the usual."
            ),
            step=float(loss.steps[begins[0]]),
            evidence=evidence(loss),
        )
    ]


def _around(values: np.ndarray, height: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what is usual around each value, and the noise there.

    What is usual is the higher of the medians before and after: so neither a steep beginning nor a
    step to another level is a spike. It is only looked for where a value stands out by `height`
    at all, and is the value itself elsewhere.
    """
    blocks = np.array_split(np.arange(len(values)), np.clip(len(values) // _BLOCK, 1, 1000))
    noise, usual = np.empty(len(values)), values.copy()
    for block in blocks:
        noise[block] = spread(np.diff(values[block])) / np.sqrt(2)
    at = np.flatnonzero(values > values.min() + height)
    reach = np.arange(1, _NEIGHBOURS + 1)
    before = values[np.maximum(at[:, None] - reach, 0)]
    after = values[np.minimum(at[:, None] + reach, len(values) - 1)]
    usual[at] = np.maximum(np.median(before, axis=1), np.median(after, axis=1))
    return usual, noise


def plateau(case: Case) -> Outcome:
    """Look for a training loss that never began to fall, or stopped early."""
    reason = case.missing_loss()
    if reason is not None or case.loss is None:
        return reason or ""
    loss = case.loss.finite
    if not learnt(loss):
        hidden = CLEAR * loss.noise / np.sqrt(loss.window)
        if hidden > HIDDEN * abs(loss.start):
            return f"the noise of {loss.name} would hide any change below {said(hidden)}"
        return [] if case.found & {"divergence", "not finite"} else [_never(loss, case)]
    trend = loss.trend
    low = float(np.median(trend.values[len(trend) // 2 :]))
    margin = max(NEAR * (loss.start - low), 2 * loss.noise / np.sqrt(loss.window))
    near = int(np.argmax(trend.values <= low + margin))
    span = trend.steps[-1] - trend.steps[0]
    rest = (trend.steps[-1] - trend.steps[near]) / span if span else 0.0
    if rest < FLAT or case.found & {"divergence", "not finite"}:
        return []
    level = low / loss.start if loss.start > 0 else 0.0
    early = level > POOR
    return [
        Finding(
            kind="plateau",
            severity="warning" if early else "note",
            sentence=(
                f"{loss.name} hardly falls since {case.unit} {trend.steps[near]:g}: "
                f"{share(rest)} of the run brought the last {share(NEAR)} of its fall from "
                f"{said(loss.start)} to {said(low)}."
            ),
            advice=(
                "Raise the learning rate or its schedule's end, give the model more capacity, "
                "and see whether it can fit ten samples."
                if early
                else "Stop earlier, or lower the learning rate at that step."
            ),
            step=float(trend.steps[near]),
            evidence=evidence(loss),
        )
    ]


def _never(loss: Curve, case: Case) -> Finding:
    accuracy = case.metric("accuracy", TRAINING)
    fitted = accuracy is not None and len(accuracy.finite) and accuracy.finite.start >= KNOWN
    return Finding(
        kind="plateau",
        severity="note" if fitted else "problem",
        sentence=(
            f"{loss.name} never began to fall: it starts at {said(loss.start)} and ends at "
            f"{said(loss.end)}, with noise of {said(loss.noise)}."
        ),
        advice=(
            "See whether the model can fit ten samples; if it can, try learning rates ten times "
            "higher and lower; if not, look for layers that do not learn and at the labels."
        ),
        step=float(loss.steps[0]),
        evidence=evidence(loss),
    )


def over_fitting(case: Case) -> Outcome:
    """Look for a held-out loss that has turned while the training loss falls."""
    reason = case.missing_loss() or case.missing_loss(held_out=True)
    if reason is not None or case.loss is None or case.held_out_loss is None:
        return reason or ""
    loss, held = case.loss.finite, case.held_out_loss.finite
    trend = held.trend
    best = int(np.argmin(trend.values))
    low, since = float(trend.values[best]), float(trend.steps[best])
    rise = held.end - low
    # Gained against the untrained model, which the first evaluation comes too late to see.
    gain = max(loss.start, held.start) - low
    lost = rise / gain if gain > 0 else np.inf
    training = loss.trend
    fell = learnt(loss) and clear(loss, training.at(since) - loss.end)
    if lost < TURNED or not clear(held, rise) or not fell or len(trend) - best < 3:
        return []
    severity = "problem" if lost >= HOPELESS else "warning" if lost >= WORSE else "note"
    return [
        Finding(
            kind="over-fitting",
            severity=severity,
            sentence=(
                f"{held.name} rises since {case.unit} {since:g}, from {said(low)} to "
                f"{said(held.end)}, while {loss.name} falls from {said(training.at(since))} to "
                f"{said(loss.end)}."
            ),
            advice=(
                f"Keep the checkpoint of {case.unit} {since:g} (early stopping); more or "
                "augmented data, weight decay, dropout or a smaller model."
            ),
            step=since,
            evidence=evidence(held, loss),
        )
    ]
