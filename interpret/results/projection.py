"""`Projection`: a map of points, and how far each point's neighbourhood on it can be trusted."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results.base import Result, chosen_positions, screen
from pellucid.interpret.results.storage import storable

if TYPE_CHECKING:
    import pandas as pd


@storable
@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Projection(Result):
    """Coordinates of some samples on a map of two or three dimensions.

    Attributes
    ----------
    coordinates
        Shape (samples, 2 or 3).
    method
        ``"pca"``, ``"tsne"`` or ``"umap"``.
    neighbors
        How many neighbours the two measures below look at.
    preservation
        Of each sample's nearest neighbours among the features, the share that is also among its
        nearest on the map, shape (samples,), 0 to 1.
    trustworthiness
        Trustworthiness of each sample (Venna and Kaski 2001): 1 where no point was drawn into its
        neighbourhood that does not belong there. The mean is scikit-learn's trustworthiness. Of
        more than some 8,000 samples each is an estimate, from the ranks among 1,000 of them.
    continuity
        As trustworthiness, with the two spaces exchanged: 1 where no neighbour was torn away.
    measures
        The means of the three over the samples at several numbers of neighbours: arrays
        ``"preservation"``, ``"trustworthiness"``, ``"continuity"``, with ``"neighbors"`` and the
        ``"standard_error"`` of trustworthiness: zeros where it is exact, up to some 8,000 samples;
        beyond, all three are means over 500 samples. Those of the whole map, also of a slice.
    triplets
        Of random triplets of samples, the share in which the same of two is the nearer on the map:
        its global shape. 0.5 is chance.
    nearest
        Each sample's nearest neighbours among the features, shape (samples, neighbors), int32,
        positions on the map; None where it is not known, and on a part of a map, where some of
        them are missing.
    recall
        The share of them that the search found.
    moved
        How far each sample moves on maps with other seeds, in root mean square extents of the map,
        shape (samples,); None where no others were made.
    disparity
        Of those maps, aligned (Procrustes): 0 for the same shape, 1 for no likeness.
    explained_variance_ratio
        Share of the variance that each axis carries, where the method says so (PCA).
    loadings
        The direction of each axis in the features, shape (dimensions, features), where the method
        says so (PCA).
    labels
        Class index of each sample, where known.
    purity, map_purity
        Of each sample's nearest neighbours among the features, and on the map, the share that has
        its label, shape (samples,): a map that looks purer than the features are shows more order
        than there is. None without labels; NaN for samples without one.
    class_names, feature_names, sample_ids
        Names for the classes, the features and the samples.
    display
        A picture of each sample, shape (samples, rows, columns) or (samples, rows, columns, 3).
    at
        Where the features came from: ``"input"``, or the layer's name.
    features
        How many features were projected.
    """

    coordinates: np.ndarray
    method: str
    neighbors: int
    preservation: np.ndarray
    trustworthiness: np.ndarray
    features: int
    continuity: np.ndarray | None = None
    measures: dict[str, np.ndarray] = field(default_factory=dict)
    triplets: float | None = None
    nearest: np.ndarray | None = None
    recall: float | None = None
    moved: np.ndarray | None = None
    disparity: float | None = None
    explained_variance_ratio: np.ndarray | None = None
    loadings: np.ndarray | None = None
    labels: np.ndarray | None = None
    purity: np.ndarray | None = None
    map_purity: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    sample_ids: np.ndarray | None = None
    display: np.ndarray | None = None
    at: str = "input"

    _sampled: ClassVar[tuple[str, ...]] = (
        "coordinates",
        "preservation",
        "trustworthiness",
        "continuity",
        "nearest",
        "moved",
        "labels",
        "purity",
        "map_purity",
        "sample_ids",
        "display",
    )

    def __post_init__(self) -> None:
        if self.coordinates.ndim != 2:
            raise InputError(f"coordinates have shape {self.coordinates.shape}, not (samples, 2)")
        for name in self._sampled:
            array = getattr(self, name)
            if array is not None and array.shape[:1] != self.coordinates.shape[:1]:
                raise InputError(
                    f"{name} has shape {array.shape}, but there are {len(self.coordinates)} samples"
                )

    def _samples(self) -> int:
        return len(self.coordinates)

    def __getitem__(self, index: Any) -> Self:
        """Return the chosen samples, with the measures that they have on the whole map."""
        positions = chosen_positions(index, len(self))
        part = super().__getitem__(positions)
        if self.nearest is None:
            return part
        if len(np.unique(positions)) < len(self) or len(positions) > len(self):
            return dataclasses.replace(part, nearest=None)
        place = positions.argsort().astype(self.nearest.dtype)
        return dataclasses.replace(part, nearest=place[self.nearest[positions]])

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each sample.

        Returns
        -------
        pandas.DataFrame
            Columns ``sample_id``, ``x``, ``y`` (and ``z``), ``preservation``, ``trustworthiness``;
            ``continuity``, ``moved``, ``label``, ``purity`` and ``map_purity`` where known.
        """
        import pandas as pd

        columns = {"sample_id": self._ids()}
        for axis, values in zip("xyz", self.coordinates.T, strict=False):
            columns[axis] = values
        columns["preservation"] = self.preservation
        columns["trustworthiness"] = self.trustworthiness
        known = {"continuity": self.continuity, "moved": self.moved, "label": self.labels}
        known |= {"purity": self.purity, "map_purity": self.map_purity}
        columns |= {name: values for name, values in known.items() if values is not None}
        return pd.DataFrame(columns)

    def _ids(self) -> np.ndarray:
        return np.arange(len(self)) if self.sample_ids is None else self.sample_ids

    def trust(self) -> str:
        """Return one sentence on how far the map can be trusted."""
        if not len(self):
            return "no points"
        trust, error, continuity = self._overall()
        said = (
            f"{self.preservation.mean():.0%} of the {self.neighbors} nearest neighbours kept, "
            f"trustworthiness {trust:.3f}"
        )
        if error:
            said += f" ± {error:.3f}"
        if continuity is not None:
            said += f", continuity {continuity:.3f}"
        if self.triplets is not None:
            said += f"; {self.triplets:.0%} of random triplets in order"
        if self.recall is not None and self.recall < 1:
            said += f"; {self.recall:.1%} of the neighbours were found"
        if self.disparity is not None:
            said += f"; other seeds change {self.disparity:.1%} of its shape"
        if self.purity is not None and self.map_purity is not None:
            known = np.isfinite(self.purity) & np.isfinite(self.map_purity)
            if known.any():
                said += (
                    f"; neighbours of one label: {self.purity[known].mean():.0%} among the "
                    f"features, {self.map_purity[known].mean():.0%} on the map"
                )
        return said

    def _overall(self) -> tuple[float, float, float | None]:
        """Return trustworthiness, its standard error, and continuity of the samples."""
        at = np.flatnonzero(self.measures.get("neighbors", np.zeros(0)) == self.neighbors)
        # Of many samples those of each are estimates, and those of the whole map are not.
        if self.nearest is not None and len(at):
            trust, error, continuity = (
                float(self.measures[name][at[0]])
                for name in ("trustworthiness", "standard_error", "continuity")
            )
            return trust, error, continuity
        mean = None if self.continuity is None else float(self.continuity.mean())
        return float(self.trustworthiness.mean()), 0.0, mean

    def summary(self) -> str:
        """Return what was projected, how, and how faithful the map is."""
        lines = [
            f"Projection of {len(self)} samples from {self.features} features at {self.at} "
            f"to {self.coordinates.shape[1]} dimensions by {self.method}",
            f"  {self.trust()}",
        ]
        if self.explained_variance_ratio is not None:
            shares = ", ".join(f"{share:.1%}" for share in self.explained_variance_ratio)
            lines.append(f"  variance carried by the axes: {shares}")
        if len(self):
            worst = np.argsort(self.preservation, kind="stable")[:5]
            ids = ", ".join(f"{self._ids()[i]} ({self.preservation[i]:.0%})" for i in worst)
            lines.append(f"  least faithful samples (share of neighbours kept): {ids}")
        return screen(lines)
