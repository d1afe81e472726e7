"""What a person should know before believing the numbers: warnings about an explanation."""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping, Sequence

import numpy as np
from torch import Tensor

from pellucid.interpret.attribution.registry import Method
from pellucid.interpret.baselines import far_from_data
from pellucid.interpret.inputs import Inputs
from pellucid.interpret.results import Explanation
from pellucid.interpret.results.explanation import ByPlace
from pellucid.interpret.results.trees import leaves

# Above this share of |prediction - baseline prediction| a residual is worth a warning, where the
# method has no estimate of its own error.
_RESIDUAL = 0.01
# Correlations from this on, of at least so many samples, are said; what is missing has none.
_TOGETHER, _ENOUGH, _MISSING = 0.8, 10, 1e300
# An estimated error above this says by itself that the row is not to be believed.
_CLAIMED = 0.1


def warn_of_far_baseline(
    batch: Inputs, baselines: Mapping[str, Tensor | None], sentence: str | None
) -> None:
    """Warn of a baseline that we chose, where it lies far from the samples."""
    for path, leaf in batch.tensors(attributed=True).items():
        baseline = baselines[path]
        if baseline is None or not leaf.is_floating_point():
            continue  # tokens, which have no range
        share = far_from_data(baseline, leaf)
        if share > 0:
            warnings.warn(
                f"the baseline is {sentence}, which lies far outside the range of the samples for "
                f"{share:.0%} of the features: the path from it leads through inputs unlike any "
                "that the model has seen. Give background=... to start from its mean, or a "
                "baseline of your own",
                stacklevel=3,
            )


def correlated(
    background: tuple[Tensor, ...], names: Sequence[str] | None, coded: Container[str] = ()
) -> str | None:
    """Name the features of a background that go together; None if there are none, or no table.

    Replacing one of them without the other makes rows that no data has.

    Parameters
    ----------
    background
        Samples of each attributed input.
    names
        The features' names, if they have any.
    coded
        Features that are no numbers, by name.
    """
    if len(background) != 1 or background[0].ndim != 2 or len(background[0]) < _ENOUGH:
        return None
    samples = background[0].double().cpu().numpy()
    called = list(names) if names is not None else [f"feature {i}" for i in range(samples.shape[1])]
    use = [
        i
        for i, name in enumerate(called)
        if name not in coded
        and np.abs(samples[:, i]).max() < _MISSING
        and np.ptp(samples[:, i]) > 0
    ]
    if len(use) < 2:
        return None
    together = np.triu(np.corrcoef(samples[:, use].T), 1)
    order = np.argsort(-np.abs(together), axis=None)
    pairs = [divmod(int(at), len(use)) for at in order if np.abs(together.flat[at]) >= _TOGETHER]
    if not pairs:
        return None
    said = [
        f"{called[use[i]]} and {called[use[j]]} (r = {together[i, j]:.2f})" for i, j in pairs[:3]
    ]
    more = f", and {len(pairs) - 3} more pairs" if len(pairs) > 3 else ""
    return ", ".join(said) + more


def _not_numbers(explanation: Explanation) -> int:
    """Count the rows with values that are not finite, but for targets that a row does not have."""
    missing = explanation.missing
    finite = [
        (
            np.isfinite(array.reshape(len(array), -1)).all(1)
            if missing is None
            else (np.isfinite(array.reshape(*missing.shape, -1)).all(2) | missing).all(1)
        )
        for _, array in leaves(explanation.values)
        if array is not None
    ]
    return int((~np.logical_and.reduce(finite)).sum())


def _only(by_place: ByPlace) -> np.ndarray | None:
    """Return what there is at the only place."""
    assert not isinstance(by_place, dict)
    return by_place


def _missed(explanation: Explanation, scale: np.ndarray | None) -> int:
    """Count the rows whose residual proves an error much larger than the small one estimated.

    By Cauchy and Schwarz the residual is at most sqrt(features) times the L2 error of the values,
    which is the relative error times `scale`.
    """
    error, residual = _only(explanation.error), _only(explanation.residual)
    start = _only(explanation.baseline_prediction)
    if error is None or residual is None or scale is None:
        return 0
    assert explanation.prediction is not None
    assert start is not None
    residual = np.abs(residual)
    features = sum(a.size for _, a in leaves(explanation.values) if a is not None) / error.size
    one, other = explanation.prediction.astype(float), start.astype(float)
    # What rounding does to the predictions, in half precision too, proves nothing.
    floor = 0.1 * np.abs(one - other) + 0.01 * np.maximum(np.abs(one), np.abs(other))
    proven = (residual > floor) & (residual > 2 * features**0.5 * error * scale)
    return int((proven & (error < _CLAIMED)).sum())


def warn_of_doubts(explanation: Explanation, chosen: Method, scale: np.ndarray | None) -> None:
    """Say what a person should know before believing the numbers.

    `scale` is what the explanation's error is relative to.
    """
    wrong = _not_numbers(explanation)
    if wrong:
        warnings.warn(
            f"{wrong} of {len(explanation)} rows have NaN or infinite values: the model's output "
            "or gradient is not finite there, as the square root's at zero"
            + (" (at the input, the baseline or between them)" if chosen.baseline else ""),
            stacklevel=3,
        )
    tolerance = explanation.settings.get("tolerance")
    error, residual = _only(explanation.error), _only(explanation.residual)
    if error is not None and tolerance is not None:
        late = int((error > tolerance).sum())
        if late:
            spent = "gradients" if chosen.gradients else "evaluations"
            warnings.warn(
                f"{late} of {error.size} rows are not within the tolerance of "
                f"{tolerance:g} after a budget of {explanation.settings['budget']} {spent} each "
                f"(worst estimated error {np.nanmax(error):.1%}); give a larger budget "
                "or a larger tolerance. `explanation.error` says which",
                stacklevel=3,
            )
    missed = _missed(explanation, scale)
    if missed:
        jumps = "the prediction jumps where no gradient was taken"
        reason, remedy = f"on the path {jumps}", "; give more steps (steps=500)"
        if explanation.at != "input":
            reason = f"a part of it goes around {explanation.at}, or on the path {jumps}"
            remedy = ", and at='input' which of the two it is"
        warnings.warn(
            f"for {missed} of {error.size if error is not None else 0} "
            "rows the values do not add up to the prediction less the baseline's, by more than "
            f"their estimated error allows: {reason}. `explanation.residual` says by how much"
            f"{remedy}",
            stacklevel=3,
        )
    by_rules = chosen.complete and chosen.family == "propagation"
    if by_rules and error is None and residual is not None:
        start = _only(explanation.baseline_prediction)
        assert explanation.prediction is not None
        assert start is not None
        gap = np.abs(explanation.prediction - start)
        floor = 1e-6 * np.maximum(np.abs(explanation.prediction), 1e-6)
        late = int((np.abs(residual) > _RESIDUAL * gap + floor).sum())
        if late:
            warnings.warn(
                f"for {late} of {residual.size} rows the values of {chosen.name} do "
                "not add up to the prediction less the baseline's (residual above 1 %): the model "
                "has parts that the method has no rule for. `explanation.residual` says how far "
                "off; method='integrated_gradients' does not depend on the model's parts",
                stacklevel=3,
            )
