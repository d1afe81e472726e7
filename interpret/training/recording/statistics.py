"""Statistics and histograms of many tensors, computed where they are, with few operations.

On a CPU a large tensor is read in pieces that fit its cache, once for everything; small ones are
copied one behind the other and measured together, since starting an operation takes longer than
measuring a bias. On other devices see `lanes`: nothing waits for a result there.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pellucid.interpret.training.recording.octaves import KEYS, not_finite, zeros

Key = tuple[str, str]  # a layer, and what of it
_PIECE = 1 << 17  # values, of which a CPU's cache holds some copies
_STRETCH = 1 << 20  # values that are converted at once
_TINY, _HUGE = 1e-14, 1e14  # between which float32 has room for the squares of values
_SMALL = 1 << 14  # values; below, tensors are measured together


@dataclass(slots=True)
class Summary:
    """What is known about some values.

    Attributes
    ----------
    count
        How many values.
    mean, spread
        Their mean, and the sum of their squared distances from it.
    low, high
        The smallest and the largest; NaN if one of them is NaN.
    keys
        How many values have each of the histogram's keys (see `octaves`); None if not asked for.
    """

    count: int
    mean: float
    spread: float
    low: float
    high: float
    keys: np.ndarray | None = None

    @property
    def std(self) -> float:
        """The standard deviation (of the population)."""
        return math.sqrt(self.spread / self.count)

    @property
    def norm(self) -> float:
        """The L2 norm."""
        return math.sqrt(self.spread + self.count * self.mean**2)

    @property
    def finite(self) -> bool:
        """Whether there is neither NaN nor infinity among them."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def zeros(self) -> int | None:
        """How many values are zero (or closer to it than 1.18e-38)."""
        return None if self.keys is None else int(zeros(self.keys))

    @property
    def not_finite(self) -> int | None:
        """How many values are NaN or infinite."""
        return None if self.keys is None else int(not_finite(self.keys))

    def __add__(self, other: Summary) -> Summary:
        count = self.count + other.count
        apart = other.mean - self.mean
        keys = None if self.keys is None or other.keys is None else self.keys + other.keys
        return Summary(
            count,
            self.mean + apart * other.count / count,
            self.spread + other.spread + apart**2 * self.count * other.count / count,
            float(np.minimum(self.low, other.low)),
            float(np.maximum(self.high, other.high)),
            keys,
        )


def zero_summary(count: int, *, histogram: bool) -> Summary:
    """Return the summary of so many zeros."""
    keys = None
    if histogram:
        keys = np.zeros(KEYS, dtype=np.int64)
        keys[0] = count
    return Summary(count, 0.0, 0.0, 0.0, 0.0, keys)


def measurable(tensor: object) -> bool:
    """Return whether something is a tensor of numbers whose distribution means something."""
    return (
        isinstance(tensor, Tensor)
        and (tensor.is_floating_point() or tensor.is_complex())
        and not isinstance(tensor, torch.nn.UninitializedParameter)
        and tensor.numel() > 0
        and not tensor.is_meta
    )


def flat(tensor: Tensor) -> tuple[Tensor, int]:
    """Return a tensor's values in any order, without copying if possible, and the zeros left out.

    Complex numbers become their real and imaginary parts. Of a sparse tensor the values that it
    does not hold are only counted.
    """
    tensor = tensor.detach()
    if tensor.is_contiguous() and not tensor.is_complex() and tensor.layout == torch.strided:
        return tensor.view(-1), 0
    missing = 0
    if tensor.layout == torch.sparse_coo:
        held = tensor.coalesce().values()
        missing, tensor = tensor.numel() - held.numel(), held
    elif tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_complex():
        tensor, missing = torch.view_as_real(tensor.resolve_conj()), 2 * missing
    # Channels last, for one, is contiguous in another order of its axes.
    axes = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
    return tensor.permute(axes).reshape(-1), missing


def summary(values: Tensor, *, histogram: bool = True) -> Summary:
    """Measure float32 numbers on the CPU."""
    found = (_piece(part, histogram) for part in torch.split(values, _PIECE))
    return functools.reduce(operator.add, found)


def _piece(values: Tensor, histogram: bool) -> Summary:
    count = len(values)
    low, high = (end.item() for end in torch.aminmax(values))
    size = max(-low, high)
    wide = values if size == 0 or _TINY < size < _HUGE else values.double()
    mean = wide.sum().item() / count
    squares = torch.linalg.vector_norm(wide).item() ** 2
    spread = squares - count * mean**2
    if not spread > squares / 2:  # too little is left of what was rounded
        spread = torch.linalg.vector_norm(wide - mean).item() ** 2
    return Summary(count, mean, spread, low, high, _counts(values) if histogram else None)


def _counts(values: Tensor) -> np.ndarray:
    """Return how many values have each key; on one thread, which several did not make quicker."""
    return torch.bincount(torch.from_numpy(_keys(values.numpy())), minlength=KEYS).numpy()


def summaries(values: np.ndarray, sizes: np.ndarray) -> list[Summary]:
    """Measure stretches of float32 numbers, of these sizes, together with their histograms."""
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    size = np.maximum(-low, high)
    plain = np.all((size == 0) | ((size > _TINY) & (size < _HUGE)))
    wide = values if plain else values.astype(np.float64)
    mean = np.add.reduceat(wide, starts) / sizes.astype(wide.dtype)
    apart = wide - np.repeat(mean, sizes)
    spread = np.add.reduceat(np.square(apart, out=apart), starts)
    own = _keys(values) + np.repeat(np.arange(len(sizes), dtype=np.int32) * KEYS, sizes)
    counts = torch.bincount(torch.from_numpy(own), minlength=len(sizes) * KEYS).numpy()
    return [
        Summary(*numbers)
        for numbers in zip(
            sizes.tolist(),
            mean.tolist(),
            spread.tolist(),
            low.tolist(),
            high.tolist(),
            counts.reshape(-1, KEYS),
            strict=True,
        )
    ]


def _keys(values: np.ndarray) -> np.ndarray:
    """Return each value's key."""
    return np.right_shift(values.view(np.uint32), 21).view(np.int32)


@dataclass(slots=True)
class Row:
    """A tensor that is measured, and what was found."""

    count: int
    missing: int  # zeros that a sparse tensor does not hold
    histogram: bool
    keys: list[Key] = field(default_factory=list)
    found: Summary | None = None


class Lane(Protocol):
    """What one device's tensors give, on their way."""

    def add(self, row: Row, values: Tensor) -> None:
        """Measure a flat tensor now."""

    def collect(self, rows: list[Row], values: Tensor) -> None:
        """Measure several tensors with others, copies of which stand one behind the other."""

    def fetch(self, key: Key, values: Tensor) -> None:
        """Bring a tensor along that nobody writes into."""

    def send(self) -> None:
        """Begin to copy the results."""

    def ready(self) -> bool:
        """Return whether reading would not wait."""

    def read(self) -> list[tuple[Key, np.ndarray]]:
        """Complete the rows, and return what was fetched."""


class CPULane:
    """Measures tensors on the CPU, and those of other devices there."""

    def __init__(self) -> None:
        self._small: list[tuple[list[Row], np.ndarray]] = []
        self._fetched: list[tuple[Key, np.ndarray]] = []

    def add(self, row: Row, values: Tensor) -> None:
        """Measure a flat tensor."""
        if values.dtype == torch.float32 and values.is_cpu:
            row.found = summary(values, histogram=row.histogram)
            return
        # In stretches, lest all of it has to be held twice.
        row.found = functools.reduce(
            operator.add,
            (
                summary(stretch.cpu().float(), histogram=row.histogram)
                for stretch in torch.split(values, _STRETCH)
            ),
        )

    def collect(self, rows: list[Row], values: Tensor) -> None:
        """Keep small tensors until there are more."""
        self._small.append((rows, values.cpu().float().numpy()))

    def fetch(self, key: Key, values: Tensor) -> None:
        """Keep a tensor."""
        # NumPy has no bfloat16.
        known = values.dtype != torch.bfloat16
        self._fetched.append((key, (values if known else values.float()).cpu().numpy()))

    def send(self) -> None:
        """Measure the small tensors."""
        if self._small:
            rows = [row for block, _ in self._small for row in block]
            with np.errstate(invalid="ignore", over="ignore"):
                found = summaries(
                    np.concatenate([values for _, values in self._small]),
                    np.array([row.count for row in rows]),
                )
            for row, one in zip(rows, found, strict=True):
                row.found = one
            self._small = []

    def ready(self) -> bool:
        """Return that nothing has to be waited for."""
        return True

    def read(self) -> list[tuple[Key, np.ndarray]]:
        """Return what was fetched."""
        return self._fetched


class Gathering:
    """What one step's tensors gave, on its way from their devices."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._lanes: dict[torch.device, Lane] = {}
        self._last: tuple[Tensor, int, Row] | None = None

    def add(self, key: Key, tensor: Tensor, *, histogram: bool = True) -> None:
        """Measure a tensor; what is added under one key is measured together.

        Parameters
        ----------
        key
            A name for it.
        tensor
            It is not changed, and may be written into afterwards.
        histogram
            Whether its values are counted.
        """
        version = 0 if tensor.is_inference() else tensor._version
        if self._last and self._last[0] is tensor and self._last[1] == version:
            # One layer's output is the next one's input: measured once.
            self._last[2].keys.append(key)
            return
        values, missing = flat(tensor)
        row = Row(values.numel(), missing, histogram, [key])
        self._rows.append(row)
        lane = self._lane(tensor.device)
        if row.count < _SMALL:
            lane.collect([row], values.clone())
        else:
            lane.add(row, values)
        self._last = tensor, version, row

    def add_all(self, tensors: Mapping[Key, Tensor], *, histogram: bool = True) -> None:
        """Measure several tensors, with less ado for each that is small."""
        alike: dict[tuple[torch.device, torch.dtype], list[tuple[Row, Tensor]]] = {}
        for key, tensor in tensors.items():
            count = tensor.numel()
            if count < _SMALL and tensor.layout == torch.strided and not tensor.is_complex():
                row = Row(count, 0, histogram, [key])
                self._rows.append(row)
                alike.setdefault((tensor.device, tensor.dtype), []).append((row, tensor))
            else:
                self.add(key, tensor, histogram=histogram)
        for (device, _), several in alike.items():
            with torch.no_grad():
                together = torch.cat([tensor.reshape(-1) for _, tensor in several])
            self._lane(device).collect([row for row, _ in several], together)

    def fetch(self, key: Key, values: Tensor) -> None:
        """Bring along a tensor that nobody writes into; those under one key are summed."""
        self._lane(values.device).fetch(key, values.detach())

    def send(self) -> None:
        """Begin to copy the results; nothing can be added afterwards."""
        self._last = None
        for lane in self._lanes.values():
            lane.send()

    def ready(self) -> bool:
        """Return whether reading would not wait."""
        return all(lane.ready() for lane in self._lanes.values())

    def read(self) -> tuple[dict[Key, Summary], dict[Key, np.ndarray]]:
        """Return the summaries, in the order in which they were added, and what was fetched."""
        arrays: dict[Key, np.ndarray] = {}
        for lane in self._lanes.values():
            for key, values in lane.read():
                arrays[key] = arrays[key] + values if key in arrays else values
        found: dict[Key, Summary] = {}
        for row in self._rows:
            if row.found is None:  # it could not be measured
                continue
            one = row.found
            if row.missing:
                one = one + zero_summary(row.missing, histogram=row.histogram)
            for key in row.keys:
                found[key] = found[key] + one if key in found else one
        return found, arrays

    def _lane(self, device: torch.device) -> Lane:
        if device not in self._lanes:
            if device.type == "cuda":
                from pellucid.interpret.training.recording.lanes import DeviceLane

                self._lanes[device] = DeviceLane(device)
            else:
                self._lanes[device] = CPULane()
        return self._lanes[device]
