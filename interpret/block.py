"""Some rows on the device, and what a method may ask of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pellucid.interpret.passes import Here, Passes
from pellucid.interpret.places import Place
from pellucid.interpret.points import Kept, Leaves, Path, Points, Rows, Sink
from pellucid.interpret.tensors import flat, wide_tensor


class Block(Passes):
    """Some rows on the device, at one place of the model, and what a method may ask there.

    The block that the engine makes is at the input. `at` gives the same rows at another place: its
    `inputs` are what a layer puts out for them, and points there take that output's place, while
    the rest of the network runs on the rows' own inputs.

    Attributes
    ----------
    place, places
        Where this is, and all places that were asked for: they share passes.
    n, targets
        Rows, and targets.
    """

    def here(self, *, gradient: bool = True) -> Here:
        """Return what is at this place for the rows as they are, and the scores' gradient there.

        All places that were asked for share one pass; without `gradient` it is forward only, and
        the gradient is left empty.
        """
        source = self._source
        known = source._here.get(self.place.name)
        if known is None or (gradient and not known.gradient.shape[-1]):
            shared = self.place.name in {place.name for place in self.places}
            source._look(self.places if shared else (self.place,), gradient=gradient)
        return source._here[self.place.name]

    def values(self, points: Points, into: Sink, *, together: int = 1) -> None:
        """Evaluate the score at many points, forward only; `together` as of `gradients`."""
        index = self._known()
        with self._tapped() as taps:

            def compute(rows: Tensor, leaves: Leaves) -> tuple[Tensor, None, None]:
                return wide_tensor(self._scores(leaves, rows, index, taps)), None, None

            self._each(points, compute, into, together=together, forward=True)

    def prediction(self) -> Tensor:
        """Return the scores of the rows as they are: (rows, targets)."""
        found = Kept()
        self.source.values(Rows(self.n), found)
        return found.scores

    def ends(self) -> tuple[Tensor, Tensor]:
        """Return the scores at this place's baselines, and at its inputs: each (rows, targets)."""
        found = Kept()
        self.values(Path.between(0.0, 1.0, count=self.n, device=self.engine.device), found)
        start, end = found.scores.reshape(self.n, 2, -1).unbind(1)
        return start, end

    def gradients(self, points: Points, into: Sink, *, together: int = 1) -> None:
        """Evaluate the score and its gradient at points of this place.

        The gradients of all slots are flattened one after another: (points, targets, features).
        Where so many points belong `together`, chunks end with the last of some if many fit.
        """
        index = self._known()
        with self._tapped() as taps:

            def compute(rows: Tensor, leaves: Leaves) -> tuple[Tensor, Tensor, None]:
                # Cast first, then differentiate: the gradient is of what the model sees.
                seen = tuple(
                    leaf.to(dtype).detach().requires_grad_()
                    for leaf, dtype in zip(leaves, self._dtypes, strict=True)
                )
                with torch.enable_grad():
                    scores = self._scores(seen, rows, index, taps)
                    found = self._differentiate(scores, seen)
                return wide_tensor(scores.detach()), found, None

            self._each(points, compute, into, together=together)

    def along(
        self, points: Points, read: Sequence[Place], into: Sink, *, together: int = 1
    ) -> None:
        """Evaluate the score at points of the input, and its gradient at places further on.

        The sink gets gradients (points, targets, features) and what is there (points, features),
        all places one after another; `together` as of `gradients`.
        """
        source = self._source
        index = source.index
        with source._tapped(read) as taps:

            def compute(rows: Tensor, leaves: Leaves) -> tuple[Tensor, Tensor, Tensor]:
                scores, found, held = source._taken(rows, leaves, index, read, taps)
                return scores, found, flat(held)

            source._each(points, compute, into, together=together)

    def traced(
        self, trace: Callable[[Callable[[], Tensor], Tensor], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """Evaluate the rows as they are, once, with something that listens to the pass.

        Parameters
        ----------
        trace
            Given a function that makes the pass and returns the scores (rows, targets), with
            gradients where they are on, and the rows of a chunk; returns the scores, and what it
            heard, reduced to a tensor with a row for each.

        Returns
        -------
        scores, heard
            Shapes (rows, targets) and (rows, ...).
        """
        source = self._source
        choose, points = not source._chosen, Rows(self.n)
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        with source._beneath(), source._tapped() as taps:

            def chunk(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
                picked: list[Tensor] = []

                def run() -> Tensor:
                    leaves = points.make(rows, source)
                    return source._scores(
                        leaves, rows, source._index, taps, picked if choose else None
                    )

                scores, heard = source._guarded(rows, lambda: trace(run, rows))
                return wide_tensor(scores.detach()), heard, picked[0] if choose else rows

            def deliver(result: tuple[Tensor, Tensor, Tensor]) -> None:
                parts.append(result)
                self.engine.advance(len(result[0]))

            with torch.no_grad():
                self.engine.each_chunk(self.n, chunk, deliver)
        scores, heard, chosen = (torch.cat(part) for part in zip(*parts, strict=True))
        if choose:
            source._index, source._chosen = chosen[:, None], True
        return scores, heard

    def activations(self, points: Points, layer: str, into: Sink) -> None:
        """Read what a layer puts out, forward only: (points, features), flattened."""
        with self._tapped((), (layer,)) as taps:

            def compute(rows: Tensor, leaves: Leaves) -> tuple[None, Tensor, None]:
                self._run(leaves, rows, taps)
                return None, flat((taps.seen[layer],)), None

            self._each(points, compute, into)

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

    def delegate(
        self,
        attribute: Callable[[Leaves, Leaves, Tensor], Leaves],
        *,
        width: int = 1,
        reduce: bool = True,
    ) -> Tensor:
        """Let another library compute attributions, under the same care: chunked and counted.

        Parameters
        ----------
        attribute
            Given the values at the place's slots, their baselines (one for each row) and the row
            numbers of a chunk, returns an attribution for each slot. It may call `scores`.
        width
            How many points it makes of each row at a time.
        reduce
            Whether to add up what belongs to one token.

        Returns
        -------
        torch.Tensor
            Shape (rows, 1, values).
        """
        everything = Kept()
        self.index  # noqa: B018 - chosen before, not within, the passes of another

        def compute(rows: Tensor, leaves: Leaves) -> tuple[None, Tensor, None]:
            baselines = tuple(
                (b if len(b) == self.n else b.expand(self.n, *b.shape[1:]))[rows].to(dtype)
                for b, dtype in zip(self.baselines, self._dtypes, strict=bool(self.baselines))
            )
            seen = tuple(leaf.to(dtype) for leaf, dtype in zip(leaves, self._dtypes, strict=True))
            with torch.enable_grad():
                found = attribute(seen, baselines, rows)
            return None, flat(tuple(f.detach() for f in found)), None

        with self._beneath():
            self._each(Rows(self.n), compute, everything, explain=False, width=width)
        values = everything.found[:, None]
        return self.reduced(values) if reduce else values

    def _known(self) -> Tensor | None:
        """Read what points are made of, before the taps of a pass are open; return the index."""
        self.inputs, self.baselines  # noqa: B018
        return self.index

    def forward(self, leaves: Leaves, rows: Tensor) -> Any:
        """Run the model on points of these rows, with the carried inputs beside them."""
        with self._tapped() as taps:
            return self._run(leaves, rows, taps)

    def scores(self, leaves: Leaves, rows: Tensor) -> Tensor:
        """Run the model on points of these rows, and choose the targets: (points, targets)."""
        index = self.index
        with self._tapped() as taps:
            return self._scores(leaves, rows, index, taps)
