"""Principal components on the device, by eigenvectors.

Of data with up to some 4,096 features, or samples, the eigenvectors of their covariance (or of
their Gram matrix, which has the same spectrum); of larger ones a randomized search with power
iterations and QR (block Krylov: Musco and Musco 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError
from pellucid.interpret.projection.features import Projector, as_array, read_features

_SMALL = 4096  # features, or samples, whose square matrix is decomposed
_CHUNK = 4 * 2**20  # bytes of the rows that are held in float64 at once
_EXACT = 4e9  # products of a matrix in float64 that a CPU does in about a second
_POWERS = 7
_MORE = 16  # directions that are searched for beyond those asked for


@dataclass(frozen=True)
class Components:
    """Directions of largest variance.

    Attributes
    ----------
    mean
        Shape (features,), float64.
    directions
        Shape (components, features), float64, of length one, the largest loading positive: so the
        sign does not depend on the solver. Where the data have no such direction, zeros or one
        that rounding left.
    variances
        Shape (components,): of the samples along each.
    shares
        Shape (components,): of all the variance there is.
    """

    mean: Tensor
    directions: Tensor
    variances: Tensor
    shares: Tensor

    def coordinates(self, features: Tensor) -> Tensor:
        """Return where samples lie along the directions, shape (samples, components), float64."""
        parts = [(part.double() - self.mean) @ self.directions.T for part in chunks(features)]
        return torch.cat(parts)


def chunks(features: Tensor) -> tuple[Tensor, ...]:
    """Return the rows in parts that fit into memory as float64."""
    return torch.split(features, max(1, _CHUNK // (8 * max(1, features.shape[1]))))


class Moments:
    """Mean and scatter of rows that come in parts (Chan, Golub and LeVeque 1983)."""

    def __init__(self, width: int, device: torch.device) -> None:
        self.count = 0
        self.mean = torch.zeros(width, dtype=torch.float64, device=device)
        self.scatter = torch.zeros(width, width, dtype=torch.float64, device=device)

    def add(self, rows: Tensor, exact: bool = True) -> None:
        """Take in some rows.

        Parameters
        ----------
        exact
            Whether products are made in float64; float32 is some ten times as fast on a CPU, and
            the sums over parts are in float64 all the same.
        """
        if exact or rows.dtype == torch.float64:
            rows = rows.double()
        mean = rows.mean(0, dtype=torch.float64)
        # Centred first: in float32 large numbers would lose what tells them apart.
        centred = rows - mean.to(rows.dtype)
        centred = centred if exact else centred.float()
        apart = mean - self.mean
        count = self.count + len(rows)
        self.scatter += (centred.T @ centred).double()
        self.scatter += torch.outer(apart, apart) * (self.count * len(rows) / count)
        self.mean += apart * (len(rows) / count)
        self.count = count

    def components(self, wanted: int, unit: float = 1.0) -> Components:
        """Return the directions of largest variance; `unit` is what the rows were divided by."""
        values, vectors = torch.linalg.eigh(self.scatter)
        spectrum = values.clamp_min(0).flip(0) / max(1, self.count - 1)
        return _signed(self.mean, vectors.T.flip(0)[:wanted], spectrum, wanted, unit)


def pca(features: Tensor, wanted: int, seed: int = 0) -> Components:
    """Find the directions of largest variance.

    Parameters
    ----------
    features
        Shape (samples, features).
    wanted
        How many directions.
    seed
        Of the randomized search, where both sides are large.
    """
    n, width = features.shape
    # Squares of very large or very small numbers would leave the range of floats.
    largest = max(abs(float(extreme)) for extreme in features.aminmax()) if features.numel() else 0
    unit = 1.0 if largest == 0 or 1e-6 < largest < 1e6 else largest
    exact = features.device.type != "cpu" or n * width * min(n, width) <= _EXACT
    if width <= min(_SMALL, n):
        moments = Moments(width, features.device)
        # Parts as large as what they are added to: adding would cost more than multiplying.
        for part in torch.split(features, max(len(chunks(features)[0]), 2 * width)):
            moments.add(part if unit == 1 else part.double() / unit, exact)
        return moments.components(wanted, unit)
    mean = torch.stack([(part.double() / unit).sum(0) for part in chunks(features)]).sum(0) / n
    if n <= _SMALL:
        centred = features.to(torch.float64, copy=True).div_(unit).sub_(mean)
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        found = vectors.flip(1)[:, :wanted].T @ centred
    else:
        found, values = _randomized(features, mean, unit, wanted, seed)
    lengths = found.norm(dim=1, keepdim=True)
    # What is left of a direction that the data do not have is rounding.
    real = lengths > 1e-10 * lengths.max()
    directions = torch.where(real, found / lengths.clamp_min(1e-300), 0.0)
    spectrum = values.clamp_min(0).flip(0) / max(1, n - 1)
    return _signed(mean, directions, spectrum, wanted, unit)


def _randomized(
    features: Tensor, mean: Tensor, unit: float, wanted: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return directions times their lengths, and values that add up to the whole, rising."""
    generator = torch.Generator().manual_seed(seed)
    width = features.shape[1]

    def covariance(basis: Tensor) -> tuple[Tensor, Tensor]:
        image = torch.zeros_like(basis)
        small = basis.new_zeros(basis.shape[1], basis.shape[1])
        for part in chunks(features):
            rows = part.double() / unit - mean
            seen = rows @ basis
            image += rows.T @ seen
            small += seen.T @ seen
        return image, small

    # All powers together span far more than the last (Musco and Musco 2015): also a spectrum
    # that hardly falls is found.
    start = torch.randn(width, wanted + _MORE, generator=generator, dtype=torch.float64)
    blocks = [torch.linalg.qr(start.to(features.device))[0]]
    for _ in range(_POWERS):
        blocks.append(torch.linalg.qr(covariance(blocks[-1])[0])[0])
    basis = torch.linalg.qr(torch.cat(blocks, 1))[0]
    values, vectors = torch.linalg.eigh(covariance(basis)[1])
    found = (basis @ vectors).T.flip(0)[:wanted] * values.flip(0)[:wanted, None].clamp_min(0).sqrt()
    parts = [(part.double() / unit - mean).square().sum() for part in chunks(features)]
    rest = (torch.stack(parts).sum() - values.sum()).clamp_min(0)
    return found, torch.cat([rest[None], values])


def _signed(
    mean: Tensor, directions: Tensor, spectrum: Tensor, wanted: int, unit: float
) -> Components:
    """Make each direction's largest loading positive; add zeros where there are too few.

    Mean and spectrum are of the data divided by `unit`.
    """
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    directions = torch.where(largest < 0, -directions, directions)
    missing = max(0, wanted - len(directions))
    directions = torch.cat([directions, directions.new_zeros(missing, directions.shape[1])])
    found = torch.cat([spectrum, spectrum.new_zeros(wanted)])[:wanted]
    total = spectrum.sum()
    shares = found / total if total > 0 else torch.zeros_like(found)
    return Components(mean * unit, directions, found * unit * unit, shares)


class PCA(Projector):
    """Principal components, computed on the device of the data.

    Parameters
    ----------
    n_components
        How many directions.
    random_state
        Of the randomized search, where samples and features are more than 4,096.
    device
        ``"auto"`` is where the data are.

    Attributes
    ----------
    components_
        Shape (n_components, features): the directions.
    mean_
        Shape (features,).
    explained_variance_, explained_variance_ratio_
        Shape (n_components,).
    embedding_
        Where the samples of `fit` lie, shape (samples, n_components), float32.
    """

    def __init__(
        self, n_components: int = 2, *, random_state: int = 0, device: Any = "auto"
    ) -> None:
        self.n_components = n_components
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Find the directions of largest variance.

        Parameters
        ----------
        X
            Shape (samples, features).
        y
            Not used: scikit-learn's interface has it.
        """
        features = read_features(X, self.device)
        wanted = self._components(min(features.shape))
        self._take(pca(features, wanted, self.random_state))
        self.embedding_ = as_array(self._found.coordinates(features))
        return self

    def partial_fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Take in some more samples: of data that do not fit into memory, part by part.

        Exact, but for rounding: what is kept is the covariance. Samples that `fit` has seen do not
        count.

        Raises
        ------
        InputError
            If there are more than 4,096 features: their covariance would be too large to keep.
        """
        features = read_features(X, self.device)
        width = features.shape[1]
        wanted = self._components(width)
        if width > _SMALL:
            raise InputError(
                f"partial_fit keeps the covariance of the features, and {width} are too many; give "
                f"at most {_SMALL}, or all samples to fit"
            )
        if not hasattr(self, "_moments"):
            self._moments = Moments(width, features.device)
        if len(self._moments.mean) != width:
            raise InputError(
                f"the samples have {width} features; earlier ones had {len(self._moments.mean)}"
            )
        for part in chunks(features):
            self._moments.add(part)
        self._take(self._moments.components(wanted))
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return where samples lie along the directions, shape (samples, n_components)."""
        features = self._new(X)
        return as_array(self._found.coordinates(features))

    def inverse_transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the samples that lie there, as near as the directions come: (samples, features).

        Parameters
        ----------
        X
            Shape (samples, n_components).
        """
        places = self._new(X, self.n_components).double()
        return as_array(places @ self._found.directions + self._found.mean)

    def _take(self, found: Components) -> None:
        self._found, self._where = found, found.mean.device
        self.components_ = as_array(found.directions)
        self.mean_ = as_array(found.mean)
        self.explained_variance_ = as_array(found.variances)
        self.explained_variance_ratio_ = as_array(found.shares)
        self.n_features_in_ = len(found.mean)
