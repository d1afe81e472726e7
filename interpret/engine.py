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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from types import FrameType
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn
from tqdm.std import tqdm

from pellucid.errors import InputError, ModelError, OutOfMemoryError, PellucidError
from pellucid.interpret.block import Block
from pellucid.interpret.inputs import Inputs, is_whole, label
from pellucid.interpret.memory import (
    chunk_size,
    forward_factor,
    is_out_of_memory,
    keep_bytes,
    room,
    too_large,
)
from pellucid.interpret.models import Model
from pellucid.interpret.places import (
    Place,
    Slot,
    attributed_indices,
    find_embeddings,
    input_place,
    not_differentiable,
)
from pellucid.interpret.taps import Output, Taps, embedding_calls, layer_outputs
from pellucid.interpret.targets import Scoring
from pellucid.interpret.tensors import wide
from pellucid.interpret.tokens import check_ids

T = TypeVar("T")

# From so many times on, chunks end with what belongs together: they are at most an eighth smaller.
_MANY = 8


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
    differentiable
        Whether gradients will be asked for.
    precision
        What to autocast to, or None.
    compile
        Whether to compile the model, or the backend to compile it with.
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
        differentiable: bool = True,
        precision: str | None = None,
        compile: bool | str = False,  # noqa: A002 - what torch calls it
    ) -> None:
        self._differentiable = differentiable
        self.model, self.inputs, self.seed = model, inputs, seed
        self.device = _device(device, model, inputs)
        self.batch_size = _batch_size(batch_size)
        self.count = Counter()
        self._autocast = _autocast(precision)
        # Integrated gradients of trained networks under autocast are off by up to 1.8 % in bfloat16
        # at the 95th percentile: two and a half times its rounding.
        self.rounding = 2.5 * torch.finfo(self._autocast).eps if self._autocast else 0.0
        # Where attributions are made; until `locate` says otherwise, at the inputs as they are.
        self.place = input_place(inputs, {})
        self.places: tuple[Place, ...] = (self.place,)
        self.shapes: dict[str, tuple[tuple[tuple[int, ...], torch.dtype], ...]] = {}
        # Samples of the data for methods that compare with them: one tensor for each input slot.
        self.background: tuple[Tensor, ...] = ()
        # Which group each value of the attributed inputs belongs to, all inputs one after another.
        self.groups: Tensor | None = None
        self._embeddings: dict[str, str] = {}
        self._examples: dict[str, Tensor] = {}
        self._chunk: int | None = self.batch_size
        self._stop = threading.Event()
        self._bar: Any = None
        self._progress = progress
        self.call = _compiled(model.call, compile)
        # Chunks are padded to one size where every new size would be compiled anew.
        self.padded = bool(compile)
        # Compiled modules ignore hooks set on what they were made from: those need it itself.
        self.call_beneath = getattr(model.call, "_orig_mod", model.call)
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        # Should one of these fail, the others are undone: the model is not left frozen.
        with contextlib.ExitStack() as held:
            held.enter_context(self.model.frozen(self.seed, self.device))
            held.enter_context(torch.inference_mode(mode=False))
            held.enter_context(_interruptible(self))
            self._bar = held.enter_context(
                tqdm(
                    unit=" points",
                    unit_scale=True,
                    delay=0 if self._progress else 2,
                    disable=not (_watched() if self._progress is None else self._progress),
                    leave=False,
                )
            )
            self._held = held.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._held.close()

    def run(self, positional: tuple[Any, ...], named: dict[str, Any], rows: int) -> Any:
        """Run the model on so many rows."""
        self.count.forward += rows
        if self._autocast is None:
            return self.call(*positional, **named)
        with torch.autocast(self.device.type, self._autocast):
            return self.call(*positional, **named)

    def probe(self, layers: Sequence[str] = ()) -> tuple[Any, int]:
        """Evaluate the first rows: whether the model takes such inputs, what it returns, its bytes.

        Parameters
        ----------
        layers
            Layers to be attributed to or scored: their shapes are noted.

        Returns
        -------
        output
            What the model returned, and for how many rows.

        Raises
        ------
        ModelError
            If the model fails on the inputs, or a layer is not called once.
        """
        n = min(2, self.inputs.samples)
        seen: dict[int, int] = {}
        known = {t.untyped_storage().data_ptr() for t in self.model.tensors}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in known:
                seen[storage.data_ptr()] = storage.nbytes()
            return tensor

        first: dict[str, Tensor] = {}
        for path, leaf in self.inputs.tensors().items():
            here = leaf[:n].to(self.device, copy=True)
            wanted = path in self.inputs.attributed and leaf.is_floating_point()
            # A model may write into its input, which torch forbids where gradients end.
            first[path] = here.requires_grad_().clone() if wanted else here
        floating = any(leaf.requires_grad for leaf in first.values())
        # Indices have no gradient: what the graph would keep shows by way of the parameters.
        told = [] if floating else self.model.parameters
        taps = Taps(self.model, layers)
        try:
            for parameter in told:
                parameter.requires_grad_(parameter.is_floating_point())
            with contextlib.ExitStack() as held:
                calls = None if floating else held.enter_context(embedding_calls(self.model))
                held.enter_context(taps.open())
                held.enter_context(torch.enable_grad())
                # The graph lives until it is measured: freed storages could share addresses.
                held.enter_context(torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t))
                taps.put({})
                # Not the compiled one: for two rows it would be compiled once more.
                held.callback(setattr, self, "call", self.call)
                self.call = self.call_beneath
                output = self.run(*self.inputs.arguments(first), n)
                taps.check(n)
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfMemoryError(too_large(self.device)) from error
            if isinstance(error, PellucidError):
                raise
            indices = [
                p
                for p, t in self.inputs.tensors(attributed=True).items()
                if not t.is_floating_point()
            ]
            if (
                self._differentiable
                and (indices or not self.inputs.attributed)
                and not self.model.looks_up
            ):
                raise not_differentiable(self.inputs, indices, self.model) from error
            shapes = ", ".join(
                f"{label(path)} {tuple(leaf.shape)} {leaf.dtype}"
                for path, leaf in self.inputs.tensors().items()
            )
            raise ModelError(
                f"{self.model.name} failed on the first {n} of the samples ({shapes}): "
                f"{type(error).__name__}: {error}\nThe first axis of every input counts the "
                "samples; a single sample needs one too: x[None]. A dict is passed by name; a "
                "model that takes one dict gets it in a tuple: ({...},)"
            ) from error
        finally:
            for parameter in told:
                parameter.requires_grad_(False)
        if self._chunk is None:
            width = sum(leaf[0].numel() * leaf.element_size() for leaf in first.values())
            self._chunk = chunk_size(self.device, sum(seen.values()) / n + width)
        self._embeddings = find_embeddings(first, calls or (), self.model)
        self._examples = {name: tensor.detach() for name, tensor in taps.seen.items()}
        for name, tensor in self._examples.items():
            self.shapes[name] = ((tuple(tensor.shape[1:]), tensor.dtype),)
        return output, n

    def outputs(self) -> tuple[list[Output], int]:
        """Evaluate the first rows: what every layer puts out, and for how many rows."""
        before = self.call, self._chunk
        self.call = self.call_beneath
        try:
            with layer_outputs(self.model) as found:
                _, rows = self.probe()
        finally:
            # The probe of the places themselves, which keeps less, decides the chunk.
            self.call, self._chunk = before
        return found, rows

    def example(self, layer: str) -> Tensor:
        """Return what a layer put out for the first rows, which `probe` was told of."""
        return self._examples[layer]

    @property
    def embeddings(self) -> dict[str, nn.Embedding]:
        """Return, for the inputs that are looked up, the embeddings that do it; after `probe`."""
        found = {path: self.model.layer(layer) for path, layer in self._embeddings.items()}
        return {path: layer for path, layer in found.items() if isinstance(layer, nn.Embedding)}

    def take(self, inputs: Inputs) -> None:
        """Go on with other inputs, such as what was generated behind the first; `probe` again."""
        self.inputs, self.place, self._chunk = inputs, input_place(inputs, {}), self.batch_size

    def locate(self, names: Sequence[str] = ("input",), named: Any = None) -> None:
        """Find the places to attribute to, after `probe`.

        Parameters
        ----------
        names
            ``"input"``, or layers that the probe was told of.
        named
            The inputs that the person named, or None.

        Raises
        ------
        InputTypeError
            If an input is an index that no embedding looks up.
        """
        inputs = self.inputs
        missing = set(inputs.attributed) - set(self._embeddings)
        indices = [p for p in missing if not inputs.tensors()[p].is_floating_point()]
        # A path from the input needs its embedding, also where a layer is attributed to.
        if indices or (not inputs.attributed and ("input" in names or self._embeddings)):
            if indices:  # those that a person named, beside floating-point inputs perhaps
                with embedding_calls(self.model) as calls, torch.no_grad():
                    n = min(2, inputs.samples)
                    first = {p: t[:n].to(self.device) for p, t in inputs.tensors().items()}
                    positional, by_name = inputs.arguments(first)
                    self.call_beneath(*positional, **by_name)
                self._embeddings = find_embeddings(first, calls, self.model)
            chosen = attributed_indices(
                inputs, self._embeddings, None if named is None else inputs.attributed, self.model
            )
            self.inputs = replace(inputs, attributed=chosen)
        for path, embedding in self.embeddings.items():
            check_ids(inputs.tensors()[path], embedding.num_embeddings, label(path))
        self.place = input_place(self.inputs, self._embeddings)
        there = self.inputs.tensors()
        shapes = []
        for slot in self.place.slots:
            leaf = there[slot.path or ""]
            if slot.layer is not None:
                with torch.no_grad():
                    leaf = self.model.layer(slot.layer)(leaf[:1].to(self.device))
            shapes.append((tuple(leaf.shape[1:]), leaf.dtype))
        self.shapes["input"] = tuple(shapes)
        self.places = tuple(
            self.place if name == "input" else Place(name, (Slot(layer=name),)) for name in names
        )

    def blocks(
        self,
        score: Scoring | None,
        baselines: Mapping[str, Tensor | None],
        *,
        kept: int = 0,
        span: slice | None = None,
    ) -> Iterator[Block]:
        """Yield the rows in blocks, each on the device.

        Parameters
        ----------
        score
            What to evaluate; None for activations only.
        baselines
            For each attributed path; empty for methods without.
        kept
            How many gradients of each row the method keeps: they fit into `keep_bytes`.
        span
            Which rows; all of them by default.
        """
        assert self._chunk is not None, "probe() comes first: it decides the chunk"
        targets = score.columns if score is not None else 1
        if self.batch_size is None and score is not None:
            # A chunk's gradients and their products must fit too, beside what the model keeps.
            self._chunk = min(
                self._chunk, max(1, room(self.device) // (6 * targets * self.row_bytes))
            )
        size = max(self._chunk, 256)
        if kept:
            size = min(size, max(1, keep_bytes(self.device) // (kept * targets * self.row_bytes)))
        first, last = (0, self.inputs.samples) if span is None else (span.start, span.stop)
        for start in range(first, last, size):
            stop = min(start + size, last)
            block = Block(self, slice(start, stop), score, baselines)
            yield block
            # No refresh: it would show the bar before its delay is over.
            self._bar.set_postfix_str(f"{stop} of {self.inputs.samples} rows done", refresh=False)
        if self._stop.is_set():
            # Pressed during the very last chunk it stopped nothing, and is not to be lost.
            raise KeyboardInterrupt

    @property
    def chunk(self) -> int:
        """Points that go through the model at once."""
        assert self._chunk is not None, "probe() comes first: it decides the chunk"
        return self._chunk

    @property
    def row_bytes(self) -> int:
        """Bytes of one row's gradient at all places, in the dtype that we accumulate in."""
        shapes = {name: self.shapes.get(name) for name in (place.name for place in self.places)}
        total = 0
        for found in shapes.values():
            for shape, dtype in found or self._input_shapes():
                total += prod(shape) * wide(dtype).itemsize
        return total

    def _input_shapes(self) -> list[tuple[tuple[int, ...], torch.dtype]]:
        here = self.inputs.tensors(attributed=True).values()
        return [(tuple(leaf.shape[1:]), leaf.dtype) for leaf in here]

    def each_chunk(
        self,
        count: int,
        compute: Callable[[Tensor], T],
        deliver: Callable[[T], None],
        *,
        width: int = 1,
        together: int = 1,
        forward: bool = False,
    ) -> None:
        """Compute on the numbers of one chunk after another, and deliver what comes out.

        When memory runs out in `compute`, the chunk is halved and computed again; what was
        delivered stays delivered, so nothing is counted twice. Where each number stands for several
        points, `width` says how many. Where so many numbers belong `together`, and many times that
        fit into a chunk, it ends with the last of some. A `forward` pass alone may take more.
        """
        free = forward and self.batch_size is None and not self.padded
        many = forward_factor(self.device, self.chunk) if free else 1
        start = 0
        while start < count:
            if self._stop.is_set():
                raise KeyboardInterrupt
            size = max(1, self.chunk * many // width)
            if size >= _MANY * together:
                size -= (start + size) % together
            stop = min(start + size, count)
            try:
                result = compute(torch.arange(start, stop, device=self.device))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if stop - start == 1:
                    raise OutOfMemoryError(too_large(self.device)) from error
                result = None
            if result is None:
                # Outside the except: the traceback would hold on to the failed chunk's tensors.
                self._chunk = max(1, (stop - start) // 2 * width // many)
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
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether it was asked to end."""
        return self._stop.is_set()

    def stop_with(self, other: Engine) -> None:
        """Stop when the other is asked to, and the other way round."""
        self._stop = other._stop


def _watched() -> bool:
    """Whether somebody sees a progress bar: on a terminal, or in a notebook."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return terminal or "ipykernel" in sys.modules


def _device(device: Any, model: Model, inputs: Inputs) -> torch.device:
    here = model.device
    if isinstance(device, str) and device == "auto":
        return here or next(iter(inputs.tensors().values())).device
    wanted = usable_device(device)
    if here is not None and (
        wanted.type != here.type or (wanted.index is not None and wanted.index != here.index)
    ):
        raise InputError(
            f"device={device!r}, but the model is on {here}; a model is never moved for you: call "
            f"model.to({device!r}) first, or leave device='auto'"
        )
    return here or wanted


def usable_device(device: Any) -> torch.device:
    """Return a device that was named, or raise an `InputError` if it cannot be used."""
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"device={device!r} is not a device; use 'auto', 'cpu', 'cuda'") from error
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device={device!r} cannot be used here: {error}") from error
    return wanted


def _batch_size(batch_size: Any) -> int | None:
    if isinstance(batch_size, str) and batch_size == "auto":
        return None
    if not is_whole(batch_size) or batch_size < 1:
        raise InputError(f"batch_size={batch_size!r}; use 'auto' or a whole number from 1")
    return int(batch_size)


def _autocast(precision: Any) -> torch.dtype | None:
    known = {None: None, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if not (precision is None or isinstance(precision, str)) or precision not in known:
        raise InputError(
            f"precision={precision!r} is not known; use 'bfloat16' or 'float16' for autocast, or "
            "None for the model's own precision"
        )
    return known[precision]


def _compiled(call: Callable[..., Any], wanted: bool | str) -> Callable[..., Any]:
    if not wanted or hasattr(call, "_orig_mod"):
        return call
    backend = "inductor" if wanted is True else wanted
    if backend not in (known := torch.compiler.list_backends(())):
        raise InputError(
            f"compile={wanted!r} is no backend of torch.compile; use True, or {', '.join(known)}"
        )
    marks = set(getattr(call, "__dict__", ()))
    compiled: Callable[..., Any] = torch.compile(call, dynamic=False, backend=backend)
    if isinstance(call, nn.Module):
        # torch leaves a mark on the module that it compiles; it is the user's.
        for mark in set(vars(call)) - marks:
            del vars(call)[mark]
    return compiled


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
        if engine._stop.is_set():
            signal.default_int_handler(number, frame)
        engine.stop()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
