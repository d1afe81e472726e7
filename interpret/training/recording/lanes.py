"""Statistics on a device that works while the program goes on, such as a GPU.

Nothing here waits for the device. What is computed stays there until `DeviceLane.send` copies all
of it at once, into memory that the device can write to by itself, beside the training's own work.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from pellucid.interpret.training.recording.octaves import KEYS
from pellucid.interpret.training.recording.statistics import Key, Row, Summary

_EXACT = 1 << 24  # up to which float32 counts without rounding
_MOMENTS = 4


class DeviceLane:
    """Measures tensors on one device.

    Parameters
    ----------
    device
        Where the tensors are.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._small: list[Row] = []
        self._blocks: list[Tensor] = []  # their values
        self._large: list[tuple[Row, Tensor]] = []
        self._fetched: list[tuple[Key, Tensor]] = []
        self._copy = torch.empty(0)
        self._sent: torch.cuda.Event | None = None

    def add(self, row: Row, values: Tensor) -> None:
        """Measure a flat tensor."""
        found = _moments(values)
        self._large.append((row, torch.cat([found, _keys(values)]) if row.histogram else found))

    def collect(self, rows: list[Row], values: Tensor) -> None:
        """Keep small tensors until there are more: measuring each would take longer to start."""
        self._small += rows
        self._blocks.append(values.float())

    def fetch(self, key: Key, values: Tensor) -> None:
        """Bring a tensor along that nobody writes into."""
        self._fetched.append((key, values))

    def send(self) -> None:
        """Begin to copy the results."""
        parts = [found for _, found in self._large]
        if self._small:
            together = torch.cat(self._blocks)
            lengths, which = _stretches(together, [row.count for row in self._small])
            parts += [
                _segment_moments(together, lengths, which),
                _segment_keys(together, len(self._small), which),
            ]
        parts += [values.float() for _, values in self._fetched]
        if not parts:
            return
        there = torch.cat([part.reshape(-1) for part in parts])
        if there.is_cuda:
            self._copy = torch.empty(there.shape, dtype=there.dtype, pin_memory=True)
            self._copy.copy_(there, non_blocking=True)
            self._sent = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._sent.record(torch.cuda.current_stream(self._device))
        else:
            self._copy = there.cpu()

    def ready(self) -> bool:
        """Return whether the results have arrived."""
        return self._sent is None or bool(self._sent.query())  # type: ignore[no-untyped-call]

    def read(self) -> list[tuple[Key, np.ndarray]]:
        """Complete the rows, and return what was fetched; wait for it if need be."""
        if self._sent is not None:
            self._sent.synchronize()
        values = self._copy.numpy()
        at = 0

        def take(*shape: int) -> np.ndarray:
            nonlocal at
            part = values[at : at + math.prod(shape)].reshape(shape)
            at += math.prod(shape)
            return part

        for row, _ in self._large:
            moments = take(_MOMENTS)
            row.found = _summary(row, moments, take(KEYS) if row.histogram else None)
        if self._small:
            moments, keys = take(len(self._small), _MOMENTS), take(len(self._small), KEYS)
            for k, row in enumerate(self._small):
                row.found = _summary(row, moments[k], keys[k] if row.histogram else None)
        return [(key, take(*there.shape)) for key, there in self._fetched]


def _summary(row: Row, moments: np.ndarray, keys: np.ndarray | None) -> Summary:
    mean, variance, low, high = moments.tolist()
    size = max(-low, high)
    size = size if 0 < size < math.inf else 1.0
    return Summary(
        row.count,
        mean * size,
        variance * size**2 * row.count,
        low,
        high,
        None if keys is None else keys.astype(np.int64),
    )


def _size(low: Tensor, high: Tensor) -> Tensor:
    """Return what values are divided by, so that float32 has room for their squares."""
    size = torch.maximum(-low, high)
    return torch.where((size > 0) & size.isfinite(), size, 1.0)


def _moments(values: Tensor) -> Tensor:
    """Return mean and variance in units of the size, smallest and largest value."""
    values = values.float()
    low, high = torch.aminmax(values)
    variance, mean = torch.var_mean(values / _size(low, high), correction=0)
    return torch.stack([mean, variance, low, high])


def _keys(values: Tensor) -> Tensor:
    """Return how many values have each key."""
    counts = torch.zeros(KEYS, device=values.device)
    with _order_is_free():
        for piece in torch.split(values, _EXACT):
            # Its ends are known: else it would look for them, and wait.
            counts += torch.histc(_shifted(piece.float()).float(), KEYS, 0, KEYS)
    return counts


def _segment_moments(values: Tensor, lengths: Tensor, which: Tensor) -> Tensor:
    """Return mean and variance in units of the size, smallest and largest: (stretches, 4)."""

    def reduce(what: Tensor, how: str) -> Tensor:
        # unsafe: it would compare the lengths' sum with the number of values, and wait for it
        return torch.segment_reduce(what, how, lengths=lengths, unsafe=True)

    low, high = reduce(values, "min"), reduce(values, "max")
    values = values / _size(low, high)[which]
    mean = reduce(values, "sum") / lengths
    variance = reduce((values - mean[which]).square(), "sum") / lengths
    return torch.stack([mean, variance, low, high], dim=1)


def _segment_keys(values: Tensor, stretches: int, which: Tensor) -> Tensor:
    """Return how many values of each stretch have each key: (stretches, keys)."""
    counts = torch.zeros(stretches * KEYS, device=values.device)
    with _order_is_free():
        counts.scatter_add_(0, which * KEYS + _shifted(values), torch.ones_like(values))
    return counts.reshape(stretches, KEYS)


def _stretches(values: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
    """Return the stretches' lengths, and for each value in which of them it is."""
    lengths = torch.tensor(sizes, pin_memory=values.is_cuda).to(values.device, non_blocking=True)
    return lengths, torch.repeat_interleave(lengths, output_size=len(values))


def _shifted(values: Tensor) -> Tensor:
    """Return each value's key."""
    return (values.contiguous().view(torch.int32) >> 21) & (KEYS - 1)


@contextlib.contextmanager
def _order_is_free() -> Iterator[None]:
    """Allow sums in any order, which counting may have: whole numbers come out the same."""
    if not torch.are_deterministic_algorithms_enabled():
        yield
        return
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(mode=False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=True, warn_only=only_warns)
