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
    centred = features.double() - features.double().mean(0)
    if width <= n:
        values, vectors = torch.linalg.eigh(centred.T @ centred)
        directions = vectors[:, -dimensions:].flip(1)
    else:
        # Wide data: the Gram matrix has the same spectrum, and its eigenvectors give ours.
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        scale = values[-dimensions:].flip(0).clamp_min(torch.finfo(values.dtype).tiny).sqrt()
        directions = centred.T @ vectors[:, -dimensions:].flip(1) / scale
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    directions = directions * torch.where(largest < 0, -1.0, 1.0)
    values = values.clamp_min(0)
    return centred @ directions, values[-dimensions:].flip(0) / values.sum()
