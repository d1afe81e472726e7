"""What a model calls in a forward pass, and what flows from where to where."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count
from torch.utils.weak import WeakTensorKeyDictionary

from pellucid.interpret.taps import first_tensor

INPUT = -1
_ATTENTION = "scaled_dot_product"
# What is made after a tensor's shape only does not come from it.
_ONLY_SHAPED = ("_like", "new_empty", "new_zeros", "new_ones", "new_full")


@dataclass
class Call:
    """One call of a module, or of a function that joins what several modules put out.

    Attributes
    ----------
    path
        The module's path in the model; of a function, that of the module around it and its name.
    kind
        The module's class, or the function's name.
    around
        The call that it happened in; None for the outermost.
    number
        Among the calls of modules; None for a function.
    sources
        Calls that what went in came from; `INPUT` for the model's inputs.
    leaf
        Whether no other module was called within.
    shape
        Of the first tensor that it put out.
    operations
        Multiplications and additions of its own; None where they cannot be counted.
    """

    path: str
    kind: str
    around: int | None
    number: int | None = None
    sources: tuple[int, ...] = ()
    leaf: bool = True
    shape: tuple[int, ...] | None = None
    operations: int | None = 0
    into: int | None = None  # the leaf that a function turned out to be a part of


@dataclass
class Trace:
    """What happened in a forward pass.

    Attributes
    ----------
    calls
        In the order in which they began.
    outputs
        The calls that the model's output came from.
    followed
        Whether the way from the inputs to the output is known.
    """

    calls: list[Call] = field(default_factory=list)
    outputs: tuple[int, ...] = ()
    followed: bool = True


def tensors_of(tree: Any) -> Iterator[Tensor]:
    """Yield the tensors of nested containers, and of data classes as models return them."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for part in tree.values():
            yield from tensors_of(part)
    elif isinstance(tree, (tuple, list)):
        for part in tree:
            yield from tensors_of(part)
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        for part in vars(tree).values():
            yield from tensors_of(part)


@contextlib.contextmanager
def listening(
    layers: Mapping[str, nn.Module],
    enter: Callable[[str, nn.Module, Any], None],
    leave: Callable[[nn.Module, Any], Any],
) -> Iterator[None]:
    """Call `enter` before and `leave` after each call of a module; what `leave` returns goes on."""
    with contextlib.ExitStack() as held:
        for name, module in layers.items():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # it knows no hooks

            def before(module: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
                enter(name, module, (args, kwargs))

            def after(module: nn.Module, _: Any, output: Any) -> Any:
                return leave(module, output)

            held.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            held.callback(module.register_forward_hook(after).remove)
        yield


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """Run compiled parts of a model as they were written: only those call the hooks."""
    stance = getattr(torch.compiler, "set_stance", None)
    if stance is None or "torch._dynamo" not in sys.modules:
        yield
        return
    with stance("force_eager"):
        yield


def trace(
    run: Callable[[], Any], layers: Mapping[str, nn.Module], inputs: Sequence[Tensor]
) -> Trace:
    """Follow one forward pass.

    Every tensor is known by the one call that it comes from. What a module puts out comes from the
    module, if it calls no other; what a function makes comes from where its arguments come from,
    and if these are several, from the function: it joins them, as a residual sum does.

    Parameters
    ----------
    run
        Runs the model, without gradients.
    layers
        Its modules by their paths.
    inputs
        The tensors that it runs on.
    """
    tracer = _Tracer(inputs)
    try:
        with listening(layers, tracer.enter, tracer.leave), tracer:
            found = tracer.found(run())
    except Exception:  # noqa: BLE001 - what a dispatch mode may trip over has no common base
        plain = _Tracer(inputs)
        with listening(layers, plain.enter, plain.leave):
            run()
        found = plain.found(None)
    if not found.followed:
        _in_order(found)
    return found


class _Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation on tensors, and every call of a module."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []
        self._stack: list[int] = []
        self._given: list[list[tuple[Tensor, int]]] = []
        self._modules = 0
        self._source = WeakTensorKeyDictionary()
        for tensor in inputs:
            self._source[tensor] = INPUT

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say that this need not be kept from torch's compiler, whose import takes seconds.

        Nothing is compiled while the model is followed.
        """
        return False

    def enter(self, path: str, module: nn.Module, given: Any) -> None:
        around = self._stack[-1] if self._stack else None
        if around is not None:
            self.calls[around].leaf = False
        self._stack.append(len(self.calls))
        tensors = list(tensors_of(given))
        self._given.append([(tensor, _version(tensor)) for tensor in tensors])
        sources = self._sources(tensors)
        kind = type(module).__name__
        self.calls.append(Call(path, kind, around, self._modules, sources))
        self._modules += 1

    def leave(self, _: nn.Module, output: Any) -> Any:
        index = self._stack.pop()
        given = self._given.pop()
        call = self.calls[index]
        tensor = first_tensor(output)
        call.shape = None if tensor is None else tuple(tensor.shape)
        if not call.leaf:
            return None
        for inner in self.calls[index + 1 :]:
            # What is joined inside of a module without others is its own business.
            inner.into = index
            call.operations = total(call.operations, inner.operations)
        # What is handed on untouched (by dropout) also goes on from where it came from, as the
        # other side of a residual block: the module's output is another view of it.
        same = {id(t) for t, version in given if _version(t) == version}
        output = _with_views(output, same)
        for part in tensors_of(output):
            self._source[part] = index
        return output

    def found(self, output: Any) -> Trace:
        """Return what was seen, given what the model returned."""
        ends = self._sources(tensors_of(output))
        return Trace(self.calls, ends, _reaches(self.calls, ends))

    def _sources(self, tensors: Any) -> tuple[int, ...]:
        found: dict[int, None] = {}
        for tensor in tensors:
            index = self._source.get(tensor)  # type: ignore[no-untyped-call]
            if index is not None:
                while index >= 0 and (into := self.calls[index].into) is not None:
                    index = into
                found[index] = None
        return tuple(found)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        name = func._schema.name.rpartition("::")[2]
        sources = self._sources(tensors_of((args, kwargs)))
        joined = len(sources) > 1
        index = self._join(name, sources, output) if joined else next(iter(sources), None)
        self._count(func, name, args, kwargs, output, index if joined else None)
        if index is None or name.endswith(_ONLY_SHAPED):
            return output
        for tensor in tensors_of(output):
            self._source[tensor] = index
        for argument, value in zip(func._schema.arguments, args, strict=False):
            # What is written into a part of a tensor is in the whole.
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written and isinstance(value, Tensor) and value._base is not None:
                self._source[value._base] = index
        return output

    def _join(self, name: str, sources: tuple[int, ...], output: Any) -> int:
        around = self._stack[-1] if self._stack else None
        kind = "attention" if _ATTENTION in name else name.strip("_")
        kind = {"bmm": "matmul", "mm": "matmul", "baddbmm": "matmul"}.get(kind, kind)
        path = "" if around is None else self.calls[around].path
        tensor = first_tensor(output)
        self.calls.append(
            Call(
                f"{path}.{kind}".lstrip("."),
                kind,
                around,
                sources=sources,
                shape=None if tensor is None else tuple(tensor.shape),
            )
        )
        return len(self.calls) - 1

    def _count(
        self, func: Any, name: str, args: Any, kwargs: Any, output: Any, joined: int | None
    ) -> None:
        """Add an operation's multiplications and additions to where it happens."""
        if not self._stack:
            return
        call = self.calls[self._stack[-1] if joined is None else joined]
        if call.operations is None:
            return
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            call.operations += int(formula(*args, **kwargs, out_val=output))
        elif _ATTENTION in name and len(args) >= 3:  # on a CPU, which torch has no formula for
            shapes = [part.shape for part in args[:3]]
            call.operations += int(sdpa_flop_count(*shapes))  # type: ignore[no-untyped-call]
        elif "rnn" in name:
            call.operations = None  # one operation for a whole sequence


def total(a: int | None, b: int | None) -> int | None:
    """Return the sum of two numbers of operations; None where one is not known."""
    return None if a is None or b is None else a + b


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _with_views(output: Any, same: set[int]) -> Any:
    """Return an output with views of those tensors that are among what went in."""
    if isinstance(output, Tensor):
        return output.view_as(output) if id(output) in same else output
    if type(output) in (tuple, list):
        return type(output)(_with_views(part, same) for part in output)
    if type(output) is dict:
        return {key: _with_views(part, same) for key, part in output.items()}
    return output


def _reaches(calls: Sequence[Call], ends: tuple[int, ...]) -> bool:
    """Whether one gets from the ends back to the inputs."""
    seen: set[int] = set()
    waiting = list(ends)
    while waiting:
        index = waiting.pop()
        if index == INPUT:
            return any(end != INPUT for end in ends)
        if index not in seen:
            seen.add(index)
            waiting += calls[index].sources
    return False


def _in_order(found: Trace) -> None:
    """Let each module follow the one that was called before it, in place of what is not known."""
    last = INPUT
    # Without the functions, a call stands where its number says.
    numbers = [call.number for call in found.calls]
    found.calls = [call for call in found.calls if call.number is not None]
    for position, call in enumerate(found.calls):
        call.around = None if call.around is None else numbers[call.around]
        if call.leaf:
            call.sources, last = (last,), position
    found.outputs = (last,)
