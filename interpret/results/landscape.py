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
        Shape (x,) or (y, x): the loss at each distance along the directions.
    x, y
        How far along each direction, in units of the filters' own norms (filter-normalised: 1
        moves every filter by as much as it is long); `y` is None with one direction.
    center
        The loss at the model's own parameters.
    directions
        What the directions are: ``"random"``, ``"random, filter-normalised"``, ...
    trajectory
        Shape (times, 1 or 2): where the training went, projected on the directions, or None.
    samples
        Over how many samples the loss is a mean.
    name
        The model's name.
    """

    losses: np.ndarray
    x: np.ndarray
    y: np.ndarray | None = None
    center: float = float("nan")
    directions: str = "random, filter-normalised"
    trajectory: np.ndarray | None = None
    samples: int = 0
    name: str = "model"

    def __post_init__(self) -> None:
        expected = (len(self.x),) if self.y is None else (len(self.y), len(self.x))
        if self.losses.shape != expected:
            raise InputError(f"losses have shape {self.losses.shape}; expected {expected}")

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
                f"Loss landscape of {self.name}: {points} points, {self.samples} samples",
                f"  at the model {self.center:.4g}, around it {span}",
                f"  directions: {self.directions}",
            ]
        )
