"""Principal components on the device, from eigenvectors in float64: no low-accuracy shortcut."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.errors import InputError

# The smaller side of the data is what is decomposed: 8 bytes x 8192^2 is half a gigabyte.
_LARGEST = 8192


def pca(features: Tensor, dimensions: int) -> tuple[Tensor, Tensor]:
    """Project onto the directions of largest variance.

    Parameters
    ----------
    features
        Shape (samples, features).
    dimensions
        How many directions.

    Returns
    -------
    coordinates
        Shape (samples, dimensions). Each direction's largest loading is positive, so that the sign
        does not depend on the solver.
    explained_variance_ratio
        Share of the variance along each direction.
    """
    n, width = features.shape
    if min(n, width) > _LARGEST:
        raise InputError(
            f"PCA of {n} samples x {width} features needs more than {_LARGEST} eigenvectors; "
            "project fewer samples, or a layer with fewer features"
        )
    centred = features.double()
    centred = centred - centred.mean(0)
    # Squares of very large or very small numbers would leave the range of floats.
    unit = centred.abs().max()
    centred = centred / unit
    if width <= n:
        values, vectors = torch.linalg.eigh(centred.T @ centred)
        loadings = vectors[:, -dimensions:].flip(1)
        coordinates = centred @ loadings
    else:
        # Wide data: the Gram matrix has the same spectrum, and its eigenvectors are the
        # coordinates but for their lengths. Nothing is divided by: an eigenvalue may be zero.
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        vectors = vectors[:, -dimensions:].flip(1)
        coordinates = vectors * values[-dimensions:].flip(0).clamp_min(0).sqrt()
        loadings = centred.T @ vectors
    largest = loadings.gather(0, loadings.abs().argmax(0, keepdim=True))
    values = values.clamp_min(0)
    share = values[-dimensions:].flip(0) / values.sum()
    return coordinates * torch.where(largest < 0, -unit, unit), share
