"""UMAP by other people's programs: umap-learn, and cuML on a GPU."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np

from pellucid.errors import InputError, MissingDependencyError

BACKENDS = ("umap-learn", "cuml")


def reference_umap(
    features: np.ndarray,
    backend: str,
    *,
    dimensions: int,
    neighbors: int,
    min_dist: float,
    spread: float,
    metric: str,
    seed: int,
    labels: np.ndarray | None,
    options: dict[str, Any],
) -> np.ndarray:
    """Return the map that umap-learn or cuML makes, shape (samples, dimensions), float32.

    Parameters
    ----------
    features
        Shape (samples, features), float32.
    backend
        ``"umap-learn"`` or ``"cuml"``.
    labels
        Class indices that shape the map, -1 where not known; or None.
    options
        Further arguments of theirs, such as ``densmap=True``.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    InputError
        If it does not know an option.
    """
    name = "umap" if backend == "umap-learn" else "cuml.manifold"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Tensorflow not installed")
            module = importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"backend={backend!r} needs {backend}, which is not installed; leave backend out for "
            "the one that is built in"
        ) from error
    given = {
        "n_components": dimensions,
        "n_neighbors": neighbors,
        "min_dist": min_dist,
        "spread": spread,
        "metric": metric,
        "random_state": seed,
    }
    if backend == "umap-learn":
        given["n_jobs"] = 1  # a seed means one thread there
    try:
        reducer = module.UMAP(**(given | options))
    except TypeError as error:
        raise InputError(f"{backend} does not take these options: {error}") from error
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_jobs value .* overridden")
        return np.asarray(reducer.fit_transform(features, y=labels), dtype=np.float32)
