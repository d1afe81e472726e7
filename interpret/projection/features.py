"""What an estimator is given, as a table of numbers on a device; and what it gives back."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.engine import usable_device
from pellucid.interpret.inputs import check_finite, is_frame, is_whole, read_inputs


def read_features(given: Any, device: Any = "auto") -> Tensor:
    """Return features as a floating tensor, shape (samples, features).

    Parameters
    ----------
    given
        An array, a tensor, a data frame of numbers, or a `Dataset`; what has more than two axes is
        flattened.
    device
        Where they are put; ``"auto"`` is where they are.

    Raises
    ------
    InputError
        If something is not finite, or there are no samples or features.
    InputTypeError
        If it is not one table of numbers.
    """
    given = known(given, "inputs", given)
    batch = read_inputs(given, attribute=None, dtype=None, differentiable=False)
    found = list(batch.tensors().values())
    if len(found) != 1:
        raise InputTypeError(f"features are one array, not {len(found)}")
    features = found[0].reshape(batch.samples, -1)
    if not isinstance(device, str) or device != "auto":
        features = features.to(usable_device(device))
    if not features.shape[1]:
        raise InputError("the samples have no features")
    check_finite(features, "the features")
    return features if features.is_floating_point() else features.float()


def known(given: Any, name: str, otherwise: Any = None) -> Any:
    """Return what a dataset knows of its samples; a frame's columns are no such knowledge."""
    return otherwise if is_frame(given) else getattr(given, name, otherwise)


class Projector(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What all estimators of a map share: scikit-learn's interface, on the device of the data."""

    n_components: int
    n_features_in_: int
    _where: torch.device  # of the fitted samples
    device: Any

    def _components(self, most: int | None = None) -> int:
        """Return `n_components`, checked."""
        wanted = self.n_components
        if not is_whole(wanted) or wanted < 1 or (most is not None and wanted > most):
            end = "" if most is None else f" to {most}"
            raise InputError(f"n_components={wanted!r}; give a whole number from 1{end}")
        return int(wanted)

    def _new(self, given: Any, width: int | None = None) -> Tensor:
        """Return new samples, checked to have that many features: as many as those of `fit`."""
        check_is_fitted(self, "n_features_in_")
        features = read_features(given, self.device)
        width = self.n_features_in_ if width is None else width
        if features.shape[1] != width:
            raise InputError(
                f"the samples have {features.shape[1]} features; {type(self).__name__} was fitted "
                f"to {width}"
            )
        return features.to(self._where)

    def fit_transform(self, X: Any, y: Any = None, **options: Any) -> np.ndarray:  # noqa: N803
        """Fit, and return where the samples are, shape (samples, n_components), float32.

        Parameters
        ----------
        X, y, options
            What `fit` takes.
        """
        self.fit(X, y, **options)
        return np.asarray(self.embedding_)

    def fit(self, *given: Any, **options: Any) -> Self:
        """Fit to samples."""
        raise NotImplementedError

    embedding_: np.ndarray


def as_array(values: Tensor) -> np.ndarray:
    """Return a tensor as the float32 array that estimators give back."""
    return np.array(values.detach().float().cpu().numpy(), order="C")
