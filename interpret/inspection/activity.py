"""What the modules of a model do with some samples: their outputs, times, gradients, functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import InputError, InputTypeError, ModelError
from pellucid.interpret.inspection.architecture import listening
from pellucid.interpret.models import Model
from pellucid.interpret.outputs import describe, scored_part
from pellucid.interpret.results import ActivationFunction
from pellucid.interpret.taps import first_tensor

_PASSES = 5  # timed
_BINS = 60
_CURVE = 241
_PROBES = 256  # values by which a function is recognised as one of single values


@dataclass
class Activity:
    """What was seen in one forward pass; calls are known by their number.

    Attributes
    ----------
    activations
        What layers put out for the samples that are kept, the sample axis first.
    zero, dead
        Share of what a layer puts out that is exactly zero, and of its units that put out nothing
        else, for all samples.
    functions
        The activation functions, with what came into them.
    """

    activations: dict[int, np.ndarray] = field(default_factory=dict)
    zero: dict[int, float] = field(default_factory=dict)
    dead: dict[int, float] = field(default_factory=dict)
    functions: dict[int, ActivationFunction] = field(default_factory=dict)


@dataclass
class _Given:
    """What came into a module that may be an activation function."""

    edges: np.ndarray
    counts: np.ndarray
    probes: Tensor
    after: Tensor | None = None


class _Watcher:
    """Sees the outputs of the modules that call no other."""

    def __init__(self, leaves: set[int], kept: Mapping[int, int], rows: int, model: Model) -> None:
        self.seen = Activity()
        self.given: dict[int, tuple[nn.Module, _Given]] = {}
        self._leaves, self._kept, self._rows = leaves, kept, rows
        self._stack: list[int] = []
        self._count = 0
        one_dimensional = any(type(m).__name__.endswith("1d") for m in model.modules)
        self._channels = -1 if model.channels_last else 1
        self._of_sequences = 1 if one_dimensional and not model.channels_last else -1

    def enter(self, _: str, module: nn.Module, given: Any) -> None:
        number = self._count
        self._count += 1
        self._stack.append(number)
        if number not in self._leaves or not _may_be_function(module):
            return
        tensors = [t for t in (*given[0], *given[1].values()) if isinstance(t, Tensor)]
        if len(tensors) == 1 and tensors[0].is_floating_point() and tensors[0].numel():
            found = _read(tensors[0].detach())
            if found is not None:
                self.given[number] = module, found

    def leave(self, _: nn.Module, output: Any) -> None:
        number = self._stack.pop()
        tensor = first_tensor(output)
        if number not in self._leaves or tensor is None or not tensor.is_floating_point():
            self.given.pop(number, None)
            return
        values = tensor.detach()
        if number in self.given:
            self.given[number][1].after = _probes(values)
        if not values.numel():
            return
        zero = values == 0
        self.seen.zero[number] = float(zero.float().mean())
        if values.ndim > 1:
            axis = {2: 1, 3: self._of_sequences}.get(values.ndim, self._channels)
            units = zero.movedim(axis, 0).flatten(1).all(1)
            self.seen.dead[number] = float(units.float().mean())
        keep = self._kept.get(number, 0)
        if keep and values.ndim and len(values) == self._rows:
            self.seen.activations[number] = array(values[:keep])


def watch(
    run: Callable[[], Any],
    layers: Mapping[str, nn.Module],
    leaves: set[int],
    kept: Mapping[int, int],
    rows: int,
    model: Model,
) -> Activity:
    """Run the model once and note what those modules put out that call no other.

    Parameters
    ----------
    run
        Runs the model, without gradients.
    layers
        Its modules by their paths.
    leaves
        Numbers of the calls of modules that call no other.
    kept
        For calls whose output is to be kept, for how many samples.
    rows
        Samples that it runs on.
    model
        The model.
    """
    watcher = _Watcher(leaves, kept, rows, model)
    with listening(layers, watcher.enter, watcher.leave):
        run()
    for number, (module, given) in watcher.given.items():
        found = _function(module, given)
        if found is not None:
            watcher.seen.functions[number] = found
    return watcher.seen


# -- activation functions --------------------------------------------------------------------


def _may_be_function(module: nn.Module) -> bool:
    """Whether a module has nothing that depends on where in its input a value stands."""
    if isinstance(module, nn.PReLU):
        return True
    return not any(True for _ in module.parameters()) and not any(True for _ in module.buffers())


def _probes(values: Tensor) -> Tensor:
    flat = values.flatten()
    return flat[:: max(1, len(flat) // _PROBES)][:_PROBES].clone()


def _read(values: Tensor) -> _Given | None:
    """Count the values in bins; None where none of them is finite."""
    wide = values.float() if values.dtype != torch.float64 else values
    finite = wide[torch.isfinite(wide)]
    if not finite.numel():
        return None
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        room = max(abs(low), 1.0) * 0.5
        low, high = low - room, high + room
    counts = torch.histc(finite, _BINS, low, high)
    edges = np.linspace(low, high, _BINS + 1)
    return _Given(edges, counts.cpu().numpy().astype(np.int64), _probes(values))


def _function(module: nn.Module, given: _Given) -> ActivationFunction | None:
    """Return a module as an activation function; None if it is none.

    It is one if it makes of single values what it made of them all together, so that a softmax or
    a pooling is none, and if it is not linear, as dropout is in evaluation mode.
    """
    if given.after is None or given.after.shape != given.probes.shape:
        return None
    low, high = float(given.edges[0]), float(given.edges[-1])
    # With room, so that one sees how the curve goes on, and with the place where most of them bend.
    room = 0.05 * (high - low)
    x = torch.linspace(
        min(low - room, -1.0), max(high + room, 1.0), _CURVE, device=given.probes.device
    ).to(given.probes.dtype)
    y = _apply(module, x)
    if y is None:
        return None
    if not isinstance(module, nn.PReLU):  # which has a slope for each channel
        again = _apply(module, given.probes)
        if again is None or not torch.allclose(
            again.float(), given.after.float(), rtol=1e-3, atol=1e-4, equal_nan=True
        ):
            return None
    xs, ys = array(x.float()), array(y.float())
    bend = np.abs(np.diff(ys, 2)).max()
    if not np.isfinite(ys).all() or bend < 1e-5 * max(1e-12, np.ptp(ys)):
        return None
    return ActivationFunction(type(module).__name__, xs, ys, given.edges, given.counts)


def _apply(module: nn.Module, values: Tensor) -> Tensor | None:
    """Return what a module makes of values; None if it cannot be asked so."""
    given = values.clone()  # which a module may write into
    channels = module.num_parameters if isinstance(module, nn.PReLU) else 1
    if channels > 1:
        given = given[:, None].expand(-1, channels).contiguous()
    try:
        # Not by way of the hooks that others may have on it.
        found = module.forward(given)
    except Exception:  # noqa: BLE001 - a pooling refuses such a shape in its own way
        return None
    if not isinstance(found, Tensor) or found.shape != given.shape:
        return None
    return found.mean(1) if channels > 1 else found


def array(tensor: Tensor) -> np.ndarray:
    """Return a copy of a tensor that NumPy can read."""
    copy = tensor.detach().cpu().clone()
    return np.asarray((copy.float() if copy.dtype == torch.bfloat16 else copy).numpy())


# -- time ------------------------------------------------------------------------------------


def seconds(
    run: Callable[[], Any], layers: Mapping[str, nn.Module], device: torch.device
) -> dict[int, float]:
    """Return the seconds of each call, those of the calls within it included.

    What each takes for itself is the least over some passes, since whatever else a machine does
    only adds to it.
    """
    passes = []
    for _ in range(_PASSES):
        clock = _Clock(device)
        with listening(layers, clock.enter, clock.leave):
            run()
        passes.append(clock)
    around = passes[0].around
    found = {number: min(one.own.get(number, np.inf) for one in passes) for number in around}
    for number in sorted(around, reverse=True):  # what is within another was called after it
        outer = around[number]
        if outer is not None:
            found[outer] += found[number]
    return found


class _Clock:
    """Measures what each call takes, without the calls within it."""

    def __init__(self, device: torch.device) -> None:
        self.own: dict[int, float] = {}
        self.around: dict[int, int | None] = {}
        self._device = device
        self._stack: list[int] = []
        self._last = 0.0

    def _since(self) -> None:
        """Give the time since the last event to the call that it passed in."""
        if self._device.type in ("cuda", "mps"):
            getattr(torch, self._device.type).synchronize()
        now = time.perf_counter()
        if self._stack:
            self.own[self._stack[-1]] += now - self._last

    def enter(self, _: str, __: nn.Module, ___: Any) -> None:
        self._since()
        number = len(self.own)
        self.around[number] = self._stack[-1] if self._stack else None
        self.own[number] = 0.0
        self._stack.append(number)
        self._last = time.perf_counter()

    def leave(self, _: nn.Module, __: Any) -> None:
        self._since()
        self._stack.pop()
        self._last = time.perf_counter()


# -- gradients -------------------------------------------------------------------------------


def gradient_norms(
    run: Callable[[], Any], model: Model, targets: Any, loss: Callable[..., Any] | None, rows: int
) -> Iterator[tuple[nn.Parameter, float]]:
    """Yield for each parameter that the loss depends on the norm of the loss's gradient.

    Parameters
    ----------
    run
        Runs the model.
    model
        It, held frozen.
    targets
        What the samples' outputs should be; the first `rows` of them.
    loss
        Of the output and the targets; None for cross-entropy.
    rows
        Samples that the model runs on.
    """
    device = model.device or torch.device("cpu")
    wanted = torch.as_tensor(np.asarray(targets) if not isinstance(targets, Tensor) else targets)
    if not wanted.ndim or len(wanted) < rows:
        raise InputError(
            f"targets have shape {tuple(wanted.shape)}, but there are {rows} samples; give one for "
            "each sample"
        )
    wanted = wanted[:rows].to(device)
    parameters = [p for p in model.parameters if p.is_floating_point()]
    with torch.enable_grad():
        for parameter in parameters:
            parameter.requires_grad_(True)  # `frozen` puts it back
        output, _ = scored_part(run())
        value = _cross_entropy(output, wanted) if loss is None else loss(output, wanted)
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ModelError(f"the loss is {describe(value)}, not one number")
        if not value.requires_grad:
            raise ModelError("the loss does not depend on the model's parameters")
        found = torch.autograd.grad(value.reshape(()), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, found, strict=True):
        if gradient is not None:
            yield parameter, float(gradient.detach().double().norm())


def _cross_entropy(output: Any, targets: Tensor) -> Tensor:
    if targets.is_floating_point():
        raise InputTypeError(
            f"targets are {targets.dtype}; without a loss they are class indices: give "
            "loss=torch.nn.functional.mse_loss, or whatever the model was trained with"
        )
    if not isinstance(output, Tensor) or output.ndim < 2:
        raise ModelError(
            f"the model returns {describe(output)}, which has no classes; give a loss, a function "
            "of the output and the targets"
        )
    if output.ndim == 3 and targets.ndim == 2:  # (samples, tokens, classes)
        output = output.movedim(-1, 1)
    classes = output.shape[1]
    bad = (targets < 0) | (targets >= classes)
    if bool(bad.any()):
        raise InputError(
            f"targets hold class {int(targets[bad][0])}, but the model has {classes} classes, "
            f"0 to {classes - 1}"
        )
    return nn.functional.cross_entropy(output, targets.long())


def kept_samples(
    shapes: Mapping[int, Sequence[int]], rows: int, keep: int, room: int
) -> tuple[dict[int, int], int]:
    """Return for how many samples each call's output is kept, so that all fits into `room` bytes.

    As many samples as fit; if not one does, the largest outputs are left out.

    Parameters
    ----------
    shapes
        Of the outputs, by the call's number.
    rows
        Samples that there are.
    keep
        How many at most.
    room
        In bytes.

    Returns
    -------
    kept
        Samples by the call's number.
    count
        The most that any has.
    """
    sizes = {
        number: 4 * int(np.prod(shape[1:], dtype=np.int64))
        for number, shape in shapes.items()
        if shape and shape[0] == rows
    }
    each = sum(sizes.values())
    count = min(keep, rows, max(1, room // max(1, each)))
    kept: dict[int, int] = {}
    taken = 0
    for number, size in sorted(sizes.items(), key=lambda item: item[1]):
        taken += size * count
        if taken <= room:
            kept[number] = count
    return kept, count
