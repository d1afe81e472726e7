"""A run made ready for questions: its curves in order, what they mean, and how they are put."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from pellucid.interpret.results import Finding, Run
from pellucid.interpret.results.run import Track
from pellucid.interpret.training.metric_names import HELD_OUT, TRAINING, named, plainness

# What a check returns: what it found (nothing: healthy), or why it could not look.
Outcome = list[Finding] | str

ENOUGH = 8  # values of a training loss from which on a trend can be told from noise
FEW = 5  # values of a held-out loss, which are means over many samples
_TREND = 1000  # points of a trend; more tell nothing more
_WINDOWS = 15  # a trend is smoothed over a fifteenth of the run
MAD = 1.4826  # median absolute deviation to standard deviation, for normal noise


@dataclass(frozen=True)
class Curve:
    """One track: its steps increasing and each once, values as float64.

    A step that was recorded twice (after a restart) keeps what was recorded last.
    """

    name: str
    steps: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, name: str, track: Track) -> Curve:
        """Put a track in order; steps that are no number are left out."""
        steps, values = (np.asarray(a, dtype=np.float64) for a in track)
        real = np.isfinite(steps)
        steps, values = steps[real], values[real]
        if (np.diff(steps) > 0).all():
            return cls(name, steps, values)
        _, last = np.unique(steps[::-1], return_index=True)
        order = len(steps) - 1 - last
        return cls(name, steps[order], values[order])

    def __len__(self) -> int:
        return len(self.steps)

    @cached_property
    def finite(self) -> Curve:
        """The curve without what is not finite."""
        kept = np.isfinite(self.values)
        return Curve(self.name, self.steps[kept], self.values[kept])

    @cached_property
    def noise(self) -> float:
        """Standard deviation of a value about the trend, from differences of neighbours.

        From their median magnitude: neither trend nor spikes count.
        """
        return float(spread(np.diff(self.values)) / np.sqrt(2))

    @cached_property
    def window(self) -> int:
        """How many values a point of the trend is the median of."""
        return max(1, len(self) // _WINDOWS)

    @cached_property
    def trend(self) -> Curve:
        """Running medians over a fifteenth of the run."""
        parts = min(len(self), _TREND)
        blocks = np.array_split(np.arange(len(self)), parts) if parts else []
        values = np.array([np.median(self.values[block]) for block in blocks])
        ends = np.array([block[-1] for block in blocks], dtype=int)
        return Curve(self.name, self.steps[ends], running_median(values, parts // _WINDOWS))

    @property
    def start(self) -> float:
        """Where the curve begins."""
        return float(np.median(self.values[: max(1, min(3, len(self) // 10))]))

    @property
    def end(self) -> float:
        """Where the curve ends: the median of its last tenth."""
        return float(np.median(self.values[-max(1, len(self) // 10) :]))

    def between(self, first: float, last: float = np.inf) -> np.ndarray:
        """Return the values from one step to another, both included."""
        return self.values[(self.steps >= first) & (self.steps <= last)]

    def at(self, step: float) -> float:
        """Return the value at a step, interpolated."""
        return float(np.interp(step, self.steps, self.values))

    @property
    def track(self) -> Track:
        """Steps and values, as evidence."""
        return self.steps, self.values


def spread(values: np.ndarray) -> float:
    """Return a standard deviation that outliers do not change."""
    if not len(values):
        return 0.0
    return float(MAD * np.median(np.abs(values - np.median(values))))


def running_median(values: np.ndarray, window: int) -> np.ndarray:
    """Return the median of a window around each value; beyond the ends, values are mirrored."""
    half = min(window // 2, len(values) - 1)
    if half < 1:
        return values
    padded = np.pad(values, half, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    return np.asarray(np.median(windows, axis=1))


def held_since(steps: np.ndarray, ill: np.ndarray) -> float | None:
    """Return since when something held, where it held for half of the run or at its end.

    Returns
    -------
    float or None
        The first step from which on it held in four of five records; None if it did not.
    """
    if not len(ill):
        return None
    rest = np.cumsum(ill[::-1])[::-1] / np.arange(len(ill), 0, -1)
    begin = np.flatnonzero(ill & (rest >= 0.8))
    if begin.size and len(ill) - begin[0] >= max(1, len(ill) // 4):
        return float(steps[begin[0]])
    return float(steps[np.argmax(ill)]) if ill.mean() >= 0.5 else None


@dataclass(frozen=True)
class Place:
    """A parameter of a layer, with what was measured of it."""

    layer: str
    parameter: str
    curves: dict[str, Curve]

    @property
    def name(self) -> str:
        """The layer, with the parameter where that is not its weight."""
        layer = self.layer or "the model itself"
        return layer if self.parameter == "weight" else f"{layer}, {self.parameter}"


@dataclass(frozen=True)
class Case:
    """A run made ready for questions.

    Attributes
    ----------
    run
        As it was recorded.
    curves
        Its metrics in order, without those that are empty.
    found
        The kinds of what was found so far, without notes: what a later check need not explain.
    """

    run: Run
    curves: dict[str, Curve]
    found: frozenset[str] = field(default=frozenset())

    @classmethod
    def of(cls, run: Run) -> Case:
        """Put a run's metrics in order."""
        curves = {name: Curve.of(name, track) for name, track in run.metrics.items()}
        return cls(run, {name: curve for name, curve in curves.items() if len(curve)})

    @property
    def unit(self) -> str:
        """What a step is."""
        return self.run.step_unit

    def metric(self, quantity: str, part: str) -> Curve | None:
        """Return the plainest metric of a quantity; of equally plain ones the most recorded."""
        names = named(self.curves, quantity, part)
        if not names:
            return None
        plain = [name for name in names if plainness(name) == plainness(names[0])]
        return max((self.curves[name] for name in plain), key=len)

    @property
    def rates(self) -> list[Curve]:
        """The learning rates of the groups of parameters."""
        return [self.curves[name] for name in named(self.curves, "learning rate")]

    @cached_property
    def loss(self) -> Curve | None:
        """The training loss."""
        return self.metric("loss", TRAINING)

    @cached_property
    def held_out_loss(self) -> Curve | None:
        """The loss on samples that were held out."""
        return self.metric("loss", HELD_OUT)

    @cached_property
    def classes(self) -> int | None:
        """How many classes there are; None where no predictions were watched."""
        watched = self.run.watched.get("prediction")
        if watched is None or watched.values.ndim != 3 or watched.values.shape[-1] < 2:
            return None
        return int(watched.values.shape[-1])

    def missing_loss(self, held_out: bool = False) -> str | None:
        """Say why a loss cannot be judged; None if it can."""
        curve, what, enough = (
            (self.held_out_loss, "held-out loss", FEW) if held_out else
            (self.loss, "training loss", ENOUGH)
        )  # fmt: skip
        if curve is None:
            return f"no {what} was recorded"
        count = len(curve.finite)
        if count < enough:
            return f"only {count} finite values of {curve.name}, {enough} are needed"
        return None

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The parameters but biases, in the model's order."""
        found = []
        for layer, statistics in self.run.layers.items():
            kept: dict[str, dict[str, Curve]] = {}
            for name, track in statistics.items():
                parameter, _, statistic = name.partition(".")
                # A bias in front of a normalization has no gradient but rounding, rightly.
                if parameter == "output" or "bias" in parameter or not len(track[0]):
                    continue
                kept.setdefault(parameter, {})[statistic] = Curve.of(name, track)
            found += [Place(layer, parameter, curves) for parameter, curves in kept.items()]
        return tuple(found)

    def measured(self, statistic: str) -> list[tuple[Place, Curve]]:
        """Return the places with a statistic, such as ``"gradient.norm"``; empty curves apart."""
        return [
            (place, place.curves[statistic])
            for place in self.places
            if statistic in place.curves and len(place.curves[statistic])
        ]

    def outputs(self, statistic: str) -> list[tuple[str, Curve]]:
        """Return the layers with a statistic of their outputs, and its finite values."""
        curves = {
            layer: Curve.of(f"output.{statistic}", statistics[f"output.{statistic}"]).finite
            for layer, statistics in self.run.layers.items()
            if f"output.{statistic}" in statistics
        }
        return [(layer, curve) for layer, curve in curves.items() if len(curve)]


def evidence(*curves: Curve | tuple[str, Curve]) -> dict[str, Track]:
    """Return curves as the evidence of a finding, by their names or by those given."""
    pairs = [(curve.name, curve) if isinstance(curve, Curve) else curve for curve in curves]
    return {name: curve.track for name, curve in pairs}


def said(value: float) -> str:
    """Return a number as a sentence has it."""
    return f"{value:.3g}"


def share(value: float) -> str:
    """Return a share in percent."""
    return f"{100 * value:.0f} %" if value >= 0.1 or value == 0 else f"{100 * value:.2g} %"


def times(factor: float) -> str:
    """Return how many times larger something is."""
    return f"{factor:,.0f} times" if factor < 1e5 else f"{factor:.0e} times".replace("e+0", "e")


def others(count: int, what: str = "layer") -> str:
    """Say how many more have the same illness; nothing for none."""
    if not count:
        return ""
    return f"; so {'has' if count == 1 else 'have'} {count} more {what}{'' if count == 1 else 's'}"


def listing(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
