"""`Clusters`: what sets groups of a map apart, and whether they are more than the map's doing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results.base import Result, format_table, screen
from pellucid.interpret.results.storage import storable

if TYPE_CHECKING:
    import pandas as pd

REAL, UNCERTAIN, ARTEFACT = "real", "uncertain", "artefact"
_FOUND, _NONE = 0.05, 0.9  # the gap's p-value below which a cluster is real, from which it is none
_FEW = 50  # members below which a gap may stay unseen


@storable
@dataclass(frozen=True, eq=False, kw_only=True)
class Cluster:
    """A group of samples beside all others, the rest.

    Attributes
    ----------
    name
        What it is called.
    members
        Positions of its samples on the map, ascending.
    difference
        Of each feature, the mean of the members less that of the rest, in standard deviations
        pooled over both (Cohen's d), shape (features,). NaN where a feature does not vary at all;
        infinite where it varies in neither, but differs between them.
    margin
        Half the width of the interval around each difference. All intervals of one cluster hold
        together with 95 % (Bonferroni over the features). They do not account for the cluster
        having been chosen by the same features.
    attribution, attribution_margin
        Mean attribution of the members less that of the rest, and the margin around it (Welch's
        standard error, Bonferroni as above), shape (features,); None where none were given.
    typical, atypical
        Positions of the members with the smallest (medoids first) and the largest mean distance to
        the members, among the features.
    purity, map_purity
        Of the members' nearest neighbours, the share that are members: among the features, and on
        the map.
    accuracy, accuracy_error
        Balanced accuracy of a linear probe that tells members from the rest by the features, on
        held-out samples, and its standard error over the folds; NaN where there are too few.
    chance
        The same of patches of the map that are about as large, drawn at random: what any piece of
        this map would reach.
    gap
        How far the density of held-out samples falls between the cluster and that part of the rest
        where it falls least, relative to the lower of both peaks: 1 for an empty gap, 0 or less for
        none. NaN where there are too few samples.
    p_value
        The chance of counts as uneven as these without a gap.
    """

    name: str
    members: np.ndarray
    difference: np.ndarray
    margin: np.ndarray
    typical: np.ndarray
    atypical: np.ndarray
    purity: float
    map_purity: float
    accuracy: float
    accuracy_error: float
    chance: float
    gap: float
    p_value: float
    attribution: np.ndarray | None = None
    attribution_margin: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.members)

    @property
    def verdict(self) -> str:
        """``"real"``, ``"uncertain"`` or ``"artefact"``.

        Real: the features have a gap between the cluster and the rest (p below 0.05). Artefact:
        they have none, the border being denser than the thinner side (p of 0.9 and more), and there
        are at least 50 members, so that a gap would have been seen. Else uncertain: slices of one
        cloud are often that, and so is now and then a class that leans on another. The probe's
        accuracy does not decide, because it cannot: the cluster was chosen by looking at these
        features, and every slice of one even cloud can be told from the rest of it by a straight
        cut. What a slice does not have is a border that is emptier than both its sides.
        """
        if self.p_value < _FOUND:
            return REAL
        return ARTEFACT if self.p_value >= _NONE and len(self) >= _FEW else UNCERTAIN

    @property
    def sentence(self) -> str:
        """The verdict, with what it rests on."""
        if np.isnan(self.p_value):
            return "uncertain: too few samples to look for a gap"
        left = max(0.0, 1 - self.gap)
        seen = f"p {'below 0.001' if self.p_value < 0.001 else f'= {self.p_value:.2g}'}"
        if self.verdict == REAL:
            return f"real: at its border the density falls to {left:.0%} of the lower peak ({seen})"
        if self.verdict == ARTEFACT:
            return "not told from the rest in the features: no gap, an artefact of the map"
        if len(self) < _FEW:
            return f"uncertain: no gap is seen, but {len(self)} samples are few ({seen})"
        return f"uncertain: its border may be a gap, or not ({left:.0%} of the lower peak, {seen})"

    def order(self) -> np.ndarray:
        """Return the features' positions, the surest difference first; those without come last."""
        # Of what differs without varying, the margin is infinite too.
        margin = np.where(np.isinf(self.difference), 0, self.margin)
        sure = np.abs(self.difference) - margin
        return np.argsort(-np.where(np.isnan(sure), -np.inf, sure), kind="stable")


@storable
@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Clusters(Result):
    """Groups of samples on a map, each explained by the features that the map was made of.

    Attributes
    ----------
    clusters
        One `Cluster` for each group.
    coordinates
        Of all samples on the map, shape (samples, 2 or 3).
    feature_names
        One for each feature.
    sample_ids
        One for each sample.
    neighbors
        How many nearest neighbours the purities look at.
    method
        How the groups were found: ``"hdbscan"``, ``"labels"`` or ``"selection"``.
    trust
        How far the map can be trusted, in a sentence.
    """

    clusters: tuple[Cluster, ...]
    coordinates: np.ndarray
    feature_names: tuple[str, ...]
    sample_ids: np.ndarray
    neighbors: int
    method: str
    trust: str | None = None

    def __post_init__(self) -> None:
        n, features = len(self.coordinates), len(self.feature_names)
        if self.coordinates.ndim != 2 or len(self.sample_ids) != n:
            raise InputError(
                f"coordinates have shape {self.coordinates.shape}, and there are "
                f"{len(self.sample_ids)} sample ids; expected (samples, 2), and one id for each"
            )
        for one in self.clusters:
            if not one.difference.shape == one.margin.shape == (features,):
                raise InputError(
                    f"cluster {one.name!r} has differences of shape {one.difference.shape}, "
                    f"but there are {features} features"
                )
            places = np.concatenate([one.members, one.typical, one.atypical])
            if len(places) and not (places.min() >= 0 and places.max() < n):
                raise InputError(f"cluster {one.name!r} has members that are not on the map")

    def assigned(self) -> np.ndarray:
        """Return for each sample the position of its cluster, -1 for none, shape (samples,)."""
        found = np.full(len(self.coordinates), -1)
        for k, one in enumerate(self.clusters):
            found[one.members] = k
        return found

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each cluster.

        Returns
        -------
        pandas.DataFrame
            Columns ``cluster``, ``size``, ``verdict``, ``gap``, ``p_value``, ``accuracy``,
            ``accuracy_error``, ``chance``, ``purity``, ``map_purity``, ``strongest`` (the feature
            that differs most surely) and its ``difference``, ``low`` and ``high``.
        """
        import pandas as pd

        rows = []
        for one in self.clusters:
            first = int(one.order()[0])
            rows.append(
                {
                    "cluster": one.name,
                    "size": len(one),
                    "verdict": one.verdict,
                    "gap": one.gap,
                    "p_value": one.p_value,
                    "accuracy": one.accuracy,
                    "accuracy_error": one.accuracy_error,
                    "chance": one.chance,
                    "purity": one.purity,
                    "map_purity": one.map_purity,
                    "strongest": self.feature_names[first],
                    "difference": one.difference[first],
                    "low": one.difference[first] - one.margin[first],
                    "high": one.difference[first] + one.margin[first],
                }
            )
        return pd.DataFrame(rows)

    def summary(self) -> str:
        """Return each cluster's verdict, and what sets it apart."""
        lines = [
            f"{len(self.clusters)} cluster{'' if len(self.clusters) == 1 else 's'} by "
            f"{self.method} among {len(self.coordinates)} samples of "
            f"{len(self.feature_names)} features"
        ]
        for one in self.clusters[:8]:
            lines.append(f"  {one.name}: {len(one)} samples; {one.sentence}")
            lines.append(
                f"    linear probe {one.accuracy:.1%} ± {one.accuracy_error:.1%} (a patch of the "
                f"map: {one.chance:.1%}); neighbours inside: {one.purity:.0%} among the features, "
                f"{one.map_purity:.0%} on the map"
            )
            rows = [
                (self.feature_names[i], f"{one.difference[i]:+.2f}", f"± {one.margin[i]:.2f} sd")
                for i in one.order()[:3]
                if not np.isnan(one.difference[i])
            ]
            lines += format_table(rows, indent="    ")
        if len(self.clusters) > 8:
            lines.append(f"  ... and {len(self.clusters) - 8} more clusters")
        return screen(lines)
