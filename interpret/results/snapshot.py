"""`Snapshot`: a model at one moment, so that viz can draw it without it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results.base import Result, first_rows, screen
from pellucid.interpret.results.storage import storable
from pellucid.interpret.results.trees import Tree, leaves

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
@dataclass(frozen=True)
class Node:
    """One module of the architecture, in the order in which the modules were first called.

    A module that is called again has a further node for each call, named with the call's number:
    ``"relu (2)"``. What joins the outputs of several modules without being one, such as a residual
    sum, is a node too, named by the function: ``"layer1.0.add"``.

    Attributes
    ----------
    name
        Its path, such as ``"layer1.0.conv1"``: parents are named by what stands before the dots.
        Empty for the model itself.
    kind
        Its class; of a function its name, in lower case.
    shape
        Of what it puts out, the sample axis included; None where it was not called or puts out
        no tensor.
    statistics
        Numbers to colour it by. Its own, without its children's: ``"parameters"`` (counted where
        they are first met), ``"operations"`` (multiplications and additions of matrix products,
        convolutions and attention, per sample), ``"gradient norm"`` (of the loss by its
        parameters), ``"zero"`` (share of what it puts out that is exactly zero), ``"dead"`` (share
        of its units that put out zero for every sample and position), ``"relevance"`` (what
        attributions at it amount to: their magnitude, summed, the mean over the samples). With its
        children's: ``"seconds"`` (of a forward pass). What is not known is not there.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None = None
    statistics: dict[str, float] = field(default_factory=dict)


@storable
@dataclass(frozen=True, eq=False)
class ActivationFunction:
    """An activation function, and what came into it.

    Attributes
    ----------
    kind
        Its class, such as ``"ReLU"``.
    x, y
        Its curve over the range of what came in.
    edges, counts
        A histogram of what came in: the pre-activations.
    """

    kind: str
    x: np.ndarray
    y: np.ndarray
    edges: np.ndarray
    counts: np.ndarray


@storable
@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Snapshot(Result):
    """A model at one moment: its parameters, and what some inputs make of it.

    Attributes
    ----------
    layers
        Those that hold parameters, in the model's order.
    name
        The model's class name.
    nodes
        The architecture: every module, parents before their children.
    edges
        Which module's output went into which: pairs of the names of nodes without children;
        ``"input"`` and ``"output"`` are the model's ends. Empty where no inputs were given.
        ``settings["edges"]`` says whether they were followed, or are the order of the calls.
    inputs
        The samples whose activations are kept, in the structure that the model takes, or None.
    activations
        For each layer without children that puts out a tensor, what it put out for those samples,
        the sample axis first.
    functions
        For each activation function its curve and its pre-activations.
    """

    layers: tuple[Layer, ...]
    name: str = "model"
    nodes: tuple[Node, ...] = ()
    edges: tuple[tuple[str, str], ...] = ()
    inputs: Tree = None
    activations: dict[str, np.ndarray] = field(default_factory=dict)
    functions: dict[str, ActivationFunction] = field(default_factory=dict)

    _sampled: ClassVar[tuple[str, ...]] = ("inputs", "activations")

    def _samples(self) -> int:
        for _, leaf in leaves(self.inputs):
            if isinstance(leaf, np.ndarray) and leaf.ndim:
                return len(leaf)
        return super()._samples()

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
