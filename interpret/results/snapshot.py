"""`Snapshot`: the parameters of a model at one moment, so that viz can draw it without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results.base import Result, first_rows, screen
from pellucid.interpret.results.storage import storable

if TYPE_CHECKING:
    import pandas as pd


@storable
@dataclass(frozen=True)
class Layer:
    """One module that holds parameters.

    Attributes
    ----------
    name
        Its path in the model, such as ``"features.0"``; empty for the model itself.
    kind
        Its class, such as ``"Conv2d"``.
    parameters
        For each parameter (``"weight"``, ``"bias"``) its values; one that is shared with an
        earlier layer appears there only.
    """

    name: str
    kind: str
    parameters: dict[str, np.ndarray]


@storable
@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Snapshot(Result):
    """The parameters of a model at one moment.

    Attributes
    ----------
    layers
        Those that hold parameters, in the model's order.
    name
        The model's class name.
    """

    layers: tuple[Layer, ...]
    name: str = "model"

    def layer(self, name: str) -> Layer:
        """Return one layer by its name.

        Raises
        ------
        InputError
            If there is no such layer.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise InputError(
            f"there is no layer {name!r} with parameters; there are "
            f"{', '.join(repr(layer.name) for layer in self.layers)}"
        )

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return sum(a.size for layer in self.layers for a in layer.parameters.values())

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each parameter tensor.

        Returns
        -------
        pandas.DataFrame
            Columns ``layer``, ``kind``, ``parameter``, ``shape``, ``size``, ``mean``, ``std``,
            ``min``, ``max``.
        """
        import pandas as pd

        rows = [
            {
                "layer": layer.name,
                "kind": layer.kind,
                "parameter": name,
                "shape": tuple(array.shape),
                "size": array.size,
                "mean": _moments(array)[0],
                "std": _moments(array)[1],
                "min": float(array.min()) if array.size else float("nan"),
                "max": float(array.max()) if array.size else float("nan"),
            }
            for layer in self.layers
            for name, array in layer.parameters.items()
        ]
        return pd.DataFrame(rows)

    def summary(self) -> str:
        """Return each layer's parameters with their shape and spread."""
        rows = [
            (
                f"{layer.name or self.name}.{name}",
                layer.kind,
                " x ".join(map(str, array.shape)) or "scalar",
                f"std {_moments(array)[1]:.3g}" if array.size else "empty",
            )
            for layer in self.layers
            for name, array in layer.parameters.items()
        ]
        head = f"Snapshot of {self.name}: {self.size:,} parameters"
        return screen([head, *first_rows(rows, "parameters")])


def _moments(array: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation, in float64 and also of weights that are not finite."""
    if not array.size:
        return float("nan"), float("nan")
    with np.errstate(invalid="ignore"):
        return float(array.mean(dtype=np.float64)), float(array.std(dtype=np.float64))
