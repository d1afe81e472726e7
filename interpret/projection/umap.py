"""UMAP in torch: the fuzzy graph of McInnes, Healy and Melville (2018), and our own layout."""

from __future__ import annotations

import math
import warnings
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError
from pellucid.interpret.inputs import is_real, is_whole
from pellucid.interpret.projection.described import read_labels
from pellucid.interpret.projection.features import Projector, as_array, read_features
from pellucid.interpret.projection.fuzzy import Graph, by_label, fuzzy_graph, gathered, memberships
from pellucid.interpret.projection.neighbors import nearest
from pellucid.interpret.projection.pca import pca
from pellucid.interpret.projection.relax import Anchor, Curve, relax, settle
from pellucid.interpret.projection.space import Neighbors, Space, check_metric, exact, spread

_SEEN = 8192  # samples that the start's directions are found from
_DIFFUSIONS = 30
_EXTENT = 10.0  # of the start, from the middle, as in umap-learn
_JITTER = 1e-4  # of it: points with the same features must be able to part
_EPOCHS = (80, 400)  # the fewest, for many samples, and the most
_MOVES = 1_600_000  # of samples: how many epochs there are between the two
_BLOCK = 256  # new points that are placed at once, always: their number must not show
_USUAL = 0.95
_FAR = 3.0  # times the usual distance: a sample that is like none of the map's


class UMAP(Projector):
    """UMAP, computed on the device of the data.

    Graph, curve, `n_neighbors`, `min_dist`, `spread` and the weight of labels are umap-learn's. The
    layout is not: it takes every edge in expectation where umap-learn draws edges, and starts from
    principal components smoothed over the graph where umap-learn starts from its eigenvectors. Maps
    are a little more compact, seeds change them far less, no point is thrown off the map, and new
    points are placed without regard to each other. What it lacks: densMAP and metrics other than
    three; for these, and for umap-learn's own maps, there is ``backend="umap-learn"`` of
    `pellucid.project`.

    Parameters
    ----------
    n_components
        The dimensions of the map.
    n_neighbors
        How many neighbours, itself among them, each point holds on to.
    min_dist, spread
        How near points of the map may be, and how far it spreads, as in umap-learn.
    metric
        ``"euclidean"``, ``"cosine"`` or ``"correlation"``.
    epochs
        Of the layout; None for 400 up to 4,000 samples, falling to 80 at 20,000 and more.
    target_weight
        With labels, from 0 (they do not matter) to 1 (only they do).
    recall
        The share of the nearest neighbours that is to be found at least.
    random_state
        The seed. The same seed gives the same map, bit for bit on one CPU.
    device
        ``"auto"`` is where the data are.

    Attributes
    ----------
    embedding_
        Shape (samples, n_components), float32.
    neighbors_
        The neighbours that the map was made from, with their recall.
    graph_
        Their fuzzy graph.

    References
    ----------
    McInnes, Healy and Melville, "UMAP: Uniform Manifold Approximation and Projection for Dimension
    Reduction", 2018, arXiv:1802.03426.
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        n_neighbors: int = 15,
        min_dist: float = 0.1,
        spread: float = 1.0,
        metric: str = "euclidean",
        epochs: int | None = None,
        target_weight: float = 0.5,
        recall: float = 0.98,
        random_state: int = 0,
        device: Any = "auto",
    ) -> None:
        self.n_components = n_components
        self.n_neighbors = n_neighbors
        self.min_dist = min_dist
        self.spread = spread
        self.metric = metric
        self.epochs = epochs
        self.target_weight = target_weight
        self.recall = recall
        self.random_state = random_state
        self.device = device

    def fit(
        self,
        X: Any,  # noqa: N803
        y: Any = None,
        *,
        neighbors: Neighbors | None = None,
        space: Space | None = None,
        near: Any = None,
        strength: float = 0.1,
    ) -> Self:
        """Make a map of samples.

        Parameters
        ----------
        X
            Shape (samples, features).
        y
            Labels, which then shape the map: integers, -1 where not known. None for a map of the
            features alone.
        neighbors
            The nearest neighbours, where they are known already.
        space
            The samples prepared for the metric, where they are already: it spares a copy.
        near
            An earlier map of the same samples, shape (samples, n_components), NaN where a sample
            was not on it: points start from there and are held near, so that maps of one model at
            several moments can be compared.
        strength
            By how much they are held, beside edges of weight 1.

        Raises
        ------
        InputError
            If an argument is out of its range, or there are not more samples than `n_neighbors`.
        """
        dimensions = self._components()
        features = read_features(X, self.device)
        n = len(features)
        self._check(n)
        self._where = features.device
        self._space = Space(features, self.metric) if space is None else space
        # What is the caller's may change.
        self._features = None if self.metric == "euclidean" else features.clone()
        k = self.n_neighbors - 1
        if neighbors is None or neighbors.indices.shape[1] < k:
            neighbors = nearest(self._space, k, recall=self.recall, seed=self.random_state)
        neighbors = neighbors.first(k)
        graph = fuzzy_graph(neighbors, self.n_neighbors)
        if y is not None:
            labels, _ = read_labels(y, None, n)
            assert labels is not None
            known = torch.from_numpy(labels).to(features.device)
            graph = by_label(graph, known, self.target_weight)
        anchor = None
        start = self._start(features, graph, dimensions)
        if near is not None:
            anchor = Anchor(self._earlier(near, start), strength)
            known = torch.isfinite(anchor.places).all(1, keepdim=True)
            start = torch.where(known, torch.nan_to_num(anchor.places), start)
        self._curve = Curve.fitted(self.min_dist, self.spread)
        epochs = self.epochs or max(_EPOCHS[0], min(_EPOCHS[1], _MOVES // n))
        places = relax(
            start, graph, self._curve, epochs=epochs, seed=self.random_state, anchor=anchor
        )
        self.neighbors_, self.graph_ = neighbors, graph
        self.n_features_in_ = features.shape[1]
        self.embedding_ = as_array(places)
        self._places, self._epochs = places, max(30, epochs // 3)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Place new samples on the map, each without regard to the others placed with it.

        Parameters
        ----------
        X
            Shape (samples, features).

        Returns
        -------
        numpy.ndarray
            Shape (samples, n_components). Where a sample stands does not depend, to the bit, on
            what else is placed in the same call.

        Warns
        -----
        UserWarning
            If samples are far from all of the map's (`outlying` says which).
        """
        places, far = self._place(X)
        strangers = int((far > _FAR).sum())
        if strangers:
            warnings.warn(
                f"{strangers} of {len(far)} new samples are far from all samples of the map: where "
                "they are placed says nothing (UMAP.outlying says which they are)",
                stacklevel=3,  # beyond scikit-learn's own wrapper
            )
        return places

    def inverse_transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the features that samples at some places of the map would have.

        They are means of the features of the nearest samples on the map, weighted as the graph
        weighs neighbours: what is usual there, not a sample that `transform` would put there to
        the point. umap-learn's method of this name optimizes such a start further.

        Parameters
        ----------
        X
            Places, shape (places, n_components).

        Returns
        -------
        numpy.ndarray
            Shape (places, features).
        """
        places = self._new(X, self.n_components).float()
        here = Space(self._places)
        k = min(self.n_neighbors, len(here))
        found = []
        for part in torch.split(places, _BLOCK):
            near = exact(here, here.prepare(part), k)
            held, _, _ = memberships(near.distances, self.n_neighbors)
            shares = (held / held.sum(1, keepdim=True)).flatten()
            starts = torch.arange(0, len(shares), k, device=shares.device)
            if self._features is None:
                mean = gathered(near.indices.flatten(), starts, shares, self._space.points)
                found.append(self._space.restored(mean).float())
            else:
                table = self._features.float()
                found.append(gathered(near.indices.flatten(), starts, shares, table))
        return as_array(torch.cat(found))

    def outlying(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return how far new samples are from the map's, as a multiple of what is usual there.

        Parameters
        ----------
        X
            Shape (samples, features).

        Returns
        -------
        numpy.ndarray
            Shape (samples,): the distance to the nearest sample of the map, over the 95th
            percentile of that distance among the map's own samples. A sample beyond 3 is far from
            everything, and its place on the map says nothing.
        """
        return self._place(X, lay=False)[1]

    def _place(self, given: Any, lay: bool = True) -> tuple[np.ndarray, np.ndarray]:
        features = self._new(given)
        space = self._space
        k = min(self.n_neighbors, len(space))
        first = self.neighbors_.distances[:, 0]
        # Copies of a sample say nothing of how far apart samples are.
        first = first[first > 0] if bool((first > 0).any()) else first + 1
        usual = first.kthvalue(math.ceil(_USUAL * len(first))).values
        places, far = [], []
        for part in torch.split(features, _BLOCK):
            # Always as many rows: a product of matrices rounds by their shape.
            padded = torch.cat([part, part[-1:].expand(_BLOCK - len(part), -1)])
            found = exact(space, space.prepare(padded), k)
            far.append((found.distances[:, 0] / usual.clamp_min(1e-30))[: len(part)])
            if lay:
                held, _, _ = memberships(found.distances, self.n_neighbors)
                shares = held / held.sum(1, keepdim=True)
                start = (self._places[found.indices] * shares[..., None]).sum(1)
                placed = settle(
                    start,
                    self._places,
                    found.indices,
                    held,
                    self._curve,
                    epochs=self._epochs,
                    seed=self.random_state,
                )
                places.append(placed[: len(part)])
        laid = as_array(torch.cat(places)) if lay else np.zeros((0, 0), np.float32)
        return laid, as_array(torch.cat(far))

    def _check(self, n: int) -> None:
        if not is_whole(self.n_neighbors) or self.n_neighbors < 2:
            raise InputError(f"n_neighbors={self.n_neighbors!r}; give a whole number from 2")
        if n <= self.n_neighbors:
            raise InputError(
                f"UMAP with n_neighbors={self.n_neighbors} needs more than {self.n_neighbors} "
                f"samples, got {n}; give fewer neighbours, or use PCA"
            )
        check_metric(self.metric, "umap-learn has others")
        for name, low, high in (("min_dist", 0, self.spread), ("target_weight", 0, 1)):
            value = getattr(self, name)
            if not is_real(value) or not low <= value <= high:
                raise InputError(f"{name}={value!r}; give a number from {low} to {high:g}")
        if not is_real(self.spread) or self.spread <= 0:
            raise InputError(f"spread={self.spread!r}; give a number above 0")
        if self.epochs is not None and (not is_whole(self.epochs) or self.epochs < 1):
            raise InputError(f"epochs={self.epochs!r}; give a whole number from 1, or None")

    def _start(self, features: Tensor, graph: Graph, dimensions: int) -> Tensor:
        """Return principal components, smoothed over the graph."""
        found = pca(spread(features, _SEEN), dimensions, self.random_state)
        places = found.coordinates(features).float()
        degrees = graph.degrees[:, None].clamp_min(1e-12)
        for _ in range(_DIFFUSIONS):
            places = (places + graph.sums(graph.weights, places) / degrees) / 2
        places = places - places.mean(0)
        places = places * (_EXTENT / places.abs().max().clamp_min(1e-30))
        generator = torch.Generator().manual_seed(self.random_state)
        jitter = torch.randn(places.shape, generator=generator, dtype=places.dtype) * _JITTER
        return places + jitter.to(places.device)

    def _earlier(self, near: Any, like: Tensor) -> Tensor:
        near = near.detach().cpu() if isinstance(near, Tensor) else near
        places = torch.as_tensor(np.array(near), dtype=torch.float32)
        if places.shape != like.shape:
            raise InputError(
                f"near has shape {tuple(places.shape)}; an earlier map of these samples has "
                f"{tuple(like.shape)}"
            )
        return places.to(like.device)
