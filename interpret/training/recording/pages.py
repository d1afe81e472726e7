"""What is on its way into a run's file: metrics of several steps, and all that one step gave."""

from __future__ import annotations

import contextlib
import functools
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.training.recording.octaves import BINS, in_order
from pellucid.interpret.training.recording.parameters import SKIPPED
from pellucid.interpret.training.recording.statistics import Gathering, Key, Summary
from pellucid.interpret.training.recording.writer import Writer

WATCHED, METRIC = "watched", "metric"  # of things fetched that belong to no layer
_ORDER = ("output", "gradient", "weight")  # in which something that is not finite spreads


@dataclass
class _Row:
    step: int
    seconds: float | None
    values: dict[str, float | Tensor]


class Scalars:
    """Metrics that are not written yet, because they are written for several steps at once.

    Attributes
    ----------
    trouble
        Step, name and value of the first loss that was not finite; None if all were.
    """

    def __init__(self) -> None:
        self._rows: list[_Row] = []
        self.trouble: tuple[int, str, float] | None = None

    def add(self, step: int, seconds: float | None, metrics: Mapping[str, Any]) -> None:
        """Add the metrics of one step; a tensor that is not on the CPU is not waited for.

        Raises
        ------
        InputTypeError, InputError
            If one of them is not a single number.
        """
        row = _Row(step, seconds, {name: _single(name, one) for name, one in metrics.items()})
        self._rows.append(row)
        for name, value in row.values.items():
            self._judge(row, name, value)

    def extend(self, metrics: Mapping[str, Any]) -> None:
        """Add metrics to the last step, besides those that it has."""
        row = self._rows[-1]
        for name, value in metrics.items():
            if value is not None:
                row.values.setdefault(name, _single(name, value))

    def fetch(self, gathering: Gathering) -> list[tuple[_Row, str]]:
        """Let a gathering bring along what is not on the CPU; return what that is."""
        wanted = [
            (row, name)
            for row in self._rows
            for name, value in row.values.items()
            if isinstance(value, Tensor)
        ]
        for k, (row, name) in enumerate(wanted):
            value = row.values[name]
            assert isinstance(value, Tensor)
            gathering.fetch((METRIC, str(k)), value)
        return wanted

    def fetched(self, wanted: list[tuple[_Row, str]], arrays: Mapping[Key, np.ndarray]) -> None:
        """Take what has arrived."""
        for k, (row, name) in enumerate(wanted):
            if isinstance(row.values[name], Tensor) and (METRIC, str(k)) in arrays:
                row.values[name] = float(arrays[METRIC, str(k)])
                self._judge(row, name, row.values[name])

    def write(self, writer: Writer, *, wait: bool) -> None:
        """Hand over the steps whose metrics are known, up to the first whose are not."""
        ready = 0
        for row in self._rows:
            for name, value in row.values.items():
                if isinstance(value, Tensor):
                    if not wait:
                        break
                    row.values[name] = float(value)
                    self._judge(row, name, row.values[name])
            else:
                ready += 1
                continue
            break
        rows, self._rows = self._rows[:ready], self._rows[ready:]
        # Metrics that were measured at the same steps share a line.
        alike: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for name in dict.fromkeys(name for row in rows for name in row.values):
            alike[tuple(k for k, row in enumerate(rows) if name in row.values)].append(name)
        timed = tuple(k for k, row in enumerate(rows) if row.seconds is not None)
        if timed:
            alike.setdefault(timed, [])
        for chosen, names in alike.items():
            seconds = {"seconds": [rows[k].seconds for k in chosen]} if chosen == timed else {}
            writer.line(
                "metrics",
                steps=[rows[k].step for k in chosen],
                **seconds,
                values={name: [rows[k].values[name] for k in chosen] for name in names},
            )

    def _judge(self, row: _Row, name: str, value: float | Tensor) -> None:
        if (
            self.trouble is None
            and "loss" in name.lower()
            and isinstance(value, float)
            and not math.isfinite(value)
        ):
            self.trouble = row.step, name, value


@dataclass
class Page:
    """A step of which the layers are recorded, until it is written.

    Attributes
    ----------
    step
        Which.
    histograms
        Whether distributions are written.
    units, values
        How many units each activation function has, and how many values each bounded one.
    guessed
        Whether nobody knows if the gradients were scaled.
    """

    step: int
    histograms: bool
    gathering: Gathering = field(default_factory=Gathering)
    units: dict[str, int] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    scalars: list[tuple[_Row, str]] = field(default_factory=list)
    sample_ids: list[Any] | None = None
    guessed: bool = False

    def write(
        self, writer: Writer, scalars: Scalars, columns: dict[tuple[Key, ...], int]
    ) -> tuple[str, str] | None:
        """Hand over all that has arrived.

        Parameters
        ----------
        writer
            What writes.
        scalars
            The metrics, some of which are on their way with this page.
        columns
            The lists of names that were written before, with their numbers; new ones are added.

        Returns
        -------
        tuple or None
            The first layer with a value that is not finite, and a sentence about it.
        """
        summaries, arrays = self.gathering.read()
        scalars.fetched(self.scalars, arrays)
        statistics = self._statistics(summaries, arrays)
        if statistics:
            writer.line(
                "layers",
                step=self.step,
                columns=_number(writer, columns, tuple(statistics)),
                values=writer.array(np.fromiter(statistics.values(), dtype=np.float32)),
            )
        counted = {key: one.keys for key, one in summaries.items() if one.keys is not None}
        if self.histograms and counted:
            counts = in_order(np.stack(list(counted.values()), dtype=np.uint32, casting="unsafe"))
            # Looking for what is true is much faster than looking for what is not zero.
            rows, bins = np.divmod(np.flatnonzero(counts != 0), BINS)
            writer.line(
                "histograms",
                step=self.step,
                columns=_number(writer, columns, tuple(counted)),
                lengths=np.bincount(rows, minlength=len(counted)).tolist(),
                bins=writer.array(bins.astype(np.uint16)),
                counts=writer.array(counts[rows, bins]),
            )
        for (what, name), values in arrays.items():
            if what == WATCHED:
                writer.line(
                    "watched",
                    name=name,
                    step=self.step,
                    sample_ids=self.sample_ids,
                    values=writer.array(values),
                )
        # What torch.amp has scaled may overflow; it tries again with a smaller scale.
        lenient = self.guessed or bool(arrays.get(SKIPPED, 0))
        return _first_broken(
            {k: one for k, one in summaries.items() if not (lenient and k[1].endswith("gradient"))}
        )

    def _statistics(
        self, summaries: Mapping[Key, Summary], arrays: Mapping[Key, np.ndarray]
    ) -> dict[Key, float]:
        found: dict[Key, float] = {}
        for (layer, what), one in summaries.items():
            if what == "input":  # it is what the layer before puts out
                continue
            mean, std, low, high, norm = _names(what)
            found[layer, mean], found[layer, std], found[layer, norm] = one.mean, one.std, one.norm
            found[layer, low], found[layer, high] = one.low, one.high
            if what == "output" and one.zeros is not None:
                found[layer, "output.zero"] = one.zeros / one.count
        for (layer, what), value in arrays.items():
            if what == "dead":
                found[layer, "output.dead"] = float(value) / self.units[layer]
            elif what == "saturated":
                found[layer, "output.saturated"] = float(value) / self.values[layer]
            elif what.endswith(".update"):
                # A parameter of zeros has no size to compare with.
                size = summaries[layer, what.removesuffix(".update")].norm
                if size != 0:
                    found[layer, f"{what}_ratio"] = float(value) / size
        return found


def _number(writer: Writer, columns: dict[tuple[Key, ...], int], names: tuple[Key, ...]) -> int:
    """Return the number of a list of names, which is written when it comes up first."""
    if names not in columns:
        columns[names] = len(columns)
        writer.line("columns", id=columns[names], names=names)
    return columns[names]


@functools.cache
def _names(what: str) -> tuple[str, str, str, str, str]:
    return f"{what}.mean", f"{what}.std", f"{what}.min", f"{what}.max", f"{what}.norm"


def _single(name: str, value: Any) -> float | Tensor:
    """Return a metric's value; a tensor that is not on the CPU stays where it is."""
    if isinstance(value, Tensor):
        value = value.detach()
        if not value.is_cpu and value.numel() == 1:
            # A copy, since it may be written over until somebody looks at it.
            copied: Tensor = value.reshape(()).clone()
            return copied
    if not isinstance(value, (str, bytes)):
        with contextlib.suppress(TypeError, ValueError, RuntimeError):
            return float(value)
    shape = getattr(value, "shape", None)
    raise (InputTypeError if shape is None else InputError)(
        f"the metric {name!r} must be a number, or hold a single one; got "
        + (f"a {type(value).__name__}" if shape is None else f"the shape {tuple(shape)}")
    )


def _first_broken(summaries: Mapping[Key, Summary]) -> tuple[str, str] | None:
    """Return where something that is not finite appeared first, and a sentence about it."""
    # Masks put infinities into what a softmax is given; that is no fault.
    broken = [
        (_ORDER.index(kind), k, layer, what, one)
        for k, ((layer, what), one) in enumerate(summaries.items())
        if what != "input" and not one.finite
        for kind in [_kind(what)]
    ]
    if not broken:
        return None
    _, _, layer, what, one = min(broken, key=lambda found: found[:2])
    share = "" if one.not_finite is None else f"{one.not_finite} of {one.count} values of "
    return layer, f"{share}{layer}'s {what.replace('.', ' ')} are NaN or infinite"


def _kind(what: str) -> str:
    return "output" if what == "output" else "gradient" if what.endswith("gradient") else "weight"
