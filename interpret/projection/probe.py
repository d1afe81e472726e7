"""A linear probe: how well a straight cut tells a group of samples from the rest."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from pellucid.interpret.projection.gaps import folds_of

_INSIDE, _OUTSIDE = 1000, 2000  # samples of either side that a probe is fitted to, at most
_FOLDS = 5
STRENGTH = 0.1  # scikit-learn's C, for features of unit variance


def accuracies(points: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the balanced accuracy of a logistic regression on each of five held-out folds.

    Parameters
    ----------
    points
        Shape (samples, features), on one scale.
    inside
        Which samples are of the group, shape (samples,), boolean; at least five on either side.
    rng
        Of the folds, and of the samples that are fitted to where there are more than 1,000 inside
        or 2,000 outside. All held-out samples are told.
    """
    fold = folds_of(inside, rng)
    used = np.zeros(len(inside), dtype=bool)
    for side, most in ((inside, _INSIDE), (~inside, _OUTSIDE)):
        used[rng.permutation(np.flatnonzero(side))[:most]] = True
    found = np.empty(_FOLDS)
    for k in range(_FOLDS):
        fitted, held = used & (fold != k), fold == k
        probe = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=200, tol=1e-3)
        probe.fit(points[fitted], inside[fitted])
        told = points[held] @ probe.coef_[0].astype(points.dtype) + probe.intercept_[0] > 0
        found[k] = (told[inside[held]].mean() + (~told[~inside[held]]).mean()) / 2
    return found
