"""`loss_landscape`: the loss around a model's parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError, InputTypeError, ModelError
from pellucid.interpret.engine import Engine
from pellucid.interpret.inputs import is_real, is_whole, read_inputs
from pellucid.interpret.inspection.directions import Direction, Parameters
from pellucid.interpret.inspection.losses import Loss, Seen, check_loss, choose_loss, read_targets
from pellucid.interpret.memory import keep_bytes
from pellucid.interpret.models import Model
from pellucid.interpret.results import Landscape, Provenance

T = TypeVar("T")

# How far the plane reaches beyond a trajectory on each side, as a share of its extent.
_BEYOND = 0.25


def loss_landscape(
    model: Any,
    inputs: Any,
    targets: Any,
    *,
    loss: str | Callable[[Any, Any], Tensor] = "auto",
    directions: int | None = None,
    points: int = 25,
    span: float = 1.0,
    to: Any = None,
    trajectory: Sequence[Any] | None = None,
    seed: int = 0,
    device: Any = "auto",
    batch_size: int | str = "auto",
    progress: bool | None = None,
) -> Landscape:
    """Evaluate a model's loss around its parameters, along one or two directions.

    Random directions are normalised filter by filter (Li et al. 2018,
    https://arxiv.org/abs/1712.09913): each filter of a direction is as long as the model's own, so
    that networks that compute the same with larger weights look the same. Vectors, which are biases
    and the scales of normalisation layers, do not move. The model is in evaluation mode, and its
    buffers, such as BatchNorm's running statistics, stay as they are. What moves are copies of the
    parameters: the model is left as it was, to the bit.

    Parameters
    ----------
    model
        A `torch.nn.Module`, or a Keras model on its torch backend.
    inputs
        What the loss is a mean over: as for `pellucid.explain`. Some hundred samples usually do;
        they go through the model once for each point.
    targets
        Class indices or numbers, one row for each sample.
    loss
        ``"cross_entropy"``, ``"mean_squared_error"``, or a function from outputs and targets to a
        mean, or to one number for each sample. ``"auto"``: cross-entropy for class indices, else
        the mean squared error. Whether the model returns logits or probabilities is seen from its
        outputs.
    directions
        1 or 2; None for 2, and for 1 with `to`.
    points
        How many along each direction; an odd number has the model itself among them.
    span
        How far to go. Along random directions: from -span to span, in norms of the filters. With
        `to`: half of it beyond each model. With `trajectory`: the plane reaches beyond it by
        a quarter of its extent times `span`.
    to
        Another model of the same architecture, or its state dict: the loss on the straight line
        from `model` (0) to it (1), buffers included.
    trajectory
        The states of a training: state dicts or models, in their order. The directions are the
        principal components of their differences from `model`, not normalised.
    seed
        Of the random directions.
    device, batch_size, progress
        As for `pellucid.explain`.

    Returns
    -------
    Landscape
        The loss at each point.

    Raises
    ------
    InputError, InputTypeError
        If an argument cannot be worked with, or the targets do not fit the outputs.
    ModelError
        If the model fails, or its loss is not finite at its own parameters.
    """
    _check(loss, directions, points, span, to, trajectory, seed)
    adapted = Model(model)
    moving = Parameters(adapted, buffers=to is not None)
    batch = read_inputs(inputs, attribute=None, dtype=adapted.dtype, differentiable=False)
    truth = read_targets(targets, batch.samples, adapted.dtype)
    plan = _plan(moving, directions, points, span, to, trajectory, seed)
    with (
        Engine(
            adapted,
            batch,
            device=device,
            batch_size=batch_size,
            seed=seed,
            progress=progress,
            differentiable=False,
        ) as engine,
        torch.no_grad(),
    ):
        engine.probe()
        samples = _Samples(engine, truth)
        seen = Seen()
        if not callable(loss):
            samples.each(lambda output, _: seen.add(output))
        chosen = choose_loss(loss, seen, truth)
        rows = [None] if plan.y is None else plan.y.tolist()
        engine.expect((1 + len(rows) * len(plan.x)) * batch.samples)
        engine.call = moving.moved([], [])
        center = samples.mean(chosen)
        if not np.isfinite(center):
            raise ModelError(
                f"the loss at the model's own parameters is {center}: there is no landscape around "
                "it; mend the model, or look for NaN among its parameters and inputs"
            )
        losses = np.empty((len(rows), len(plan.x)))
        for j, up in enumerate(rows):
            for i, along in enumerate(plan.x.tolist()):
                distances = [along] if up is None else [along, up]
                engine.call = moving.moved(plan.directions, distances)
                losses[j, i] = samples.mean(chosen)
    return Landscape(
        losses=losses[0] if plan.y is None else losses,
        x=plan.x,
        y=plan.y,
        center=center,
        directions=plan.kind,
        axes=plan.axes,
        trajectory=plan.trajectory,
        loss=chosen.name,
        samples=batch.samples,
        name=adapted.name,
        settings={"loss": chosen.name, "points": points, "span": span},
        provenance=Provenance(model=adapted.name, device=str(engine.device), seed=seed),
    )


@dataclass(frozen=True)
class _Plan:
    """Where the loss is to be evaluated, as `Landscape` holds it."""

    kind: str
    axes: tuple[str, ...]
    directions: list[Direction]
    x: np.ndarray
    y: np.ndarray | None = None
    trajectory: np.ndarray | None = None


def _plan(
    moving: Parameters,
    directions: int | None,
    points: int,
    span: float,
    to: Any,
    trajectory: Sequence[Any] | None,
    seed: int,
) -> _Plan:
    """Find the directions, and the points on each."""
    if to is not None:
        way = moving.towards(moving.read(to, "the other model"))
        between = np.linspace(-span / 2, 1 + span / 2, points)
        return _Plan(
            "to another model",
            ("way to the other model (0: this model, 1: the other)",),
            [way],
            # Both models are among the points, whatever their number; rounded, so only once.
            np.unique(np.round([0.0, 1.0, *between], 12)),
            trajectory=np.array([[0.0], [1.0]]),
        )
    if trajectory is not None:
        states = [moving.read(state, f"state {k}") for k, state in enumerate(trajectory)]
        found, places, shares = moving.principal(states, directions or 2)
        if directions is not None and len(found) < directions:
            raise InputError(
                "the states of the trajectory lie on one line with the model; use directions=1"
            )
        ends = np.vstack([places, np.zeros(len(found))])
        low, high = ends.min(axis=0), ends.max(axis=0)
        edge = _BEYOND * span * (high - low)
        grids = np.linspace(low - edge, high + edge, points).T
        axes = tuple(
            f"component {k + 1} (L2 distance; {100 * share:.3g} % of the way)"
            for k, share in enumerate(shares)
        )
        y = grids[1] if len(grids) > 1 else None
        kind = "principal components of the trajectory, shares of its squared way from the model"
        return _Plan(kind, axes, found, grids[0], y, places)
    draw = torch.Generator("cpu").manual_seed(seed)
    drawn = [moving.random(draw) for _ in range(directions or 2)]
    # The middle of an odd number of points is exactly zero.
    grid = (np.arange(points) - (points - 1) / 2) * (2 * span / (points - 1))
    axes = tuple(f"direction {k + 1} (in norms of the filters)" for k in range(len(drawn)))
    return _Plan(
        "random, filter-normalised", axes, drawn, grid, grid.copy() if len(drawn) > 1 else None
    )


class _Samples:
    """The samples, which go through the model in chunks, again and again."""

    def __init__(self, engine: Engine, targets: Tensor) -> None:
        self._engine, self._targets = engine, targets.to(engine.device)
        self._leaves = engine.inputs.tensors()
        if sum(leaf.nbytes for leaf in self._leaves.values()) <= keep_bytes(engine.device):
            self._leaves = {path: leaf.to(engine.device) for path, leaf in self._leaves.items()}

    def each(self, look: Callable[[Any, Tensor], T]) -> list[T]:
        """Run the model on all samples, and return what `look` makes of outputs and targets."""
        found: list[T] = []
        done = 0

        def compute(index: Tensor) -> tuple[T, int]:
            rows = slice(done, done + len(index))
            device = self._engine.device
            # Copies: a model may write into its input.
            given = {p: leaf[rows].to(device, copy=True) for p, leaf in self._leaves.items()}
            positional, by_name = self._engine.inputs.arguments(given)
            output = self._engine.run(positional, by_name, len(index))
            return look(output, self._targets[rows]), len(index)

        def deliver(result: tuple[T, int]) -> None:
            nonlocal done
            found.append(result[0])
            done += result[1]
            self._engine.advance(result[1])

        self._engine.each_chunk(len(self._targets), compute, deliver, forward=True)
        return found

    def mean(self, loss: Loss) -> float:
        """Return the mean loss of the model as the engine calls it now."""
        return float(torch.stack(self.each(loss.total)).sum()) / len(self._targets)


def _check(
    loss: Any, directions: Any, points: Any, span: Any, to: Any, trajectory: Any, seed: Any
) -> None:
    """Raise where an option makes no sense."""
    check_loss(loss)
    if to is not None and trajectory is not None:
        raise InputError("to= and trajectory= choose different directions; give one of them")
    most = 1 if to is not None else 2
    if directions is not None and not (is_whole(directions) and 1 <= directions <= most):
        raise InputError(
            f"directions={directions!r}; the way to another model is one direction"
            if to is not None
            else f"directions={directions!r}; give 1 or 2"
        )
    if not is_whole(points) or points < 3:
        raise InputError(f"points={points!r}; give a whole number from 3")
    if not is_real(span) or not 0 < span < np.inf:
        raise InputError(f"span={span!r}; give a number above 0")
    if not is_whole(seed) or not 0 <= seed < 2**63:
        raise InputError(f"seed={seed!r}; give a whole number from 0")
    if trajectory is not None:
        if isinstance(trajectory, (str, Mapping)) or not isinstance(trajectory, Sequence):
            raise InputTypeError(
                f"trajectory is a {type(trajectory).__name__}; give a list of state dicts or "
                "models, in the order of the training"
            )
        if not trajectory:
            raise InputError("trajectory is empty; give the states of a training")
