"""Some rows on the device, at one place of the model, and how the model runs on them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import torch
from torch import Tensor

from pellucid.errors import ModelError, PellucidError
from pellucid.interpret.memory import is_out_of_memory
from pellucid.interpret.places import Place
from pellucid.interpret.points import Kept, Leaves, Points, Rows, Sink
from pellucid.interpret.taps import Taps
from pellucid.interpret.targets import Scoring
from pellucid.interpret.tensors import first_rows, flat, padded, wide, wide_tensor

if TYPE_CHECKING:
    from pellucid.interpret.block import Block
    from pellucid.interpret.engine import Engine

T = TypeVar("T")


@dataclass(frozen=True)
class Here:
    """What is known at a place of the rows as they are, from one pass.

    Attributes
    ----------
    scores
        Shape (rows, targets).
    activation
        What is there, one tensor for each slot: (rows, ...).
    gradient
        The scores' gradient there, flattened: (rows, targets, features).
    """

    scores: Tensor
    activation: Leaves
    gradient: Tensor


class Passes:
    """Some rows at one place of the model: what is there, and how the model runs on them.

    Attributes
    ----------
    place, places
        Where this is, and all places that were asked for: they share passes.
    n, targets
        Rows, and targets.
    """

    def __init__(
        self,
        engine: Engine,
        rows: slice,
        score: Scoring | None,
        baselines: Mapping[str, Tensor | None],
    ) -> None:
        self.engine, self.rows, self.score = engine, rows, score
        self.n = rows.stop - rows.start
        self.place, self.places = engine.place, engine.places
        self.numbers = torch.arange(rows.start, rows.stop, device=engine.device)
        device = engine.device
        batch = engine.inputs.tensors()
        attributed = engine.inputs.attributed
        self._carried = {
            path: leaf[rows].to(device)
            for path, leaf in batch.items()
            if path not in attributed or not leaf.is_floating_point()
        }
        inputs, starts, dtypes = [], [], []
        for slot in self.place.slots:
            leaf = batch[slot.path or ""]
            baseline = baselines.get(slot.path or "")
            if slot.layer is None:
                # Cast before the transfer would double the bytes of half-precision inputs; after.
                here = leaf[rows].to(device)
                dtypes.append(leaf.dtype)
                inputs.append(here.to(wide(leaf.dtype)))
                if baseline is not None:
                    b = baseline if len(baseline) == 1 else baseline[rows]
                    starts.append(b.to(device).to(wide(b.dtype)))
                continue
            look = engine.model.layer(slot.layer)
            ids = self._carried[slot.path or ""]
            here = look(ids)
            dtypes.append(here.dtype)
            inputs.append(here.to(wide(here.dtype)))
            if baselines:
                start = torch.zeros_like(here)
                if baseline is not None:
                    b = (baseline if len(baseline) == 1 else baseline[rows]).to(device)
                    vectors = b.is_floating_point()
                    start = b.to(here.dtype).expand_as(here) if vectors else look(b.expand_as(ids))
                mask = engine.inputs.mask(slot.path or "")
                if mask is not None:
                    # Padding is nothing that the baseline could differ in.
                    kept = mask[rows].to(device).bool()
                    start = torch.where(kept.reshape(*kept.shape, 1), start, here)
                starts.append(start.to(wide(start.dtype)))
        self._inputs: Leaves | None = tuple(inputs)
        self._baselines: Leaves | None = tuple(starts)
        self._dtypes = tuple(dtypes)
        self._source = cast("Self", self)
        self._changed = False
        self._views: dict[str, Self] = {self.place.name: self._source}
        self._here: dict[str, Here] = {}
        self._index: Tensor | None = None
        self._chosen = score is None or not score.predicted
        self.targets = 1 if score is None else score.columns
        if score is not None and score.index is not None:
            index = score.index if len(score.index) == 1 else score.index[rows]
            self._index = index.to(device).expand(self.n, -1)

    def at(self, place: Place) -> Self:
        """Return the same rows at another place."""
        source = self._source
        if place.name not in source._views:
            view = copy.copy(source)
            view.place, view._inputs, view._baselines = place, None, None
            view._dtypes = tuple(dtype for _, dtype in self.engine.shapes[place.name])
            source._views[place.name] = view
        return source._views[place.name]

    def changed(self, inputs: Leaves, numbers: Tensor | None = None) -> Self:
        """Return these rows, at the same place, with other values at the input; same targets.

        Parameters
        ----------
        inputs
            A tensor for each slot of the input place: (points, ...).
        numbers
            Which of the block's rows each of them stands for; None for one after another.
        """
        source = self._source
        rows = torch.arange(self.n, device=self.engine.device) if numbers is None else numbers
        made = copy.copy(source)
        made.n = len(rows)
        made._inputs = inputs
        made._baselines = tuple(b if len(b) == 1 else b[rows] for b in (source._baselines or ()))
        made._carried = {path: leaf[rows] for path, leaf in source._carried.items()}
        index = source.index
        made._index = None if index is None else index[rows]
        made._chosen = True
        made.numbers = source.numbers[rows]
        made._source, made._changed, made._here = made, True, {}
        made._views = {made.place.name: made}
        return made.at(self.place)

    def some(self, rows: Tensor) -> Self:
        """Return some of these rows, at the same place; same targets."""
        source = self._source
        return source.changed(tuple(leaf[rows] for leaf in source.inputs), rows).at(self.place)

    def against(self, baselines: Leaves) -> Self:
        """Return these rows, at the input, compared with other baselines; same targets.

        Parameters
        ----------
        baselines
            A tensor for each slot of the input place: (rows or 1, ...).
        """
        self.index  # noqa: B018 - chosen once, for all that they are compared with
        made = copy.copy(self._source)
        made._baselines = baselines
        made._source, made._views = made, {made.place.name: made}
        return made

    @property
    def source(self) -> Self:
        """The same rows at the input."""
        return self._source

    @property
    def beside(self) -> Leaves:
        """Floating-point tensors that the model takes beside those that are attributed to."""
        return tuple(t for t in self._source._carried.values() if t.is_floating_point())

    @property
    def inputs(self) -> Leaves:
        """One tensor for each slot of the place, float32 or wider: (rows, ...)."""
        if self._inputs is None:
            known = self._source._here.get(self.place.name)
            self._inputs = known.activation if known else self._read(self._source.inputs)
        return self._inputs

    @property
    def baselines(self) -> Leaves:
        """One tensor for each slot of the place: (rows or 1, ...); empty without baselines."""
        if self._baselines is None:
            start = self._source.baselines
            whole = tuple(b.expand(self.n, *b.shape[1:]) for b in start)
            self._baselines = self._read(whole) if start else ()
        return self._baselines

    @property
    def background(self) -> Leaves:
        """Samples of the data at this place: one tensor for each slot, (samples, ...)."""
        engine, source = self.engine, self._source
        known = engine.background
        if not known:
            return ()
        if self is source:
            return known
        numbers = torch.zeros(len(known[0]), dtype=torch.long, device=engine.device)
        return source.changed(known, numbers).at(self.place).inputs

    @property
    def index(self) -> Tensor | None:
        """The class of each row and target, (rows, targets); None where there are no classes."""
        source = self._source
        if not source._chosen:
            chosen = Kept()
            score = source.score
            assert score is not None
            source._each(
                Rows(self.n),
                lambda rows, leaves: (
                    score.choose(source._run(leaves, rows), source.numbers[rows]),
                    None,
                    None,
                ),
                chosen,
            )
            source._index, source._chosen = chosen.scores[:, None], True
        return source._index

    @property
    def features(self) -> int:
        """Values of one row at this place, all slots flattened one after another."""
        return sum(leaf[0].numel() for leaf in self.inputs)

    @property
    def rounding(self) -> float:
        """Relative rounding of what the model computes in, where that is less than float32."""
        half = [
            torch.finfo(d).eps
            for d in (*self._source._dtypes, *self._dtypes)
            if d.is_floating_point and d.itemsize < 4
        ]
        return max([self.engine.rounding, *half])

    def difference(self) -> Tensor:
        """Return the inputs less their baselines, flattened: (rows, features)."""
        # Leaf by leaf: of several inputs one may have one baseline, another one for each row.
        pairs = zip(self.inputs, self.baselines, strict=True)
        return flat(tuple(leaf - baseline for leaf, baseline in pairs))

    def reduced(self, vectors: Tensor, *, length: bool = False) -> Tensor:
        """Add up what belongs to one value: a token's is the sum over its embedding.

        Parameters
        ----------
        vectors
            Shape (..., features).
        length
            Whether to take the L2 norm over a token's embedding instead of the sum.

        Returns
        -------
        torch.Tensor
            Shape (..., values); the same tensor where nothing is to be added up.
        """
        if self.place.inside or not self.place.layers:
            return vectors
        sizes = [leaf[0].numel() for leaf in self.inputs]
        parts = []
        for slot, part in zip(self.place.slots, torch.split(vectors, sizes, dim=-1), strict=True):
            if slot.layer is None:
                parts.append(part)
            else:
                ids = self._source._carried[slot.path or ""]
                of_token = part.reshape(*part.shape[:-1], ids[0].numel(), -1)
                parts.append(of_token.norm(dim=-1) if length else of_token.sum(-1))
        return torch.cat(parts, dim=-1)

    @property
    def _block(self) -> Block:
        """Return these rows as the recipes for points know them."""
        return cast("Block", self)

    # -- how the model runs ------------------------------------------------------------------

    @contextlib.contextmanager
    def _beneath(self) -> Iterator[None]:
        """Run the module beneath a compiled one, so that hooks are heard."""
        engine = self.engine
        engine.call, before = engine.call_beneath, engine.call
        try:
            yield
        finally:
            engine.call = before

    @contextlib.contextmanager
    def _tapped(self, read: Sequence[Place] = (), layers: Sequence[str] = ()) -> Iterator[Taps]:
        """Tap what is replaced here, what is to be read, and the layer that is scored."""
        wanted = [*layers, *(layer for place in (self.place, *read) for layer in place.layers)]
        if self._source._changed:
            wanted += self._source.place.layers
        if self.score is not None and self.score.layer is not None:
            wanted.append(self.score.layer)
        taps = Taps(self.engine.model, wanted)
        if not wanted:
            yield taps
            return
        with self._beneath(), taps.open():
            yield taps

    def _read(self, inputs: Leaves) -> Leaves:
        """Return what this place holds for values at the input, forward only."""
        source = self._source
        parts: list[list[Tensor]] = [[] for _ in self.place.slots]
        with source._tapped((self.place,)) as taps:

            def compute(index: Tensor) -> Leaves:
                source._run(tuple(leaf[index] for leaf in inputs), index, taps)
                return tuple(wide_tensor(taps.seen[name]) for name in self.place.layers)

            def deliver(found: Leaves) -> None:
                for part, one in zip(parts, found, strict=True):
                    part.append(one)

            with torch.no_grad():
                self.engine.each_chunk(self.n, compute, deliver)
        return tuple(torch.cat(part) for part in parts)

    def _look(self, places: Sequence[Place], *, gradient: bool) -> None:
        """Make the one pass at the rows that all places share."""
        parts: list[tuple[Tensor, Tensor, Leaves, Tensor]] = []
        choose = not self._chosen
        points = Rows(self.n)
        with self._tapped(places) as taps:

            def chunk(rows: Tensor) -> tuple[Tensor, Tensor, Leaves, Tensor]:
                def work() -> tuple[Tensor, Tensor, Leaves, Tensor]:
                    leaves = points.make(rows, self._block)
                    if not choose:
                        taken = self._taken(
                            rows, leaves, self._index, places, taps, gradient=gradient
                        )
                        return *taken, rows
                    # The class is chosen from the same pass that is differentiated.
                    picked: list[Tensor] = []
                    taken = self._taken(rows, leaves, None, places, taps, picked, gradient=gradient)
                    return *taken, picked[0]

                return self._guarded(rows, work)

            def deliver(result: tuple[Tensor, Tensor, Leaves, Tensor]) -> None:
                parts.append(result)
                self.engine.advance(len(result[0]))

            with torch.no_grad():
                self.engine.each_chunk(self.n, chunk, deliver)
        scores, gradients, held, chosen = zip(*parts, strict=True)
        if choose:
            self._index, self._chosen = torch.cat(chosen)[:, None], True
        whole = [torch.cat(parts) for parts in zip(*held, strict=True)]
        score, slopes, first = torch.cat(scores), torch.cat(gradients), 0
        for place in places:
            last = first + len(place.slots)
            here = tuple(whole[first:last])
            size = sum(leaf[0].numel() for leaf in here)
            of_place, slopes = slopes[..., :size], slopes[..., size:]
            self._here[place.name] = Here(score, here, of_place)
            first = last

    def _taken(
        self,
        rows: Tensor,
        leaves: Leaves,
        index: Tensor | None,
        places: Sequence[Place],
        taps: Taps,
        picked: list[Tensor] | None = None,
        *,
        gradient: bool = True,
    ) -> tuple[Tensor, Tensor, Leaves]:
        """Return scores, gradients at places, and what is there, at points of the input."""
        at_input = gradient and any(not place.inside for place in places)
        seen = tuple(
            leaf.to(dtype).detach().requires_grad_(at_input and dtype.is_floating_point)
            for leaf, dtype in zip(leaves, self._dtypes, strict=True)
        )
        with torch.set_grad_enabled(gradient):
            scores = self._scores(seen, rows, index, taps, picked)
            tensors: list[Tensor] = []
            for place in places:
                tensors += seen if not place.inside else [taps.seen[n] for n in place.layers]
            found = (
                self._differentiate(scores, tuple(tensors), places)
                if gradient
                else scores.new_empty(len(scores), self.targets, 0)
            )
        held = tuple(wide_tensor(tensor.detach()) for tensor in tensors)
        return wide_tensor(scores.detach()), found, held

    def _run(self, leaves: Leaves, rows: Tensor, taps: Taps | None = None) -> Any:
        source = self._source
        replaced = {path: leaf[rows] for path, leaf in source._carried.items()}
        put: dict[str, Tensor] = {}
        own = [(self.place, leaves, self._dtypes)]
        if self.place.inside:
            beside = tuple(leaf[rows] for leaf in source.inputs)
            own.insert(0, (source.place, beside, source._dtypes))
        for place, tensors, dtypes in own:
            for slot, leaf, dtype in zip(place.slots, tensors, dtypes, strict=True):
                if slot.layer is not None:
                    put[slot.layer] = leaf
                    continue
                cast = leaf.to(dtype)
                if cast is leaf and leaf.requires_grad:
                    # A model may write into its input, which torch forbids where gradients end.
                    cast = leaf.clone()
                replaced[slot.path or ""] = cast
        engine = self.engine
        if taps is None or not taps.layers:
            more = engine.chunk - len(rows) if engine.padded else 0
            if more > 0:
                replaced = {path: padded(leaf, more) for path, leaf in replaced.items()}
            output = engine.run(*engine.inputs.arguments(replaced), len(rows))
            return first_rows(output, len(rows), len(rows) + more) if more > 0 else output
        taps.put({name: leaf for name, leaf in put.items() if name in taps.layers})
        output = engine.run(*engine.inputs.arguments(replaced), len(rows))
        taps.check(len(rows))
        return output

    def _scores(
        self,
        leaves: Leaves,
        rows: Tensor,
        index: Tensor | None,
        taps: Taps,
        picked: list[Tensor] | None = None,
    ) -> Tensor:
        """Run the model on points and choose the targets; the predicted ones go into `picked`."""
        assert self.score is not None
        output = self._run(leaves, rows, taps)
        if self.score.layer is not None:
            output = taps.seen[self.score.layer]
        here = None if index is None else index[rows]
        if picked is not None:
            picked.append(self.score.choose(output, self._source.numbers[rows]))
            here = picked[0][:, None]
        found = self.score(output, here)
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
        compute: Callable[[Tensor, Leaves], tuple[Tensor | None, Tensor | None, Tensor | None]],
        into: Sink,
        *,
        explain: bool = True,
        width: int = 1,
        together: int = 1,
        forward: bool = False,
    ) -> None:
        """Compute chunk by chunk; `explain` says in a sentence of ours what the model raises."""

        def chunk(index: Tensor) -> Any:
            rows = points.rows(index)

            def work() -> Any:
                return index, rows, *compute(rows, points.make(index, self._block))

            return self._guarded(rows, work) if explain else work()

        def deliver(result: Any) -> None:
            index, rows, scores, found, held = result
            if held is None:
                into.add(index, rows, scores, found)
            else:
                into.add(index, rows, scores, found, held)
            self.engine.advance(len(index))

        with torch.no_grad():
            self.engine.each_chunk(
                len(points), chunk, deliver, width=width, together=together, forward=forward
            )

    def _guarded(self, rows: Tensor, work: Callable[[], T]) -> T:
        """Do what runs the model; say in a sentence of ours what it raises."""
        try:
            return work()
        except Exception as error:
            if isinstance(error, PellucidError) or is_out_of_memory(error):
                raise
            first, last = (int(self.numbers[r]) for r in (rows.min(), rows.max()))
            raise ModelError(
                f"{self.engine.model.name} took the first samples, but failed on points of "
                f"samples {first} to {last}: {type(error).__name__}: {error}"
            ) from error

    def _differentiate(
        self, scores: Tensor, tensors: Leaves, places: Sequence[Place] | None = None
    ) -> Tensor:
        found, depends = [], False
        for target in range(self.targets if scores.requires_grad else 0):
            parts = torch.autograd.grad(
                # Rows do not mix in evaluation mode, so the sum's gradient is each row's own.
                scores[:, target].sum(),
                tensors,
                retain_graph=target < self.targets - 1,
                allow_unused=True,
            )
            depends = depends or any(part is not None for part in parts)
            found.append(
                flat(
                    tuple(
                        torch.zeros_like(tensor) if part is None else part
                        for part, tensor in zip(parts, tensors, strict=True)
                    )
                )
            )
        if not depends:
            where = " or ".join(p.name for p in places or (self.place,) if p.inside)
            raise ModelError(
                f"the score of {self.engine.model.name} does not depend on "
                f"{f'layer {where}' if where else 'its inputs'} in a way "
                "that torch can differentiate; is there a detach(), a no_grad() or a round trip "
                "through NumPy in its forward pass, or an argmax in the target function?"
            )
        self.engine.count.backward += len(scores) * self.targets
        return torch.stack(found, dim=1) if len(found) > 1 else found[0][:, None]
