"""`Landscape`: a loss around a model's parameters, along one or two directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results.base import Result, screen
from pellucid.interpret.results.storage import storable

if TYPE_CHECKING:
    import pandas as pd


@storable
@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Landscape(Result):
    """A loss over one or two directions in the space of a model's parameters.

    Attributes
    ----------
    losses
        Shape (x,) or (y, x): the loss at each distance along the directions; not finite where the
        model fell apart.
    x, y
        How far along each direction, in the units that `axes` names; `y` is None with one
        direction. The model itself is at 0.
    center
        The loss at the model's own parameters.
    directions
        What the directions are: ``"random, filter-normalised"``, ``"to another model"``,
        ``"principal components of the trajectory, ..."``.
    axes
        What each axis is, with its unit: as many as there are directions.
    trajectory
        Shape (times, 1 or 2): where the training went, projected on the directions; on the way to
        another model its two ends, 0 and 1. None where there is neither.
    loss
        What the loss is, such as ``"cross-entropy"``.
    samples
        Over how many samples it is a mean.
    name
        The model's name.
    """

    losses: np.ndarray
    x: np.ndarray
    y: np.ndarray | None = None
    center: float = float("nan")
    directions: str = "random, filter-normalised"
    axes: tuple[str, ...] = ("direction 1", "direction 2")
    trajectory: np.ndarray | None = None
    loss: str = "loss"
    samples: int = 0
    name: str = "model"

    def __post_init__(self) -> None:
        expected = (len(self.x),) if self.y is None else (len(self.y), len(self.x))
        if self.losses.shape != expected:
            raise InputError(f"losses have shape {self.losses.shape}; expected {expected}")
        if len(self.axes) < len(expected):
            raise InputError(f"axes names {len(self.axes)} of the {len(expected)} directions")
        path = self.trajectory
        if path is not None and (path.ndim != 2 or path.shape[1] != len(expected)):
            raise InputError(
                f"the trajectory has shape {path.shape}; expected (times, {len(expected)})"
            )

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each point, with columns ``x``, ``y`` (if there is one), ``loss``."""
        import pandas as pd

        if self.y is None:
            return pd.DataFrame({"x": self.x, "loss": self.losses})
        y, x = np.meshgrid(self.y, self.x, indexing="ij")
        return pd.DataFrame({"x": x.ravel(), "y": y.ravel(), "loss": self.losses.ravel()})

    def summary(self) -> str:
        """Return the loss at the model, and how it rises around it."""
        finite = self.losses[np.isfinite(self.losses)]
        span = f"{finite.min():.4g} to {finite.max():.4g}" if finite.size else "nothing finite"
        points = " x ".join(map(str, self.losses.shape))
        return screen(
            [
                f"Loss landscape of {self.name}: {points} points, {self.samples:,} samples",
                f"  {self.loss} at the model {self.center:.4g}, around it {span}",
                f"  directions: {self.directions}",
                *(f"  {axis}" for axis in self.axes[: self.losses.ndim]),
            ]
        )
