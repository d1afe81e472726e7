"""`project`: a map of the samples, and how far to trust it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.inputs import check_finite, is_real, is_whole
from pellucid.interpret.models import Model
from pellucid.interpret.projection import references
from pellucid.interpret.projection.described import read_ids, read_labels, read_pictures
from pellucid.interpret.projection.features import known, read_features
from pellucid.interpret.projection.layers import read_layer
from pellucid.interpret.projection.neighbors import nearest
from pellucid.interpret.projection.pca import pca
from pellucid.interpret.projection.quality import Faithfulness, faithfulness, purity
from pellucid.interpret.projection.space import METRICS, Neighbors, Space, check_metric
from pellucid.interpret.projection.stability import stability as measure_stability
from pellucid.interpret.projection.tsne import TSNE, backend_for, check_perplexity, pulling
from pellucid.interpret.projection.umap import UMAP
from pellucid.interpret.results import Projection, Provenance

_METHODS = ("pca", "tsne", "umap")
_FEW = 50  # samples below which a map of neighbourhoods says little


def project(
    features_or_model: Any,
    inputs: Any = None,
    *,
    method: str = "auto",
    at: str | None = None,
    dimensions: int = 2,
    neighbors: int = 15,
    min_dist: float = 0.1,
    spread: float = 1.0,
    perplexity: float = 30.0,
    metric: str = "euclidean",
    backend: str = "auto",
    labels: Any = None,
    supervised: bool = False,
    near: Any = None,
    seeds: int = 0,
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    sample_ids: Sequence[Any] | np.ndarray | None = None,
    display: Any = None,
    device: Any = "auto",
    batch_size: int | str = "auto",
    seed: int = 0,
    progress: bool | None = None,
    **options: Any,
) -> Projection:
    """Draw samples as points on a map, and measure how faithful the map is.

    Parameters
    ----------
    features_or_model
        Features, shape (samples, ...), flattened: an array, a data frame, or a `Dataset`, which
        brings its labels and names along; or a `torch.nn.Module`, whose layer `at` is read while
        it sees `inputs`.
    inputs
        What the model sees; None where features are given.
    method
        ``"umap"`` (neighbourhoods, and some of the global shape), ``"tsne"`` (more of the
        neighbourhoods, less of the shape), ``"pca"`` (directions of largest variance), or
        ``"auto"``: UMAP, but PCA for fewer than 50 samples.
    at
        The layer to read, by its path in the model.
    dimensions
        2 or 3.
    neighbors
        How many nearest neighbours UMAP looks at, and the measures of trust.
    min_dist, spread
        How near UMAP may put points to each other, and how far it spreads them.
    perplexity
        Of t-SNE: roughly how many neighbours each point looks at.
    metric
        ``"euclidean"``, ``"cosine"`` or ``"correlation"``; umap-learn has others.
    backend
        ``"auto"``: ours, in torch, on the device of the data (t-SNE of many samples on a CPU:
        openTSNE or scikit-learn). ``"umap-learn"`` and ``"cuml"`` for UMAP, ``"scikit-learn"`` and
        ``"openTSNE"`` for t-SNE.
    labels
        The class of each sample: indices or names. It colours the map; it does not shape it.
    supervised
        Whether the labels shape the map (UMAP), and so show themselves where the features may not.
    near
        An earlier `Projection` of the same samples, or its coordinates: the points start there, and
        are held near (UMAP), so that maps of several moments can be compared.
    seeds
        How many more maps to make with other seeds, to say how much of this one is chance.
    class_names, feature_names, sample_ids
        Names for the classes, the features and the samples.
    display
        A picture of each sample, shape (samples, rows, columns[, 3]) or (samples, 1 or 3, rows,
        columns).
    device, batch_size, seed, progress
        As for `pellucid.explain`.
    options
        Further arguments of umap-learn's or cuML's UMAP, such as ``densmap=True``.

    Returns
    -------
    Projection
        Coordinates, and how much of the neighbourhoods they keep, point by point.

    Raises
    ------
    InputError, InputTypeError
        If an argument cannot be worked with: an unknown layer, NaN, fewer samples than neighbours.
    MissingDependencyError
        If the backend is not installed.
    """
    made = _Map(
        method, dimensions, neighbors, min_dist, spread, perplexity, metric, backend, options
    )
    if not is_whole(seed) or not 0 <= seed < 2**32:
        raise InputError(f"seed={seed!r}; give a whole number from 0 to 2**32 - 1")
    if not is_whole(seeds) or seeds < 0:
        raise InputError(f"seeds={seeds!r}; give the number of further maps, 0 for none")
    # A dataset brings its labels and names along, a frame the names of its columns.
    where = "input"
    if isinstance(features_or_model, torch.nn.Module):
        given, name, where = inputs, Model(features_or_model).name, str(at)
        features = read_layer(
            features_or_model, inputs, at,
            device=device, batch_size=batch_size, seed=seed, progress=progress,
        )  # fmt: skip
    else:
        if inputs is not None or at is not None:
            raise InputTypeError(
                f"the first argument is a {type(features_or_model).__name__}, taken as features; "
                "inputs and at go with a torch.nn.Module"
            )
        given, name = features_or_model, "features"
        features = read_features(given, device)
        if feature_names is None:
            feature_names = _feature_names(given, features.shape[1])
    labels = known(given, "targets") if labels is None else labels
    class_names = known(given, "class_names") if class_names is None else class_names
    sample_ids = known(given, "sample_ids") if sample_ids is None else sample_ids
    n, width = features.shape
    if n < 4:
        raise InputError(
            f"a map of {n} {'sample' if n == 1 else 'samples'} says nothing; give at least 4"
        )
    check_finite(features, f"the features at {where}")
    if bool((features == features[0]).all()):
        raise InputError(f"the features at {where} are the same for all samples: there is no map")
    index, names = read_labels(_classes(labels), class_names, n)
    if supervised and index is None:
        raise InputError("supervised=True lets the labels shape the map; give labels")
    chosen = made.method_for(n, width)
    # The measures are defined for fewer neighbours than half of the samples.
    compared = min(neighbors, (n - 1) // 2)
    metric_known = metric if metric in METRICS else "euclidean"
    space = Space(features, metric_known)
    found = nearest(space, min(made.looked_at(features, chosen), n - 1), seed=seed)
    shaped = made.make(features, chosen, space, found, index if supervised else None, near, seed)
    places = shaped.places.to(features.device)
    trust = faithfulness(
        features, places, compared, space=space, found=found, metric=metric_known, seed=seed
    )
    moved = disparity = None
    if seeds and chosen != "pca":
        moved, disparity = measure_stability(
            lambda other: made.make(
                features, chosen, space, found, index if supervised else None, near, other
            ).places.numpy(),
            shaped.places.numpy(),
            range(seed + 1, seed + 1 + seeds),
        )
    return Projection(
        coordinates=shaped.places.numpy(),
        method=chosen,
        neighbors=compared,
        features=width,
        explained_variance_ratio=shaped.shares,
        loadings=shaped.loadings,
        nearest=found.indices[:, :compared].cpu().numpy().astype(np.int32),
        recall=found.recall,
        moved=moved,
        disparity=disparity,
        labels=index,
        class_names=names,
        feature_names=None if feature_names is None else tuple(map(str, feature_names)),
        sample_ids=read_ids(sample_ids, n),
        display=read_pictures(display, n),
        at=where,
        settings={
            "method": method if method == "auto" else chosen,
            **shaped.settings,
            **({"supervised": True} if supervised else {}),
            **({"near": "an earlier map"} if near is not None else {}),
            **({"measured": "euclidean"} if metric_known != metric else {}),
        },
        provenance=Provenance(
            model=name, device=str(features.device), seed=None if chosen == "pca" else seed
        ),
        **_measures(trust),
        **_purity(index, found.indices[:, :compared], trust.shown),
    )


@dataclass(frozen=True)
class _Shaped:
    """A map, and what its method says of it."""

    places: Tensor  # on the CPU, float32
    settings: dict[str, Any]
    shares: np.ndarray | None = None
    loadings: np.ndarray | None = None


@dataclass(frozen=True)
class _Map:
    """How a map is made, checked."""

    method: str
    dimensions: int
    neighbors: int
    min_dist: float
    spread: float
    perplexity: float
    metric: str
    backend: str
    options: dict[str, Any]

    def __post_init__(self) -> None:
        if self.method not in ("auto", *_METHODS):
            raise InputError(
                f"method={self.method!r} is not known; use 'auto', 'pca', 'tsne' or 'umap'"
            )
        if self.dimensions not in (2, 3):
            raise InputError(f"dimensions={self.dimensions!r}; a map has 2 or 3")
        if not is_whole(self.neighbors) or self.neighbors < 2:
            raise InputError(f"neighbors={self.neighbors!r}; give a whole number from 2")
        if not is_real(self.min_dist) or not 0 <= self.min_dist <= 1:
            raise InputError(f"min_dist={self.min_dist!r}; give a number from 0 to 1")
        known = ("auto", "torch", *references.BACKENDS, "scikit-learn", "openTSNE")
        if self.backend not in known:
            raise InputError(f"backend={self.backend!r}; there are {', '.join(map(repr, known))}")
        foreign = self.backend in references.BACKENDS
        if self.options and not foreign:
            raise InputError(
                f"project takes no {min(self.options)!r}; further options go to "
                "backend='umap-learn' or 'cuml'"
            )
        if not foreign:
            check_metric(self.metric, "backend='umap-learn' has others")

    def method_for(self, n: int, width: int) -> str:
        """Return the method for so many samples, or say why it cannot be."""
        chosen = ("umap" if n >= _FEW else "pca") if self.method == "auto" else self.method
        if chosen == "umap" and n <= self.neighbors:
            raise InputError(
                f"UMAP with neighbors={self.neighbors} needs more than {self.neighbors} samples, "
                f"got {n}; give fewer neighbors, or method='pca'"
            )
        if chosen == "pca" and width < self.dimensions:
            raise InputError(f"{width} feature gives no map of {self.dimensions} dimensions")
        fitting = {"umap": references.BACKENDS, "tsne": ("scikit-learn", "openTSNE")}
        if self.backend not in ("auto", "torch", *fitting.get(chosen, ())):
            raise InputError(f"backend={self.backend!r} does not make maps with {chosen}")
        return chosen

    def looked_at(self, features: Tensor, chosen: str) -> int:
        """Return how many nearest neighbours the map and its measures look at."""
        most = max(self.neighbors, 2)
        if chosen == "tsne":
            check_perplexity(self.perplexity, len(features))
            backend = backend_for(features, self.dimensions, self.backend)
            most = max(most, pulling(self.perplexity)) if backend == "torch" else most
        return most

    def make(
        self,
        features: Tensor,
        chosen: str,
        space: Space,
        found: Neighbors,
        labels: np.ndarray | None,
        near: Any,
        seed: int,
    ) -> _Shaped:
        """Make the map."""
        if near is not None and (chosen != "umap" or self.backend in references.BACKENDS):
            raise InputError("near goes with method='umap' and our own backend")
        if chosen == "pca":
            directions = pca(features, self.dimensions, seed)
            places = directions.coordinates(features).float().cpu()
            return _Shaped(
                places, {}, directions.shares.cpu().numpy(), directions.directions.cpu().numpy()
            )
        if chosen == "tsne":
            theirs = TSNE(
                self.dimensions,
                perplexity=self.perplexity,
                metric=self.metric,
                backend=self.backend,
                random_state=seed,
            ).fit(features, neighbors=found)
            settings = {"perplexity": self.perplexity, "backend": theirs.backend_}
            return _Shaped(torch.from_numpy(theirs.embedding_), settings | self._metric())
        settings = {"neighbors": self.neighbors, "min_dist": self.min_dist} | self._metric()
        settings |= {} if self.spread == 1 else {"spread": self.spread}
        if self.backend in references.BACKENDS:
            given = references.reference_umap(
                features.float().cpu().numpy(),
                self.backend,
                dimensions=self.dimensions,
                neighbors=self.neighbors,
                min_dist=self.min_dist,
                spread=self.spread,
                metric=self.metric,
                seed=seed,
                labels=labels,
                options=self.options,
            )
            settings |= {"backend": self.backend} | self.options
            return _Shaped(torch.from_numpy(given), settings)
        ours = UMAP(
            self.dimensions,
            n_neighbors=self.neighbors,
            min_dist=self.min_dist,
            spread=self.spread,
            metric=self.metric,
            random_state=seed,
        ).fit(
            features, labels, neighbors=found, space=space, near=getattr(near, "coordinates", near)
        )
        return _Shaped(torch.from_numpy(ours.embedding_), settings | {"backend": "torch"})

    def _metric(self) -> dict[str, Any]:
        return {} if self.metric == "euclidean" else {"metric": self.metric}


def _measures(trust: Faithfulness) -> dict[str, Any]:
    return {
        "preservation": trust.preservation.cpu().numpy(),
        "trustworthiness": trust.trustworthiness.cpu().numpy(),
        "continuity": trust.continuity.cpu().numpy(),
        "measures": {name: values.cpu().numpy() for name, values in trust.measures.items()},
        "triplets": trust.triplets,
    }


def _purity(labels: np.ndarray | None, there: Tensor, here: Tensor) -> dict[str, Any]:
    if labels is None:
        return {}
    index = torch.from_numpy(labels).to(there.device)
    return {
        name: purity(index, near).cpu().numpy()
        for name, near in (("purity", there), ("map_purity", here))
    }


def _feature_names(given: Any, width: int) -> Sequence[str] | None:
    names = known(given, "feature_names")
    columns = getattr(known(given, "inputs", given), "columns", None)
    names = columns if names is None else names
    return names if names is not None and len(names) == width else None


def _classes(labels: Any) -> Any:
    """Return labels that are classes; a regression's targets, which a dataset brings, are none."""
    kind = getattr(labels, "dtype", None)
    return None if isinstance(kind, np.dtype) and kind.kind == "f" else labels
