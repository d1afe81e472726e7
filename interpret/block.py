"""Some rows on the device, and the three operations that a method has."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pellucid.errors import ModelError, PellucidError
from pellucid.interpret.memory import is_out_of_memory
from pellucid.interpret.points import Kept, Leaves, Points, Rows, Sink
from pellucid.interpret.targets import Scoring, describe

if TYPE_CHECKING:
    from pellucid.interpret.engine import Engine


class Block:
    """Some rows on the device, and the three operations that a method has.

    Attributes
    ----------
    n, targets, features
        Rows, targets, and values in one row (all attributed inputs, flattened one after another).
    inputs, baselines
        One tensor for each attributed input, float32 or wider: (rows, ...), and (rows or 1, ...).
    index
        The class of each row and target, (rows, targets); None where there are no classes.
    """

    def __init__(
        self,
        engine: Engine,
        rows: slice,
        score: Scoring | None,
        baselines: Mapping[str, Tensor],
    ) -> None:
        self.engine, self.rows, self.score = engine, rows, score
        self.n = rows.stop - rows.start
        device = engine.device
        # Cast before the transfer would double the bytes of half-precision inputs; so after.
        here = engine.inputs.tensors(attributed=True)
        self._dtypes = tuple(leaf.dtype for leaf in here.values())
        self.inputs: Leaves = tuple(
            leaf[rows].to(device).to(wide(leaf.dtype)) for leaf in here.values()
        )
        self.baselines: Leaves = tuple(
            (b if len(b) == 1 else b[rows]).to(device).to(wide(b.dtype))
            for b in (baselines[path] for path in engine.paths if baselines)
        )
        self._carried = {
            path: leaf[rows].to(device)
            for path, leaf in engine.inputs.tensors(attributed=False).items()
        }
        self.features = sum(leaf[0].numel() for leaf in self.inputs)
        self.index: Tensor | None = None
        self.targets = 1
        if score is not None:
            self._choose_targets(score)

    def _choose_targets(self, score: Scoring) -> None:
        if score.predicted:
            chosen = Kept()
            self._each(
                Rows(self.n),
                lambda rows, leaves: (score.choose(self.forward(leaves, rows)), None),
                chosen,
            )
            self.index = chosen.scores[:, None]
        elif score.index is not None and score.per_target:
            self.targets = len(score.index)
            self.index = score.index.to(self.engine.device).expand(self.n, -1)
        elif score.index is not None:
            self.index = score.index[self.rows].to(self.engine.device)[:, None]

    @property
    def rounding(self) -> float:
        """Relative rounding of the model's own precision, where that is less than float32's."""
        half = [torch.finfo(d).eps for d in self._dtypes if d.is_floating_point and d.itemsize < 4]
        return max(half, default=0.0)

    def difference(self) -> Tensor:
        """Return the inputs less their baselines, flattened: (rows, features)."""
        # Leaf by leaf: of several inputs one may have one baseline, another one for each row.
        pairs = zip(self.inputs, self.baselines, strict=True)
        return flat(tuple(leaf - baseline for leaf, baseline in pairs))

    # -- what a method asks for --------------------------------------------------------------

    def values(self, points: Points, into: Sink) -> None:
        """Evaluate the score at many points, forward only."""

        def compute(rows: Tensor, leaves: Leaves) -> tuple[Tensor, None]:
            return wide_tensor(self.scores(leaves, rows)), None

        self._each(points, compute, into)

    def gradients(self, points: Points, into: Sink) -> None:
        """Evaluate the score and its gradient with respect to the attributed inputs.

        The gradients of all inputs are flattened one after another: (points, targets, features).
        """

        def compute(rows: Tensor, leaves: Leaves) -> tuple[Tensor, Tensor]:
            # Cast first, then differentiate: the gradient is of what the model sees.
            seen = tuple(
                leaf.to(dtype).detach().requires_grad_()
                for leaf, dtype in zip(leaves, self._dtypes, strict=True)
            )
            with torch.enable_grad():
                scores = self.scores(seen, rows)
                found = self._differentiate(scores, seen)
            self.engine.count.backward += len(rows) * self.targets
            return wide_tensor(scores.detach()), found

        self._each(points, compute, into)

    def activations(self, points: Points, layer: str, into: Sink) -> None:
        """Read what a layer puts out, forward only: (points, features), flattened."""
        caught: list[Any] = []

        def compute(rows: Tensor, leaves: Leaves) -> tuple[None, Tensor]:
            caught.clear()
            self.forward(leaves, rows)
            return None, _activation(caught, layer, len(rows))

        module = self.engine.model.layer(layer)
        handle = module.register_forward_hook(lambda _, __, output: caught.append(_copied(output)))
        try:
            with self._beneath():
                self._each(points, compute, into)
        finally:
            handle.remove()

    def each(self, count: int, work: Callable[[Tensor], Tensor]) -> Tensor:
        """Compute on things that are not points, chunk by chunk, so that memory stays bounded.

        Parameters
        ----------
        count
            How many things there are.
        work
            Given the numbers of some of them, returns a tensor with a row for each.

        Returns
        -------
        torch.Tensor
            The rows of all chunks.
        """
        parts: list[Tensor] = []
        with torch.no_grad():
            self.engine.each_chunk(count, work, parts.append)
        return torch.cat(parts)

    def delegate(self, attribute: Callable[[Leaves, Leaves, Tensor], Leaves]) -> Tensor:
        """Let another library compute attributions, under the same care: chunked and counted.

        Parameters
        ----------
        attribute
            Given the inputs, the baselines (one for each row) and the row numbers of a chunk,
            returns an attribution for each attributed input. It may call `scores`.

        Returns
        -------
        torch.Tensor
            Shape (rows, 1, features).
        """
        everything = Kept()

        def compute(rows: Tensor, leaves: Leaves) -> tuple[None, Tensor]:
            baselines = tuple(
                (b if len(b) == self.n else b.expand(self.n, *b.shape[1:]))[rows].to(dtype)
                for b, dtype in zip(self.baselines, self._dtypes, strict=True)
            )
            seen = tuple(leaf.to(dtype) for leaf, dtype in zip(leaves, self._dtypes, strict=True))
            with torch.enable_grad():
                found = attribute(seen, baselines, rows)
            return None, flat(tuple(f.detach() for f in found))

        with self._beneath():
            self._each(Rows(self.n), compute, everything, explain=False)
        return everything.found[:, None]

    @contextlib.contextmanager
    def _beneath(self) -> Iterator[None]:
        """Run the module beneath a compiled one, so that hooks are heard."""
        engine = self.engine
        engine.call, before = engine.call_beneath, engine.call
        try:
            yield
        finally:
            engine.call = before

    # -- how it is done ----------------------------------------------------------------------

    def forward(self, leaves: Leaves, rows: Tensor) -> Any:
        """Run the model on points of these rows, with the carried inputs beside them."""
        replaced = {path: leaf[rows] for path, leaf in self._carried.items()}
        for path, leaf, dtype in zip(self.engine.paths, leaves, self._dtypes, strict=True):
            replaced[path] = leaf.to(dtype)
            if replaced[path] is leaf and leaf.requires_grad:
                # A model may write into its input, which torch forbids where gradients end.
                replaced[path] = leaf.clone()
        positional, named = self.engine.inputs.arguments(replaced)
        self.engine.count.forward += len(rows)
        return self.engine.call(*positional, **named)

    def scores(self, leaves: Leaves, rows: Tensor) -> Tensor:
        """Run the model on points of these rows, and choose the targets: (points, targets)."""
        assert self.score is not None
        index = None if self.index is None else self.index[rows]
        found = self.score(self.forward(leaves, rows), index)
        if len(found) != len(rows):
            raise ModelError(
                f"{len(found)} scores came out for {len(rows)} rows: neither the model nor a "
                "function given as the target may reduce over the rows, which come in batches of "
                "any size"
            )
        return found

    def _each(
        self,
        points: Points,
        compute: Callable[[Tensor, Leaves], tuple[Tensor | None, Tensor | None]],
        into: Sink,
        *,
        explain: bool = True,
    ) -> None:
        """Compute chunk by chunk; `explain` says in a sentence of ours what the model raises."""

        def chunk(index: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
            rows = points.rows(index)
            try:
                return index, rows, *compute(rows, points.make(index, self))
            except Exception as error:
                if not explain or isinstance(error, PellucidError) or is_out_of_memory(error):
                    raise
                first, last = (int(r) + self.rows.start for r in (rows.min(), rows.max()))
                raise ModelError(
                    f"{self.engine.model.name} took the first samples, but failed on points of "
                    f"samples {first} to {last}: {type(error).__name__}: {error}"
                ) from error

        def deliver(result: tuple[Tensor, Tensor, Tensor | None, Tensor | None]) -> None:
            into.add(*result)
            self.engine.advance(len(result[0]))

        with torch.no_grad():
            self.engine.each_chunk(len(points), chunk, deliver)

    def _differentiate(self, scores: Tensor, leaves: Leaves) -> Tensor:
        found, depends = [], False
        for target in range(self.targets if scores.requires_grad else 0):
            parts = torch.autograd.grad(
                # Rows do not mix in evaluation mode, so the sum's gradient is each row's own.
                scores[:, target].sum(),
                leaves,
                retain_graph=target < self.targets - 1,
                allow_unused=True,
            )
            depends = depends or any(part is not None for part in parts)
            found.append(
                flat(
                    tuple(
                        torch.zeros_like(leaf) if part is None else part
                        for part, leaf in zip(parts, leaves, strict=True)
                    )
                )
            )
        if not depends:
            raise ModelError(
                f"the score of {self.engine.model.name} does not depend on its inputs in a way "
                "that torch can differentiate; is there a detach(), a no_grad() or a round trip "
                "through NumPy in its forward pass, or an argmax in the target function?"
            )
        return torch.stack(found, dim=1)


def split(values: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return flattened values (rows, targets, features) as one array for each attributed input."""
    parts = torch.split(values, [leaf[0].numel() for leaf in like.values()], dim=-1)
    return {
        path: part.reshape(*values.shape[:-1], *leaf.shape[1:])
        for (path, leaf), part in zip(like.items(), parts, strict=True)
    }


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that we accumulate in: float32 or wider; integers stay what they are."""
    return torch.float32 if dtype.is_floating_point and dtype != torch.float64 else dtype


def wide_tensor(tensor: Tensor) -> Tensor:
    """Return the tensor in float32 or wider."""
    return tensor.to(wide(tensor.dtype))


def flat(leaves: Leaves) -> Tensor:
    """Return all leaves flattened one after another: (rows, features), float32 or wider."""
    parts = [wide_tensor(leaf.reshape(len(leaf), -1)) for leaf in leaves]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _copied(output: Any) -> Any:
    """Return a copy of what a layer puts out: an in-place layer behind it may write over it."""
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    return output.detach().clone() if isinstance(output, Tensor) else output


def _activation(caught: list[Any], layer: str, rows: int) -> Tensor:
    if len(caught) != 1:
        raise ModelError(
            f"layer {layer!r} was called {len(caught)} times in one forward pass; choose one that "
            "is called once"
        )
    output = caught[0]
    if not isinstance(output, Tensor) or output.ndim == 0 or len(output) != rows:
        raise ModelError(
            f"layer {layer!r} puts out {describe(output)}, not a tensor with a row for each input"
        )
    return wide_tensor(output.reshape(rows, -1))
