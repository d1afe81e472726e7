"""From what several processes wrote to one `Run`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pellucid.interpret.results import Event, Histograms, Run, Watched
from pellucid.interpret.results.run import Track
from pellucid.interpret.training.recording.octaves import BINS, widened

Names = tuple[tuple[str, str], ...]


@dataclass
class Part:
    """What one process wrote, in the order in which it did."""

    name: str | None = None
    step_unit: str = "step"
    layers: tuple[str, ...] = ()
    rank: int = 0
    step: float = 0.0
    time: float = 0.0
    metrics: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    clock: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    columns: dict[int, Names] = field(default_factory=dict)
    rows: dict[Names, tuple[list[float], list[np.ndarray]]] = field(default_factory=dict)
    histograms: dict[str, dict[float, tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    watched: dict[str, list[tuple[float, np.ndarray, np.ndarray | None]]] = field(
        default_factory=dict
    )
    events: list[Event] = field(default_factory=list)

    def begin(
        self, *, name: str, step_unit: str, layers: tuple[str, ...], rank: int, step: float,
        time: float,
    ) -> None:  # fmt: skip
        """Note who writes."""
        self.name, self.step_unit, self.layers = name, step_unit, layers
        self.rank, self.step, self.time = rank, step, time

    def add_metrics(
        self, steps: list[float], values: dict[str, list[float]], seconds: list[float]
    ) -> None:
        """Add values of some metrics at some steps."""
        for name, each in values.items():
            kept = self.metrics.setdefault(name, ([], []))
            kept[0].extend(steps)
            kept[1].extend(each)
        if seconds:
            self.clock[0].extend(steps)
            self.clock[1].extend(seconds)

    def add_layers(self, step: float, names: Names, values: np.ndarray) -> None:
        """Add the layers' statistics at one step."""
        steps, rows = self.rows.setdefault(names, ([], []))
        steps.append(step)
        rows.append(values)

    def add_histograms(
        self,
        step: float,
        names: Sequence[str],
        lengths: Sequence[int],
        bins: np.ndarray,
        counts: np.ndarray,
    ) -> None:
        """Add some quantities' histograms at one step."""
        ends = np.cumsum(lengths)
        # Checked once for all of them: increasing within each, and none that there is not.
        inside = np.ones(max(0, len(bins) - 1), dtype=bool)
        inside[[end - 1 for end in ends[:-1] if 0 < end < len(bins)]] = False
        order = np.diff(bins.astype(np.int64))[inside]
        if (order <= 0).any() or (bins < 0).any() or (bins >= BINS).any() or (counts < 0).any():
            raise ValueError("bins increase, and hold something")
        for name, pair in zip(names, widened(bins, counts, lengths), strict=True):
            self.histograms.setdefault(name, {})[step] = pair

    def add_watched(
        self, step: float, name: str, values: np.ndarray, ids: np.ndarray | None
    ) -> None:
        """Add what the watched samples gave at one step."""
        self.watched.setdefault(name, []).append((step, values, ids))


def merged(parts: Sequence[Part], name: str) -> Run:
    """Return the run that these processes wrote together.

    Parameters
    ----------
    parts
        In any order; of two values for one step that of the process that began later counts.
    name
        The run's name, where no process says it.
    """
    parts = sorted(parts, key=lambda part: (part.rank, part.time))
    first = min((part.time for part in parts if part.name is not None), default=0.0)
    metrics: dict[str, list[tuple[Sequence[float], Sequence[float]]]] = defaultdict(list)
    layers: dict[str, dict[str, list[tuple[Sequence[float], np.ndarray]]]] = {}
    histograms: dict[str, dict[float, tuple[np.ndarray, np.ndarray]]] = {}
    watched: dict[str, list[tuple[float, np.ndarray, np.ndarray | None]]] = {}
    clock = []
    for part in parts:
        mark = f"/rank{part.rank}" if part.rank else ""
        for layer in part.layers:
            layers.setdefault(layer + mark, {})
        for metric, pair in part.metrics.items():
            metrics[metric + mark].append(pair)
        for names, (steps, rows) in part.rows.items():
            table = np.stack(rows, axis=1).astype(np.float64)
            for (layer, statistic), values in zip(names, table, strict=True):
                kept = layers.setdefault(layer + mark, {})
                kept.setdefault(statistic, []).append((steps, values))
        for key, found in part.histograms.items():
            histograms.setdefault(key + mark, {}).update(found)
        for key, seen in part.watched.items():
            watched.setdefault(key + mark, []).extend(seen)
        if not part.rank and part.clock[0]:
            clock.append((part.clock[0], np.asarray(part.clock[1]) + (part.time - first)))
    return Run(
        metrics={key: _track(pieces) for key, pieces in metrics.items()},
        layers={
            layer: {key: _track(pieces) for key, pieces in statistics.items()}
            for layer, statistics in layers.items()
            if statistics
        },
        histograms={key: _histograms(found) for key, found in histograms.items()},
        watched={key: _watched(seen) for key, seen in watched.items()},
        events=tuple(sorted(_events(parts), key=lambda event: event.step)),
        clock=_track(clock) if clock else None,
        name=next((part.name for part in reversed(parts) if part.name), name),
        step_unit=next((part.step_unit for part in parts if part.name is not None), "step"),
    )


def _track(pieces: Iterable[tuple[Sequence[float], Sequence[float] | np.ndarray]]) -> Track:
    """Return steps that increase, and the last value that was given for each."""
    pieces = list(pieces)
    steps = np.concatenate([np.asarray(piece[0], dtype=np.float64) for piece in pieces])
    values = np.concatenate([np.asarray(piece[1], dtype=np.float64) for piece in pieces])
    if (np.diff(steps) > 0).all():
        return steps, values
    order = np.argsort(steps, kind="stable")
    steps, values = steps[order], values[order]
    last = np.append(steps[1:] != steps[:-1], True)
    return steps[last], values[last]


def _histograms(found: dict[float, tuple[np.ndarray, np.ndarray]]) -> Histograms:
    steps = sorted(found)
    return Histograms(
        steps=np.asarray(steps, dtype=np.float64),
        edges=tuple(found[step][0] for step in steps),
        counts=tuple(found[step][1] for step in steps),
    )


def _watched(seen: list[tuple[float, np.ndarray, np.ndarray | None]]) -> Watched:
    # Other samples, or a layer of another width, are another story: the last one told counts.
    _, values, ids = seen[-1]
    kept = {
        step: one
        for step, one, other in seen
        if one.shape == values.shape and np.array_equal(other, ids)  # type: ignore[arg-type]
    }
    steps = sorted(kept)
    return Watched(
        steps=np.asarray(steps, dtype=np.float64),
        values=np.stack([kept[step] for step in steps]),
        sample_ids=ids,
    )


def _events(parts: Sequence[Part]) -> list[Event]:
    events = [event for part in parts for event in part.events]
    begun = [part for part in parts if part.name is not None and not part.rank]
    events += [
        Event(
            step=part.step,
            kind="restart",
            layer=None,
            text=f"the training was taken up again at {part.step_unit} {part.step:g}",
        )
        for part in begun[1:]
    ]
    return events
