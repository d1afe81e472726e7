"""Maps of points: projections, neighbours, and how faithful a map is."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.interpret.projection.clusters import explain_clusters
    from pellucid.interpret.projection.layers import read_layer
    from pellucid.interpret.projection.pca import PCA
    from pellucid.interpret.projection.tsne import TSNE
    from pellucid.interpret.projection.umap import UMAP

_HOMES = {
    "PCA": "pca",
    "TSNE": "tsne",
    "UMAP": "umap",
    "explain_clusters": "clusters",
    "read_layer": "layers",
}

__all__ = ["PCA", "TSNE", "UMAP", "explain_clusters", "read_layer"]


def __getattr__(name: str) -> Any:
    # Loaded when first used: they bring torch and scikit-learn.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
