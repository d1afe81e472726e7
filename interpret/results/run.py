"""`Run`: what was measured while a model was trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results.base import Result, first_rows, screen
from pellucid.interpret.results.storage import storable

if TYPE_CHECKING:
    import pandas as pd

    from pellucid.interpret.results.diagnosis import Diagnosis

Track = tuple[np.ndarray, np.ndarray]


@storable
@dataclass(frozen=True, eq=False)
class Histograms:
    """How one quantity was distributed, at each of some steps.

    Attributes
    ----------
    steps
        Shape (times,).
    edges
        For each time the edges of its bins, increasing, one more than there are bins.
    counts
        For each time how many values fell into each bin (float64: other tools write weights).
    """

    steps: np.ndarray
    edges: tuple[np.ndarray, ...]
    counts: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        if not len(self.steps) == len(self.edges) == len(self.counts):
            raise InputError(
                f"histograms need edges and counts for each of their {len(self.steps)} steps; got "
                f"{len(self.edges)} and {len(self.counts)}"
            )
        for step, edges, counts in zip(self.steps, self.edges, self.counts, strict=True):
            if edges.ndim != 1 or counts.ndim != 1 or len(edges) != len(counts) + 1:
                raise InputError(
                    f"the histogram at step {step:g} has {len(edges)} edges for {len(counts)} "
                    "bins; it needs one edge more than there are bins"
                )

    def __len__(self) -> int:
        return len(self.steps)


@storable
@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures that were recorded at some steps, encoded as the writer encoded them.

    Attributes
    ----------
    steps
        Shape (times,).
    encoded
        For each time the bytes of a PNG, JPEG or GIF file (uint8).
    """

    steps: np.ndarray
    encoded: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.steps)


@storable
@dataclass(frozen=True, eq=False)
class Watched:
    """What a few fixed samples gave, at each of some steps.

    Attributes
    ----------
    steps
        Shape (times,).
    values
        Shape (times, samples, ...): predictions, or a layer's feature maps.
    sample_ids
        One for each sample, or None.
    """

    steps: np.ndarray
    values: np.ndarray
    sample_ids: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.steps)


@storable
@dataclass(frozen=True)
class Event:
    """Something that happened once.

    Attributes
    ----------
    step
        When.
    kind
        What: ``"not finite"``, ``"restart"``.
    layer
        Where, such as ``"conv1"``; None where that is not known or does not apply.
    text
        One sentence.
    """

    step: float
    kind: str
    layer: str | None
    text: str


@storable
@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Run(Result):
    """What was measured over the steps of a training.

    Attributes
    ----------
    metrics
        For each metric (loss, accuracy, learning rate, ...) its steps and its values, two arrays
        of one length; NaN stays NaN.
    layers
        For each layer its statistics over the steps, in the same form. A statistic's name says
        what was measured: ``"weight.mean"``, ``std``, ``min``, ``max``, ``norm`` (L2) of each
        parameter; ``"weight.gradient.norm"`` and so on of its gradient, as the optimizer saw it;
        ``"weight.update_ratio"``, the L2 norm of a step's change over that of the parameter
        before it; ``"output.mean"`` and so on of what the layer put out, ``"output.dead"``, the
        share of units that were zero for the whole batch, and ``"output.saturated"``, the share of
        values within 1 % of an end of a bounded activation function.
    histograms
        For each quantity, ``"<layer>/weight"``, ``"<layer>/weight.gradient"``,
        ``"<layer>/output"`` or, of an activation function, ``"<layer>/input"``, and for whatever
        else another tool's log holds.
    watched
        What a few fixed samples gave over the steps: ``"prediction"``, or a layer's name.
    pictures
        Pictures that another tool's log holds, by tag.
    events
        What happened once, such as the first value that was not finite.
    clock
        Steps, and the seconds since the start at which they were recorded; None where that is
        not known.
    name
        The run's name.
    step_unit
        What a step is: ``"step"``, ``"epoch"``.
    """

    metrics: dict[str, Track]
    layers: dict[str, dict[str, Track]] = field(default_factory=dict)
    histograms: dict[str, Histograms] = field(default_factory=dict)
    watched: dict[str, Watched] = field(default_factory=dict)
    pictures: dict[str, Pictures] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    clock: Track | None = None
    name: str = "run"
    step_unit: str = "step"

    def __post_init__(self) -> None:
        for name, pair in self.metrics.items():
            _check(f"metric {name!r}", pair)
        for layer, statistics in self.layers.items():
            for name, pair in statistics.items():
                _check(f"statistic {name!r} of layer {layer!r}", pair)

    def statistic(self, name: str) -> dict[str, Track]:
        """Return one statistic of every layer that has it, in the model's order.

        Raises
        ------
        InputError
            If no layer has it.
        """
        found = {layer: kept[name] for layer, kept in self.layers.items() if name in kept}
        if not found:
            known = sorted({name for kept in self.layers.values() for name in kept})
            raise InputError(
                f"the run {self.name!r} has no statistic {name!r} of any layer; "
                + (f"there are {', '.join(known)}" if known else "it holds none")
            )
        return found

    def diagnose(self) -> Diagnosis:
        """Say what looks ill in this training: see `pellucid.interpret.training.diagnosis`."""
        from pellucid.interpret.training.diagnosis import diagnose

        return diagnose(self)

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each value.

        Returns
        -------
        pandas.DataFrame
            Columns ``metric``, ``layer`` (empty for metrics of the whole model), ``step`` and
            ``value``.
        """
        import pandas as pd

        tracks = [("", name, pair) for name, pair in self.metrics.items()]
        for layer, statistics in self.layers.items():
            tracks += [(layer, name, pair) for name, pair in statistics.items()]
        frames = [
            pd.DataFrame({"metric": name, "layer": layer, "step": steps, "value": values})
            for layer, name, (steps, values) in tracks
            if len(steps)
        ]
        return (
            pd.concat(frames, ignore_index=True)
            if frames
            else pd.DataFrame(columns=["metric", "layer", "step", "value"])
        )

    def summary(self) -> str:
        """Return the last and the best value of each metric, and what else there is."""
        rows = []
        for name, (steps, values) in self.metrics.items():
            finite = values[np.isfinite(values)]
            span = f"{finite.min():.4g} to {finite.max():.4g}" if finite.size else "nothing finite"
            last = f"last {values[-1]:.4g}" if len(values) else "empty"
            rows.append((name, f"{len(steps)} values", last, span))
        head = f"Run {self.name}: {len(self.metrics)} metrics by {self.step_unit}"
        held = {
            "layers": len(self.layers),
            "histograms": len(self.histograms),
            "watched": len(self.watched),
            "pictures": len(self.pictures),
        }
        more = ", ".join(f"{count} {name}" for name, count in held.items() if count)
        happened = [f"  at {self.step_unit} {e.step:g}: {e.text}" for e in self.events[:4]]
        return screen(
            [head + (f"; {more}" if more else ""), *first_rows(rows, "metrics"), *happened]
        )


def _check(what: str, pair: Track) -> None:
    if (
        len(pair) != 2
        or not all(isinstance(a, np.ndarray) and a.ndim == 1 for a in pair)
        or len(pair[0]) != len(pair[1])
    ):
        raise InputError(f"{what} needs two arrays of one length, its steps and its values")
