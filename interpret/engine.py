"""The engine: a method says what to evaluate, the engine evaluates it.

A method sees one `Block` of rows at a time, on the device, and asks it for the score's values, its
gradients, or a layer's activations at *points*: a recipe, made chunk by chunk. What comes back goes
into a *sink*, which keeps it or reduces it. Here, and only here, are the loops over chunks, the
transfers, the frozen model, the back-off when memory runs out, the progress bar and Ctrl-C.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, Self, TypeVar

import torch
from torch import Tensor
from tqdm.std import tqdm

from pellucid.errors import InputError, ModelError, OutOfMemoryError, PellucidError
from pellucid.interpret.inputs import Inputs, is_whole, label
from pellucid.interpret.models import Model
from pellucid.interpret.points import Kept, Leaves, Points, Rows, Sink
from pellucid.interpret.targets import Scoring, describe

T = TypeVar("T")

# What keeps two to sixteen cores and their caches busy: measured on convolutions and MLPs, where
# half and twice of it cost within a tenth (benchmarks/README.md).
_CPU_CHUNK_BYTES = 96 * 2**20
_CPU_CHUNK = (8, 1024)
_CUDA_CHUNK = (8, 65536)
# What a method may keep between its rounds, on a CPU; on a GPU it is an eighth of what is free.
KEEP_BYTES = 256 * 2**20


@dataclass
class Counter:
    """Points that went through the model, and back."""

    forward: int = 0
    backward: int = 0


class Engine:
    """Evaluates a model on a batch of inputs, in chunks, with the model frozen.

    Use it as a context manager: the model is frozen while it is open.

    Parameters
    ----------
    model, inputs
        What to evaluate, and on what.
    device
        ``"auto"``: where the model's parameters are.
    batch_size
        Points in a chunk; ``"auto"`` lets the engine decide.
    seed
        Of the random state that the model sees.
    progress
        None shows a bar where the work takes longer than two seconds.
    """

    def __init__(
        self,
        model: Model,
        inputs: Inputs,
        *,
        device: Any = "auto",
        batch_size: Any = "auto",
        seed: int = 0,
        progress: bool | None = None,
    ) -> None:
        self.model, self.inputs, self.seed = model, inputs, seed
        self.device = _device(device, model, inputs)
        self.batch_size = _batch_size(batch_size)
        self.count = Counter()
        self.paths = tuple(inputs.tensors(attributed=True))
        self._chunk: int | None = self.batch_size
        self._stop = False
        self._bar: Any = None
        self._progress = progress
        self.call = model.call
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._held.enter_context(self.model.frozen(self.seed, self.device))
        self._held.enter_context(torch.inference_mode(mode=False))
        self._held.enter_context(_interruptible(self))
        self._bar = self._held.enter_context(
            tqdm(
                unit=" points",
                unit_scale=True,
                delay=0 if self._progress else 2,
                disable=not (_watched() if self._progress is None else self._progress),
                leave=False,
            )
        )
        return self

    def __exit__(self, *exception: object) -> None:
        self._held.close()

    def probe(self) -> tuple[Any, int]:
        """Evaluate the first rows: whether the model takes such inputs, what it returns, its bytes.

        Returns
        -------
        output
            What the model returned, and for how many rows.

        Raises
        ------
        ModelError
            If the model fails on the inputs.
        """
        block = Block(self, slice(0, min(2, self.inputs.samples)), None, {})
        rows = torch.arange(block.n, device=self.device)
        leaves = tuple(
            leaf.requires_grad_(leaf.is_floating_point())
            for leaf in Rows(block.n).make(rows, block)
        )
        seen: dict[int, int] = {}
        known = {t.untyped_storage().data_ptr() for t in self.model._tensors()}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in known:
                seen[storage.data_ptr()] = storage.nbytes()
            return tensor

        try:
            with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
                # The graph stays alive until it is measured: freed storages could share addresses.
                output = block.forward(leaves, rows)
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfMemoryError(_too_large(self.device)) from error
            shapes = ", ".join(
                f"{label(path)} {tuple(leaf.shape)} {leaf.dtype}"
                for path, leaf in self.inputs.tensors().items()
            )
            raise ModelError(
                f"{self.model.name} failed on the first {block.n} of the samples ({shapes}): "
                f"{type(error).__name__}: {error}\nThe first axis of every input counts the "
                "samples; a single sample needs one too: x[None]"
            ) from error
        if self._chunk is None:
            width = sum(leaf[0].numel() * leaf.element_size() for leaf in leaves)
            self._chunk = _chunk_size(self.device, sum(seen.values()) / block.n + width)
        return output, block.n

    def blocks(
        self, score: Scoring | None, baselines: Mapping[str, Tensor], *, kept: int = 0
    ) -> Iterator[Block]:
        """Yield the rows in blocks, each on the device.

        Parameters
        ----------
        score
            What to evaluate; None for activations only.
        baselines
            For each attributed path; empty for methods without.
        kept
            How many gradients of each row the method keeps: a block fits them into `keep_bytes`.
        """
        assert self._chunk is not None, "probe() comes first: it decides the chunk"
        targets = score.classes if score is not None and score.per_target else 1
        size = max(self._chunk, 256)
        if kept:
            size = min(size, max(1, self.keep_bytes // (kept * targets * self.row_bytes)))
        for start in range(0, self.inputs.samples, size):
            stop = min(start + size, self.inputs.samples)
            block = Block(self, slice(start, stop), score, baselines)
            yield block
            # No refresh: it would show the bar before its delay is over.
            self._bar.set_postfix_str(f"{stop} of {self.inputs.samples} rows done", refresh=False)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row's gradient, in the dtype that we accumulate in."""
        return sum(
            leaf[0].numel() * wide(leaf.dtype).itemsize
            for leaf in self.inputs.tensors(attributed=True).values()
        )

    @property
    def keep_bytes(self) -> int:
        """What a method may keep between its rounds."""
        if self.device.type == "cuda":
            return max(KEEP_BYTES, torch.cuda.mem_get_info(self.device)[0] // 8)
        return KEEP_BYTES

    def each_chunk(
        self, count: int, compute: Callable[[Tensor], T], deliver: Callable[[T], None]
    ) -> None:
        """Compute on the numbers of one chunk after another, and deliver what comes out.

        When memory runs out in `compute`, the chunk is halved and computed again; what was
        delivered stays delivered, so nothing is counted twice.
        """
        start = 0
        while start < count:
            if self._stop:
                raise KeyboardInterrupt
            assert self._chunk is not None, "probe() comes first: it decides the chunk"
            stop = min(start + self._chunk, count)
            try:
                result = compute(torch.arange(start, stop, device=self.device))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if stop - start == 1:
                    raise OutOfMemoryError(_too_large(self.device)) from error
                result = None
            if result is None:
                # Outside the except: the traceback would hold on to the failed chunk's tensors.
                self._chunk = (stop - start) // 2
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            deliver(result)
            start = stop

    def expect(self, points: int | None) -> None:
        """Say how many points the whole work will take, where that is known."""
        self._bar.total = points

    def advance(self, points: int) -> None:
        """Move the progress bar on."""
        self._bar.update(points)

    def stop(self) -> None:
        """Ask the work to end at the next chunk."""
        self._stop = True

    @property
    def stopped(self) -> bool:
        """Whether the work was asked to end."""
        return self._stop


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
        handle = module.register_forward_hook(lambda _, __, output: caught.append(output))
        try:
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

        self._each(Rows(self.n), compute, everything, explain=False)
        return everything.found[:, None]

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


def split(values: Tensor, block: Block) -> dict[str, Tensor]:
    """Return flattened values (rows, targets, features) as one array for each attributed input."""
    sizes = [leaf[0].numel() for leaf in block.inputs]
    parts = torch.split(values, sizes, dim=-1)
    return {
        path: part.reshape(*values.shape[:-1], *leaf.shape[1:])
        for path, part, leaf in zip(block.engine.paths, parts, block.inputs, strict=True)
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


def _activation(caught: list[Any], layer: str, rows: int) -> Tensor:
    if len(caught) != 1:
        raise ModelError(
            f"layer {layer!r} was called {len(caught)} times in one forward pass; choose one that "
            "is called once"
        )
    output = caught[0]
    if isinstance(output, (tuple, list)) and output and isinstance(output[0], Tensor):
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim == 0 or len(output) != rows:
        raise ModelError(
            f"layer {layer!r} puts out {describe(output)}, not a tensor with a row for each input"
        )
    return wide_tensor(output.detach().reshape(rows, -1))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or in the CPU's allocator."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate" in str(error)


def _watched() -> bool:
    """Whether somebody sees a progress bar: on a terminal, or in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def _too_large(device: torch.device) -> str:
    return (
        f"even one point at a time does not fit into the memory of {device}; free some, use "
        "smaller inputs or a device with more"
    )


def _chunk_size(device: torch.device, bytes_per_point: float) -> int:
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        low, high, room = *_CUDA_CHUNK, free // 4
    else:
        low, high, room = *_CPU_CHUNK, _CPU_CHUNK_BYTES
    return int(min(high, max(low, room // max(1.0, bytes_per_point))))


def _device(device: Any, model: Model, inputs: Inputs) -> torch.device:
    here = model.device
    if isinstance(device, str) and device == "auto":
        return here or next(iter(inputs.tensors().values())).device
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"device={device!r} is not a device; use 'auto', 'cpu', 'cuda'") from error
    if here is not None and (
        wanted.type != here.type or (wanted.index is not None and wanted.index != here.index)
    ):
        raise InputError(
            f"device={device!r}, but the model is on {here}; a model is never moved for you: call "
            f"model.to({device!r}) first, or leave device='auto'"
        )
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device={device!r} cannot be used here: {error}") from error
    return here or wanted


def _batch_size(batch_size: Any) -> int | None:
    if isinstance(batch_size, str) and batch_size == "auto":
        return None
    if not is_whole(batch_size) or batch_size < 1:
        raise InputError(f"batch_size={batch_size!r}; use 'auto' or a whole number from 1")
    return int(batch_size)


@contextlib.contextmanager
def _interruptible(engine: Engine) -> Iterator[None]:
    """Let Ctrl-C end the work between two chunks; pressed twice, at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set a handler, and only it gets the signal
        return
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield  # somebody else's handling of Ctrl-C stays theirs
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if engine._stop:
            signal.default_int_handler(number, frame)
        engine.stop()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
