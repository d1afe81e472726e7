"""t-SNE: exact on the device, or by scikit-learn's or openTSNE's approximations.

Every pair of points pushes, in chunks of rows, so that memory is bounded by the chunk; points are
pulled by three times as many neighbours as the perplexity, as in every approximation of it.
"""

from __future__ import annotations

import importlib.util
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError, MissingDependencyError
from pellucid.interpret.inputs import is_real
from pellucid.interpret.projection.features import Projector, as_array, read_features
from pellucid.interpret.projection.fuzzy import Graph, both_ways
from pellucid.interpret.projection.neighbors import nearest
from pellucid.interpret.projection.pca import pca
from pellucid.interpret.projection.space import Neighbors, Space, check_metric

_EXAGGERATION, _EARLY, _LATE = 12.0, 250, 500  # as in openTSNE (Belkina and others 2019)
_CHUNK = 8 * 2**20  # bytes of the pairs that are held at once: what a cache holds
_MANY = {"cpu": 4000, "cuda": 200_000}  # samples up to which all pairs are quick
_HALVINGS = 60
BACKENDS = ("auto", "torch", "scikit-learn", "openTSNE")


class TSNE(Projector):
    """t-SNE: a map that keeps near what is near, and says little of what is far.

    Parameters
    ----------
    n_components
        The dimensions of the map.
    perplexity
        Roughly how many neighbours each point looks at; less than a third of the samples.
    metric
        ``"euclidean"``, ``"cosine"`` or ``"correlation"``.
    backend
        ``"torch"``: ours, all pairs, on the device. ``"scikit-learn"`` and ``"openTSNE"`` (if
        installed) approximate on the CPU. ``"auto"``: ours up to 4,000 samples (200,000 on a GPU),
        then openTSNE, or else scikit-learn.
    random_state
        The seed.
    device
        ``"auto"`` is where the data are.

    Attributes
    ----------
    embedding_
        Shape (samples, n_components), float32.
    backend_
        Which of them it was.
    kl_divergence_
        What was minimized, at the end; None where the backend does not say.
    neighbors_
        The neighbours that pull, with their recall; None where the backend looked for its own.

    References
    ----------
    van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 9, 2008. Belkina and others,
    "Automated optimized parameters for T-distributed stochastic neighbor embedding", 2019.
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        perplexity: float = 30.0,
        metric: str = "euclidean",
        backend: str = "auto",
        random_state: int = 0,
        device: Any = "auto",
    ) -> None:
        self.n_components = n_components
        self.perplexity = perplexity
        self.metric = metric
        self.backend = backend
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any = None, *, neighbors: Neighbors | None = None) -> Self:  # noqa: N803
        """Make a map of samples.

        Parameters
        ----------
        X
            Shape (samples, features).
        y
            Not used: scikit-learn's interface has it.
        neighbors
            The nearest neighbours, where they are known already: three times the perplexity, or
            they are looked for again. Other back-ends look for their own.

        Raises
        ------
        InputError
            If the perplexity is not less than a third of the samples, or another argument is out
            of its range.
        MissingDependencyError
            If openTSNE is asked for and not installed.
        """
        dimensions = self._components()
        features = read_features(X, self.device)
        check_metric(self.metric)
        check_perplexity(self.perplexity, len(features))
        self.backend_ = backend_for(features, dimensions, self.backend)
        self.n_features_in_ = features.shape[1]
        self.kl_divergence_: float | None = None
        self.neighbors_: Neighbors | None = None
        start = pca(features, dimensions, self.random_state).coordinates(features).float()
        spread = start[:, :1].std().clamp_min(torch.finfo(torch.float32).tiny)
        generator = torch.Generator().manual_seed(self.random_state)
        # Points with the same features must be able to part.
        jitter = 1e-2 * torch.randn(start.shape, generator=generator).to(start.device)
        start = 1e-4 * (start / spread + jitter)
        if self.backend_ == "torch":
            self.embedding_ = self._ours(features, start, neighbors)
        else:
            given = features.float().cpu().numpy()
            fit = _scikit_learn if self.backend_ == "scikit-learn" else _open_tsne
            self.embedding_, self.kl_divergence_ = fit(self, given, start.cpu().numpy())
        return self

    def _ours(self, features: Tensor, start: Tensor, found: Neighbors | None) -> np.ndarray:
        k = min(len(features) - 1, pulling(self.perplexity))
        if found is None or found.indices.shape[1] < k:
            found = nearest(Space(features, self.metric), k, seed=self.random_state)
        self.neighbors_ = found.first(k)
        places, divergence = descend(start, affinities(self.neighbors_, self.perplexity))
        self.kl_divergence_ = divergence
        return as_array(places)


def backend_for(features: Tensor, dimensions: int, backend: str) -> str:
    """Return the back-end that makes a map of the features."""
    if backend not in BACKENDS:
        raise InputError(f"backend={backend!r}; there are {', '.join(map(repr, BACKENDS))}")
    there = importlib.util.find_spec("openTSNE") is not None
    if backend == "openTSNE" and not there:
        raise MissingDependencyError(
            "backend='openTSNE' needs openTSNE: pip install openTSNE; or leave backend out"
        )
    if backend != "auto":
        return backend
    if len(features) <= _MANY.get(features.device.type, _MANY["cpu"]):
        return "torch"
    return "openTSNE" if there and dimensions == 2 else "scikit-learn"


def check_perplexity(perplexity: float, n: int) -> None:
    """Raise an `InputError` unless there are more than three times as many samples."""
    if not is_real(perplexity) or not 1 <= perplexity < n / 3:
        raise InputError(
            f"perplexity={perplexity!r} with {n} samples; give a number from 1 to less than a "
            "third of them"
        )


def pulling(perplexity: float) -> int:
    """Return how many nearest neighbours pull a point."""
    return int(3 * perplexity)


def affinities(found: Neighbors, perplexity: float) -> Graph:
    """Return the joint probabilities of pairs: of each point's Gaussian, with the perplexity.

    Returns
    -------
    Graph
        Symmetric, its weights adding up to 1.
    """
    squares = found.distances.double().square()
    squares = squares - squares[:, :1]
    scale = squares.mean(1).clamp_min(1e-300)
    squares = squares / scale[:, None]
    low = torch.zeros_like(scale)
    high = torch.full_like(scale, torch.inf)
    precision = torch.ones_like(scale)
    target = float(np.log(perplexity))
    for _ in range(_HALVINGS):
        shares = torch.softmax(-squares * precision[:, None], 1)
        entropy = -(shares * shares.clamp_min(1e-300).log()).sum(1)
        wide = entropy > target
        low = torch.where(wide, precision, low)
        high = torch.where(wide, high, precision)
        precision = torch.where(torch.isinf(high), 2 * precision, (low + high) / 2)
    shares = torch.softmax(-squares * precision[:, None], 1).float()
    graph, back = both_ways(found.indices, shares)
    return Graph(graph.rows, graph.columns, (graph.weights + back) / (2 * len(graph)))


def descend(start: Tensor, graph: Graph) -> tuple[Tensor, float]:
    """Return the map of the affinities, and its divergence from them (Kullback and Leibler)."""
    places = start.clone()
    n = len(places)
    rate = max(n / _EXAGGERATION, 50.0)
    speed, gain = torch.zeros_like(places), torch.ones_like(places)
    heads = graph.heads
    for step in range(_EARLY + _LATE):
        early = step < _EARLY
        pull, push, total, _ = _forces(places, graph, heads)
        gradient = 4 * (pull * (_EXAGGERATION if early else 1.0) - push / total)
        against = (gradient > 0) == (speed > 0)
        gain = torch.where(against, gain * 0.8, gain + 0.2).clamp_min_(0.01)
        speed = (0.5 if early else 0.8) * speed - rate * gain * gradient
        places = places + speed
        places = places - places.mean(0)
    _, _, total, near = _forces(places, graph, heads)
    weights = graph.weights.clamp_min(1e-30)
    divergence = (weights * (weights.log() - near.log() + total.log())).sum()
    return places, float(divergence)


def _forces(places: Tensor, graph: Graph, heads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return pulls and pushes, the sum of all pairs' nearness, and that of the edges."""
    axes = places.T.contiguous().unbind()
    apart = [axis.index_select(0, heads) - axis.index_select(0, graph.columns) for axis in axes]
    squares = apart[0].square()
    for part in apart[1:]:
        squares = squares + part.square()
    near = 1 / (1 + squares)
    table = torch.cat([torch.ones_like(places[:, :1]), places], 1)
    sums = graph.sums(graph.weights * near, table)
    pull = sums[:, :1] * places - sums[:, 1:]
    pushes, totals = [], []
    norms = places.square().sum(1)
    for rows in torch.split(places, max(16, _CHUNK // (4 * len(places)))):
        pairs = torch.addmm(norms + 1, rows, places.T, alpha=-2).add_(rows.square().sum(1)[:, None])
        pairs = pairs.clamp_min_(1.0).reciprocal_()
        totals.append(pairs.sum())
        sums = pairs.square_() @ table
        pushes.append(sums[:, :1] * rows - sums[:, 1:])
    # Each point is as near to itself as can be, and no pair.
    return pull, torch.cat(pushes), torch.stack(totals).sum() - len(places), near


def _scikit_learn(
    settings: TSNE, features: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, float | None]:
    from sklearn import manifold

    theirs = manifold.TSNE(
        settings.n_components,
        perplexity=settings.perplexity,
        metric=settings.metric,
        init=start,
        random_state=settings.random_state,
        method="barnes_hut" if settings.n_components < 4 else "exact",
    )
    found = theirs.fit_transform(features)
    return found.astype(np.float32), float(theirs.kl_divergence_)


def _open_tsne(
    settings: TSNE, features: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, float | None]:
    import openTSNE

    theirs = openTSNE.TSNE(
        settings.n_components,
        perplexity=settings.perplexity,
        metric=settings.metric,
        initialization=start,
        random_state=settings.random_state,
    )
    found = theirs.fit(features)
    return np.asarray(found, dtype=np.float32), float(found.kl_divergence)
