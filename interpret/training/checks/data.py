"""What the losses tell about the data: labels, leaks, order, metrics that say nothing."""

from __future__ import annotations

import numpy as np

from pellucid.interpret.results import Finding
from pellucid.interpret.training.checks.case import (
    ENOUGH,
    FEW,
    Case,
    Curve,
    Outcome,
    evidence,
    listing,
    running_median,
    said,
    share,
)
from pellucid.interpret.training.checks.losses import LEARNT, gained
from pellucid.interpret.training.metric_names import HELD_OUT, meaning

# Guessing among k classes alike costs log(k) nats; where k is not known, a level within 2 % of
# log(k) is told from its neighbours up to ten classes.
_AT_CHANCE = 0.02
_CLASSES = (*range(2, 11), 100, 1000)
MEMORIZED = 0.25  # of where it began: a training loss that fell by this has fitted something
# A network of labels learnt by heart still groups samples, so its accuracy on others scatters about
# that of guessing, up to twice as high.
GUESSED = 2.5
# With accuracy 1, a loss of a thousandth of the untrained one is more than generalization gives.
PERFECT = 1e-3
PERFECT_ALONE = 1e-6  # where no accuracy says that it is a classification
# A model that has fitted its samples to half a percent of the untrained loss does worse on others
# (a few times the loss); an easy task may well come to two percent without a gap.
FITTED = 0.005
NO_GAP = 1.5
# Dropout and augmentation raise the training loss twofold, mixed labels fourfold.
BETTER = 1 / 3
MUCH_BETTER = 1 / 10
# Kendall's W, the agreement of the epochs on where in them the loss is high: 0 to 1.
AGREEMENT = 0.5
_PHASES = 20  # parts of an epoch that are compared
_MOST_EPOCHS = 200  # the latest; more tell nothing more
_EPOCHS = 4  # epochs from which on they can agree
_MECHANICS = {
    "vanishing gradients", "exploding gradients", "dead units", "saturated units",
    "update ratio too low", "update ratio too high", "layers that do not learn",
    "learning rate zero", "divergence", "not finite",
}  # fmt: skip


def labels(case: Case) -> Outcome:
    """Look for labels that say nothing: at chance level, or learnt by heart only."""
    reason = case.missing_loss()
    if reason is not None or case.loss is None:
        return reason or ""
    return [found for found in (_chance(case), _by_heart(case)) if found is not None]


def _chance(case: Case) -> Finding | None:
    assert case.loss is not None
    loss = case.loss.finite
    level = float(np.median(loss.values[len(loss) // 2 :]))
    known = (case.classes,) if case.classes else _CLASSES
    k = min(known, key=lambda count: abs(level - np.log(count)))
    guess = float(np.log(k))
    never = float(loss.trend.values.min()) >= (1 - 2 * _AT_CHANCE) * guess
    if abs(level / guess - 1) > _AT_CHANCE or not never or case.found & _MECHANICS:
        return None
    return Finding(
        kind="label trouble",
        severity="problem",
        sentence=(
            f"{loss.name} stays at {said(level)}, the cost of guessing among {k} classes "
            f"(log {k} = {guess:.3f}), and nothing looks wrong with gradients or updates."
        ),
        advice=(
            "See that inputs and labels belong together (shuffled apart?), that the inputs are "
            "not constant, and whether the model can fit ten samples."
        ),
        step=float(loss.steps[0]),
        evidence=evidence(loss),
    )


def _by_heart(case: Case) -> Finding | None:
    """Look for a model that fits its samples, and is no better than untrained on others."""
    if case.missing_loss(held_out=True) is not None or case.loss is None:
        return None
    assert case.held_out_loss is not None
    loss, held = case.loss.finite, case.held_out_loss.finite
    best = float(held.values.min())
    # The beginning has the noise of single batches.
    untrained = loss.start - loss.noise
    if gained(loss) < MEMORIZED * abs(loss.start):
        return None
    if best < untrained - LEARNT * abs(untrained) or "divergence" in case.found:
        return None
    accuracy = case.metric("accuracy", HELD_OUT)
    if accuracy is not None and len(accuracy.finite):
        count = case.classes or max(2, round(float(np.exp(min(abs(loss.start), 20.0)))))
        if float(np.median(accuracy.finite.values[len(accuracy.finite) // 2 :])) > GUESSED / count:
            return None
    return Finding(
        kind="label trouble",
        severity="problem",
        sentence=(
            f"{loss.name} falls from {said(loss.start)} to {said(loss.end)}, but {held.name} is "
            f"never better than the untrained model ({said(best)} at best): samples are learnt "
            "by heart."
        ),
        advice=(
            "Look at samples with their labels, of both parts: labels may be shuffled or wrong, "
            "or the held-out samples prepared in another way."
        ),
        step=float(held.steps[0]),
        evidence=evidence(loss, held),
    )


# -- leaks -----------------------------------------------------------------------------------


def leak(case: Case) -> Outcome:
    """Look for held-out results that are too good to be true."""
    reason = case.missing_loss() or case.missing_loss(held_out=True)
    accuracy = case.metric("accuracy", HELD_OUT)
    accuracy = accuracy.finite if accuracy is not None and len(accuracy.finite) >= FEW else None
    perfect = accuracy is not None and _is_perfect(accuracy)
    note = [_perfect(accuracy, case)] if accuracy is not None and perfect else []
    if reason is not None or case.loss is None or case.held_out_loss is None:
        return note or reason or ""
    loss, held = case.loss.finite, case.held_out_loss.finite
    untrained = max(loss.start, held.start)
    if untrained <= 0 or case.found & {"divergence", "not finite"}:
        return []
    latest = loss.values[-max(1, len(loss) // 10) :]
    fitted, other = float(latest.mean()), held.end
    limit = PERFECT if perfect else PERFECT_ALONE if accuracy is None else 0.0
    nothing = other <= limit * untrained
    no_gap = perfect and fitted <= FITTED * untrained and other <= NO_GAP * fitted
    if nothing or no_gap:
        detail = ", and every held-out sample is right" if perfect else ""
        return [
            Finding(
                kind="data leak",
                severity="warning",
                sentence=(
                    f"{held.name} ends at {said(other)}, {share(other / untrained)} of the "
                    f"untrained loss, beside a {loss.name} of {said(fitted)}{detail}: too good "
                    "for samples that the model has never seen."
                ),
                advice=(
                    "Look for samples that are in both parts (also near copies, and one person "
                    "or document in both), and for a feature that holds the target."
                ),
                step=float(held.steps[np.argmin(held.values)]),
                evidence=evidence(held, loss),
            )
        ]
    better = _better(loss, held)
    return [better] if better is not None else note


def _is_perfect(accuracy: Curve) -> bool:
    """Say whether every held-out sample is right in the last evaluations."""
    return bool((accuracy.values[-max(1, len(accuracy) // 4) :] == 1).all())


def _perfect(accuracy: Curve, case: Case) -> Finding:
    wrong = np.flatnonzero(accuracy.values != 1)
    since = float(accuracy.steps[wrong[-1] + 1 if wrong.size else 0])
    return Finding(
        kind="data leak",
        severity="note",
        sentence=f"{accuracy.name} is exactly 1 since {case.unit} {since:g}.",
        advice=(
            "The task may be easy or the held-out part small; else look for samples in both "
            "parts and for a feature that holds the target."
        ),
        step=since,
        evidence=evidence(accuracy),
    )


def _better(loss: Curve, held: Curve) -> Finding | None:
    """Look for held-out samples that do far better than those trained on."""
    later = held.steps[len(held) // 2]
    training, other = np.median(loss.between(later)), np.median(held.between(later))
    if not 0 < other < BETTER * training:
        return None
    return Finding(
        kind="data leak",
        severity="warning" if other < MUCH_BETTER * training else "note",
        sentence=(
            f"{held.name} is {said(float(other))} in the second half of the run, far below "
            f"{loss.name} with {said(float(training))}."
        ),
        advice=(
            "Dropout, augmentation and mixed labels do some of this; else the held-out samples "
            "are easier, leaked, or their loss is added up in another way."
        ),
        step=float(later),
        evidence=evidence(held, loss),
    )


# -- order -----------------------------------------------------------------------------------


def order(case: Case) -> Outcome:
    """Look for a loss that goes the same way in every epoch: samples that are not shuffled."""
    reason = case.missing_loss()
    if reason is not None or case.loss is None:
        return reason or ""
    loss, ends = case.loss.finite, _epoch_ends(case)
    if ends is None:
        return "where epochs end was not recorded (by an epoch metric or a held-out loss)"
    epoch = np.searchsorted(ends, loss.steps, side="left")
    counts = np.bincount(epoch, minlength=len(ends))[: len(ends)]
    each = int(np.median(counts))
    if each < 4:
        return "the training loss was recorded too seldom within epochs"
    # The first epoch is a steep fall, which says nothing of the order.
    usable = [k for k in range(1, len(ends)) if counts[k] >= each // 2]
    if len(usable) < _EPOCHS:
        return f"fewer than {_EPOCHS + 1} epochs"
    phases = min(_PHASES, each)
    parts = [np.array_split(loss.values[epoch == k], phases) for k in usable[-_MOST_EPOCHS:]]
    means = np.array([[float(part.mean()) for part in row] for row in parts if len(row[-1])])
    if len(means) < _EPOCHS:
        return f"fewer than {_EPOCHS + 1} whole epochs"
    # The fall from epoch to epoch is taken away; what is left has the order of the batches.
    rest = means - running_median(means.ravel(), phases).reshape(means.shape)
    ranks = np.argsort(np.argsort(rest, axis=1), axis=1)
    agreement, chance = _agreement(ranks)
    if agreement < AGREEMENT or not chance:
        return []
    return [
        Finding(
            kind="data order",
            severity="warning",
            sentence=(
                f"{loss.name} rises and falls in the same way in each of {len(ranks)} epochs "
                f"(agreement {agreement:.2f} of 1): the batches come in a fixed order."
            ),
            advice=(
                "Shuffle the samples anew in every epoch (shuffle=True; with several processes "
                "call sampler.set_epoch), above all where they are sorted by class or time."
            ),
            step=float(loss.steps[0]),
            evidence=evidence(loss),
        )
    ]


def _epoch_ends(case: Case) -> np.ndarray | None:
    """Return the last step of each epoch."""
    for name, curve in case.curves.items():
        if meaning(name).quantity == "counter" and "epoch" in name.lower():
            known = curve.finite
            turns = np.flatnonzero(np.diff(np.floor(known.values)) > 0)
            if len(turns) >= _EPOCHS:
                return known.steps[turns]
    held = case.held_out_loss
    if held is None or len(held) < _EPOCHS:
        return None
    gaps = np.diff(held.steps)
    even = bool(gaps.size) and float(np.median(np.abs(gaps - np.median(gaps)))) <= 1
    return held.steps if even else None


def _agreement(ranks: np.ndarray) -> tuple[float, bool]:
    """Return Kendall's W of the ranks, and whether it is more than chance (Friedman's test)."""
    blocks, treatments = ranks.shape
    sums = ranks.sum(axis=0)
    w = 12 * float(((sums - sums.mean()) ** 2).sum()) / (blocks**2 * (treatments**3 - treatments))
    # Friedman's statistic is nearly chi-squared: mean k - 1, variance 2 (k - 1).
    statistic = blocks * (treatments - 1) * w
    return w, statistic > treatments - 1 + 5 * np.sqrt(2 * (treatments - 1))


# -- metrics ---------------------------------------------------------------------------------


def constant_metrics(case: Case) -> Outcome:
    """Look for losses and scores that never change."""
    judged = [
        curve.finite
        for name, curve in case.curves.items()
        if meaning(name).quantity in ("loss", "accuracy", "score") and len(curve.finite) >= FEW
    ]
    if not judged:
        return f"no loss or score has {FEW} finite values"
    still = [
        curve
        for curve in judged
        if np.ptp(curve.values) == 0
        and (len(curve) >= ENOUGH or meaning(curve.name).part == HELD_OUT)
        and not _is_perfect(curve)  # which may be a leak, and is looked for there
    ]
    if not still:
        return []
    first = still[0]
    return [
        Finding(
            kind="constant metric",
            # Where nothing learns, a metric stays as it is; that was found already.
            severity="note" if case.found & _MECHANICS else "warning",
            sentence=(
                f"{listing([curve.name for curve in still])} "
                f"{'is' if len(still) == 1 else 'are'} the same at all {len(first)} records: "
                f"{first.name} is {said(float(first.values[0]))}."
            ),
            advice=(
                "The model may give one answer to everything, the metric may be computed on the "
                "wrong tensors, or the labels hold a single class."
            ),
            step=float(first.steps[0]),
            evidence=evidence(*still[:3]),
        )
    ]
