"""`explain_clusters`: what sets groups of a map apart, and whether they are more than the map's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.inputs import is_whole
from pellucid.interpret.projection.chosen import Chosen, by_hdbscan, by_labels, selection
from pellucid.interpret.projection.features import read_features
from pellucid.interpret.projection.gaps import UNKNOWN, find_gap
from pellucid.interpret.projection.neighbors import nearest
from pellucid.interpret.projection.pca import pca
from pellucid.interpret.projection.probe import accuracies
from pellucid.interpret.projection.space import Space
from pellucid.interpret.results import Explanation, Projection, Provenance
from pellucid.interpret.results.clusters import Cluster, Clusters

_LEVEL = 0.05  # 1 - the confidence that all intervals of a cluster hold together
_PATCHES, _STEP = 3, 1.25  # of the map, in sizes that grow by this factor
_WIDE = 256  # features beyond which the gap is looked for among principal components
_PART = 2000  # samples that those are found from
_REFERENCES = 1000  # members that a member's mean distance is taken over
_CHUNK = 2048
_FEWEST = 10  # samples on either side for the probe


def explain_clusters(
    projection: Projection,
    features: Any,
    *,
    select: Any = None,
    labels: Any = None,
    method: str = "hdbscan",
    min_size: int | None = None,
    explanation: Explanation | None = None,
    feature_names: Sequence[str] | None = None,
    typical: int = 5,
    seed: int = 0,
) -> Clusters:
    """Say what sets clusters of a map apart, and whether they are real or the map's doing.

    A map may tear one even cloud into islands. Whether a cluster is real is looked for where the
    map was made from, among the features: a real one has a gap around it, where held-out samples
    are fewer than on both sides of it; a slice of a cloud has none (`Cluster.verdict` states the
    rule). The accuracy of a linear probe is reported beside that of patches of the map about
    as large, but does not decide: the cluster was chosen by the same features, and every slice of a
    cloud can be cut off straight.

    Gaps are looked for on a straight line between neighbouring parts. Where features have few
    different values, the steps between these are gaps too.

    Parameters
    ----------
    projection
        The result of `pellucid.project`.
    features
        What it was made of, shape (samples, ...), in the same order. For a layer of a model, what
        `pellucid.interpret.projection.read_layer` returns.
    select
        One cluster: a mask, shape (samples,), or the ids of its samples (positions, where ids are
        texts and whole numbers are given).
    labels
        All clusters: a whole number or a name for each sample, negative for none.
    method
        ``"hdbscan"``: clusters that scikit-learn's HDBSCAN finds on the map. Beyond 20,000 samples
        it sees so many, and the others go with the nearest of these.
    min_size
        The smallest cluster for it; None for a hundredth of the samples, at least 20.
    explanation
        Attributions at the input of the same samples, to compare members with the rest.
    feature_names
        None for those of the features or the projection.
    typical
        How many typical and atypical members to name.
    seed
        Of folds, patches and samples.

    Returns
    -------
    Clusters
        The time is bounded: a probe is fitted to at most 3,000 samples, drawn anew for each, and
        tells all others; directions across a border are fitted to at most 2,000 samples of two
        neighbouring parts, among 256 principal components where there are more features.

    Raises
    ------
    InputError
        If no cluster is found, one holds everything, a selection has fewer than three samples, or
        the samples are not those of the map.
    InputTypeError
        If an argument is of another type.
    """
    if not isinstance(projection, Projection):
        raise InputTypeError(
            f"explain_clusters explains a Projection, but was given a {type(projection).__name__}"
        )
    if not is_whole(typical) or typical < 1:
        raise InputError(f"typical={typical!r}; give a whole number from 1")
    if min_size is not None and (not is_whole(min_size) or min_size < 5):
        raise InputError(f"min_size={min_size!r}; give a whole number from 5, or None")
    if not is_whole(seed) or not 0 <= seed < 2**32:
        raise InputError(f"seed={seed!r}; give a whole number from 0 to 2**32 - 1")
    table = read_features(features).cpu().float().numpy()
    n, width = table.shape
    if len(projection) != n:
        raise InputError(
            f"the map has {len(projection)} samples and the features {n}; give the features of the "
            "same samples, in the same order"
        )
    places = np.asarray(projection.coordinates, dtype=np.float32)
    if not np.isfinite(places).all():
        raise InputError("the map has coordinates that are not finite")
    names = _names(feature_names, features, projection, width)
    values = None if explanation is None else _attributions(explanation, n, width)
    ids = np.arange(n) if projection.sample_ids is None else projection.sample_ids
    chosen, how = _chosen(select, labels, method, min_size, places, ids)

    inside = _Inside(projection, table, places)
    moments = _Moments(table)
    scaled = moments.scaled(table)
    narrow = _narrow(scaled, seed)
    patches = _Patches(scaled, places, seed)
    attributed = None if values is None else _Moments(values)
    clusters = []
    for k, (name, members) in enumerate(chosen):
        rng = np.random.default_rng([seed, k])
        mask = np.zeros(n, dtype=bool)
        mask[members] = True
        difference, margin = moments.standardized(members)
        found: dict[str, Any] = inside.purities(mask)
        if attributed is not None:
            found["attribution"], found["attribution_margin"] = attributed.plain(members)
        found |= _told(scaled, narrow, mask, patches, rng)
        order = members[_mean_distances(table[members], rng).argsort(kind="stable")]
        few = min(typical, max(1, len(order) // 2))
        clusters.append(
            Cluster(
                name=name,
                members=members,
                difference=difference,
                margin=margin,
                typical=order[:few],
                atypical=order[::-1][:few],
                **found,
            )
        )
    return Clusters(
        clusters=tuple(clusters),
        coordinates=places,
        feature_names=names,
        sample_ids=np.asarray(ids),
        neighbors=inside.neighbors,
        method=how,
        trust=projection.trust(),
        settings={"method": how, "min_size": min_size, "typical": typical},
        provenance=Provenance(model=projection.provenance.model, seed=seed),
    )


# -- what is given ---------------------------------------------------------------------------


def _chosen(
    select: Any,
    labels: Any,
    method: str,
    min_size: int | None,
    places: np.ndarray,
    ids: np.ndarray,
) -> tuple[Chosen, str]:
    if select is not None and labels is not None:
        raise InputTypeError("select is one cluster and labels are all of them; give one of both")
    if select is not None:
        return selection(select, ids), "selection"
    if labels is not None:
        return by_labels(labels, len(ids)), "labels"
    if method != "hdbscan":
        raise InputError(
            f"method={method!r} is not known; use 'hdbscan', or give clusters of your own as labels"
        )
    return by_hdbscan(places, min_size), "hdbscan"


def _names(
    given: Sequence[str] | None, features: Any, projection: Projection, width: int
) -> tuple[str, ...]:
    if given is not None and len(given) != width:
        raise InputError(f"there are {len(given)} feature_names for {width} features")
    columns = getattr(features, "columns", None)
    for names in (given, getattr(features, "feature_names", None), columns,
                  projection.feature_names):  # fmt: skip
        if names is not None and len(names) == width:
            return tuple(map(str, names))
    return tuple(f"feature {i}" for i in range(width))


def _attributions(explanation: Any, n: int, width: int) -> np.ndarray:
    """Return attributions as (samples, features), checked to be those of the same features."""
    if not isinstance(explanation, Explanation):
        raise InputTypeError(
            f"explanation is an Explanation, but was given a {type(explanation).__name__}"
        )
    values = explanation.values
    if not isinstance(values, np.ndarray) or "target" in tuple(explanation.axes or ()):
        raise InputError("the explanation has several inputs, places or targets; give one of one")
    if len(values) != n or values.size != n * width:
        raise InputError(
            f"the explanation has values of shape {values.shape}; expected one for each of "
            f"{width} features of the same {n} samples"
        )
    if not np.isfinite(values).all():
        raise InputError("the explanation has attributions that are not finite")
    return values.reshape(n, width)


# -- differences -----------------------------------------------------------------------------


class _Moments:
    """Sums of a table and of its squares, from which any part's and its rest's are had."""

    def __init__(self, table: np.ndarray) -> None:
        self._table = table
        self.mean = table.mean(0, dtype=np.float64)
        self._squares = self._centred(np.arange(len(table)))[1]

    def _centred(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return sums of the rows, less the mean of all, and of their squares."""
        sums, squares = np.zeros_like(self.mean), np.zeros_like(self.mean)
        for start in range(0, len(rows), _CHUNK):
            part = self._table[rows[start : start + _CHUNK]] - self.mean
            sums += part.sum(0)
            squares += (part**2).sum(0)
        return sums, squares

    def scaled(self, table: np.ndarray) -> np.ndarray:
        """Return the table with mean 0 and variance 1, float32; zeros where nothing varies."""
        deviation = np.sqrt(self._squares / len(table))
        scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 0)
        scaled: np.ndarray = table - self.mean.astype(np.float32)
        scaled *= scale.astype(np.float32)
        return scaled

    def _sides(self, members: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the difference of the means, and each side's sum of squared deviations."""
        m, r = len(members), len(self._table) - len(members)
        sums, squares = self._centred(members)
        # The sums of all are zero but for rounding: the rest's are those of the members, negated.
        inner = np.maximum(squares - sums**2 / m, 0)
        outer = np.maximum(self._squares - squares - sums**2 / r, 0)
        # What is left of a column of one value is rounding.
        tiny = 1e-12 * (self._squares + len(self._table) * self.mean**2)
        inner[inner <= tiny] = 0
        outer[outer <= tiny] = 0
        difference = sums / m + sums / r
        difference[self._squares <= tiny] = 0
        return difference, inner, outer

    def standardized(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return Cohen's d of each feature, and its simultaneous margin (Hedges and Olkin 1985)."""
        m, r = len(members), len(self._table) - len(members)
        difference, inner, outer = self._sides(members)
        deviation = np.sqrt((inner + outer) / max(1, m + r - 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            found = difference / deviation
        error = np.sqrt((m + r) / (m * r) + found**2 / (2 * (m + r)))
        return found, self._quantile(~np.isnan(found)) * error

    def plain(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the difference of the means, and its simultaneous margin by Welch's error."""
        m, r = len(members), len(self._table) - len(members)
        difference, inner, outer = self._sides(members)
        error = np.sqrt(inner / max(1, m - 1) / m + outer / max(1, r - 1) / r)
        return difference, self._quantile(np.ones(len(difference), dtype=bool)) * error

    @staticmethod
    def _quantile(tested: np.ndarray) -> float:
        return float(norm.isf(_LEVEL / 2 / max(1, int(tested.sum()))))


# -- members ---------------------------------------------------------------------------------


class _Inside:
    """The samples' neighbours in both spaces, to see how many of a cluster's are its own."""

    def __init__(self, projection: Projection, table: np.ndarray, places: np.ndarray) -> None:
        n = len(table)
        self.neighbors = max(1, min(projection.neighbors, n - 1))
        known = projection.nearest
        # Of a slice of a map, the neighbours are positions on the whole.
        whole = known is not None and known.shape[1] >= self.neighbors and known.max() < n
        metric = str(projection.settings.get("metric", "euclidean"))
        self._there = known[:, : self.neighbors] if whole else self._near(table, metric)  # type: ignore[index]
        self._here = self._near(places, "euclidean")

    def _near(self, points: np.ndarray, metric: str) -> np.ndarray:
        known = metric if metric in ("cosine", "correlation") else "euclidean"
        found = nearest(Space(torch.from_numpy(points), known), self.neighbors)
        return found.indices.numpy()

    def purities(self, mask: np.ndarray) -> dict[str, Any]:
        return {
            "purity": float(mask[self._there[mask]].mean()),
            "map_purity": float(mask[self._here[mask]].mean()),
        }


def _mean_distances(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return each member's mean distance to the others, to some of them where they are many."""
    drawn = rng.permutation(len(points))[:_REFERENCES]
    middle = points.mean(0)
    references: Tensor = torch.from_numpy(points[drawn] - middle).double()
    sums = [
        torch.cdist(torch.from_numpy(points[start : start + _CHUNK] - middle).double(), references)
        .sum(1)
        .numpy()
        for start in range(0, len(points), _CHUNK)
    ]
    return np.concatenate(sums) / max(1, len(drawn) - 1)


# -- real or not -----------------------------------------------------------------------------


def _narrow(scaled: np.ndarray, seed: int) -> np.ndarray:
    """Return at most 256 principal components of many features."""
    if scaled.shape[1] <= _WIDE:
        return scaled
    rows = np.random.default_rng(seed).permutation(len(scaled))[:_PART]
    part = torch.from_numpy(scaled[rows])
    found = pca(part, min(_WIDE, *part.shape), seed)
    components: np.ndarray = scaled @ found.directions.float().numpy().T
    return components


class _Patches:
    """How well a probe tells patches of the map, drawn at random, from the rest."""

    def __init__(self, scaled: np.ndarray, places: np.ndarray, seed: int) -> None:
        self._scaled, self._places, self._seed = scaled, places, seed
        self._known: dict[int, float] = {}

    def accuracy(self, size: int) -> float:
        """Return the mean accuracy of patches of about that many samples."""
        n = len(self._places)
        step = round(math.log(size, _STEP))
        if step not in self._known:
            rng = np.random.default_rng([self._seed, step, 1])
            about = int(np.clip(round(_STEP**step), _FEWEST, n - _FEWEST))
            found = []
            for middle in rng.permutation(n)[:_PATCHES]:
                far = ((self._places - self._places[middle]) ** 2).sum(1)
                patch = np.zeros(n, dtype=bool)
                patch[far.argsort(kind="stable")[:about]] = True
                found.append(accuracies(self._scaled, patch, rng).mean())
            self._known[step] = float(np.mean(found))
        return self._known[step]


def _told(
    scaled: np.ndarray,
    narrow: np.ndarray,
    mask: np.ndarray,
    patches: _Patches,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Return how well a probe tells a cluster, how well any patch of the map, and the gap."""
    if min(mask.sum(), (~mask).sum()) < _FEWEST:
        blank = dict.fromkeys(("accuracy", "accuracy_error", "chance"), float("nan"))
        return blank | {"gap": UNKNOWN.depth, "p_value": UNKNOWN.p_value}
    mine = accuracies(scaled, mask, rng)
    gap = find_gap(narrow, mask, rng)
    return {
        "accuracy": float(mine.mean()),
        "accuracy_error": float(mine.std(ddof=1) / math.sqrt(len(mine))),
        "chance": patches.accuracy(int(mask.sum())),
        "gap": gap.depth,
        "p_value": gap.p_value,
    }
