"""The nodes and edges of a model's architecture, from what happened in a forward pass."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from torch import nn

from pellucid.errors import InputError
from pellucid.interpret.inspection.activity import Activity
from pellucid.interpret.inspection.architecture import INPUT, Call, Trace, total
from pellucid.interpret.results import Explanation, Node
from pellucid.interpret.results.trees import leaves

T = TypeVar("T")
_MOST_CALLS = 16  # of one module that become nodes of their own; a longer loop is one node
_ARITHMETIC = {"add", "sub", "mul", "div"}


class Architecture:
    """The calls of a forward pass under the names that people read.

    Parameters
    ----------
    found
        What happened.
    parts
        The model's modules by their paths.
    """

    def __init__(self, found: Trace, parts: Mapping[str, nn.Module]) -> None:
        self._calls, self._parts = found.calls, parts
        self._sources, self._outputs = simplified(found)
        self._names = names_of(found.calls, self._sources)

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """The pairs of names of which one goes into the other, each once, in order."""
        pairs = [
            (self._name(source), self._names[index])
            for index in sorted(self._sources)
            for source in self._sources[index]
        ]
        pairs += [(self._name(source), "output") for source in self._outputs]
        return tuple(dict.fromkeys(pair for pair in pairs if pair[0] != pair[1]))

    def _name(self, index: int) -> str:
        return "input" if index == INPUT else self._names[index]

    def named(self, by_number: Mapping[int, T]) -> dict[str, T]:
        """Return what is known by a call's number by its name.

        Of several calls with one name, the cell of a loop say, the first is taken.
        """
        found: dict[str, T] = {}
        for name, call in zip(self._names, self._calls, strict=True):
            if call.number is not None and call.number in by_number:
                found.setdefault(name, by_number[call.number])
        return found

    def nodes(
        self,
        activity: Activity,
        seconds: Mapping[int, float],
        rows: int,
        owned: Mapping[str, Sequence[nn.Parameter]],
        norms: Mapping[nn.Parameter, float],
        relevance: Mapping[str, float],
    ) -> tuple[Node, ...]:
        """Return the nodes, parents before their children, in the order of the first calls.

        Parameters
        ----------
        activity, seconds
            What is known of the calls, by their numbers.
        rows
            Samples that were run.
        owned
            Each module's own parameters, by its path.
        norms
            The norms of their gradients.
        relevance
            Of layers, by their names.
        """
        table = _Table()
        called = set()  # paths of modules that called no other
        for index, call in enumerate(self._calls):
            if call.number is None and index not in self._sources:
                continue
            name = self._names[index]
            self._note_above(table, name, call.path, index)
            table.note(name, call.kind, index)
            table.shapes.setdefault(name, call.shape)
            if call.operations is None:
                table.add(name, "operations", math.nan)
            elif call.operations:
                table.add(name, "operations", call.operations / rows)
            if call.number is None:
                continue
            if call.leaf:
                called.add(call.path)
            if call.number in seconds:
                table.add(name, "seconds", seconds[call.number])
        for key, shares in {"zero": activity.zero, "dead": activity.dead}.items():
            for name, share in self.named(shares).items():
                table.add(name, key, share)
        for position, (path, part) in enumerate(self._parts.items()):
            # What a module without calls of its own holds belongs to it: attention's projections.
            owner = next((above for above in _above(path) if above in called), path)
            if owner == path:
                table.note(path, type(part).__name__, len(self._calls) + position)
            for parameter in owned.get(path, ()):
                table.add(owner, "parameters", parameter.numel())
                if parameter in norms:
                    known = table.statistics[owner].get("gradient norm", 0.0)
                    table.statistics[owner]["gradient norm"] = math.hypot(known, norms[parameter])
        for name, value in relevance.items():
            if name not in table.kinds:
                raise InputError(f"the explanation is at {name!r}, which was not called as such")
            table.add(name, "relevance", value)
        return table.nodes()

    def _note_above(self, table: _Table, name: str, path: str, index: int) -> None:
        """Note the modules around a call, also those that are never called, as lists of them."""
        both = zip(_above(name), _above(path), strict=True)
        for above, registered in [("", ""), *both]:
            if registered in self._parts:
                table.note(above, type(self._parts[registered]).__name__, index)


class _Table:
    """Nodes as they come together."""

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}
        self.shapes: dict[str, tuple[int, ...] | None] = {}
        self.statistics: dict[str, dict[str, float]] = {}
        self._first: dict[str, int] = {}

    def note(self, name: str, kind: str, position: int) -> None:
        if name not in self.kinds:
            self.kinds[name] = kind
            self._first[name] = position
            self.statistics[name] = {"parameters": 0.0}

    def add(self, name: str, key: str, value: float) -> None:
        self.statistics[name][key] = self.statistics[name].get(key, 0.0) + value

    def nodes(self) -> tuple[Node, ...]:
        def order(name: str) -> list[int]:
            around = ["", *_above(name), name] if name else [""]
            return [self._first[above] for above in around if above in self._first]

        return tuple(
            Node(
                name,
                self.kinds[name],
                self.shapes.get(name),
                {k: v for k, v in self.statistics[name].items() if not math.isnan(v)},
            )
            for name in sorted(self.kinds, key=order)
        )


def _above(path: str) -> list[str]:
    """Return the paths of the modules around one, but for the model, the outermost first."""
    steps = path.split(".")
    return [".".join(steps[:k]) for k in range(1, len(steps))]


def relevance_of(explanation: Explanation | None) -> dict[str, float]:
    """Return what attributions at layers amount to: the mean over samples of their magnitude."""
    if explanation is None:
        return {}
    several = isinstance(explanation.at, tuple)
    values: dict[str, Any] = (
        explanation.values if several else {str(explanation.at): explanation.values}
    )
    found = {}
    for place, tree in values.items():
        if place == "input":
            continue
        sizes = [
            np.abs(np.asarray(leaf, dtype=np.float64)).reshape(len(leaf), -1).sum(axis=1)
            for _, leaf in leaves(tree)
            if leaf is not None
        ]
        found[place] = float(np.mean(sum(sizes)))
    if not found:
        raise InputError(
            "the explanation is of the input; for the relevance of layers, explain at them: "
            "pl.explain(model, inputs, at=['layer1', 'layer2'])"
        )
    return found


# -- which calls are nodes, and their names --------------------------------------------------


def simplified(found: Trace) -> tuple[dict[int, tuple[int, ...]], tuple[int, ...]]:
    """Return what comes from where, between modules without others and joining functions.

    Functions whose result goes into one other function only are one with it where that reads as
    one step (both products of attention), and those whose result goes nowhere are left out.

    Returns
    -------
    sources
        For each call that stays, those that it takes from.
    outputs
        Those that the output comes from.
    """
    calls = found.calls
    sources = {
        index: call.sources
        for index, call in enumerate(calls)
        if call.into is None and (call.leaf or call.number is None)
    }
    # Backwards, because what is left out may make what comes before it go nowhere.
    takers: dict[int, set[int]] = {index: set() for index in sources}
    for index in found.outputs:
        if index >= 0:
            takers[index].add(len(calls))
    for index in sorted(sources, reverse=True):
        is_function = calls[index].number is None
        if is_function and not takers[index]:
            del sources[index]
            continue
        if is_function and len(takers[index]) == 1:
            (taker,) = takers[index]
            if taker < len(calls) and _are_one(calls[index], calls[taker]):
                merged = tuple(s for s in sources[taker] if s != index) + sources[index]
                sources[taker] = tuple(dict.fromkeys(merged))
                calls[taker].operations = total(calls[taker].operations, calls[index].operations)
                for source in sources.pop(index):
                    if source >= 0:
                        takers[source].add(taker)
                continue
        for source in sources[index]:
            if source >= 0:
                takers[source].add(index)
    return sources, found.outputs


def _are_one(function: Call, taker: Call) -> bool:
    """Whether a function that goes into one other only is to be drawn as a part of it."""
    if taker.number is not None or function.around != taker.around:
        return False
    kinds = {function.kind, taker.kind}
    return len(kinds) == 1 or kinds <= _ARITHMETIC or taker.kind in ("attention", "matmul")


def names_of(calls: Sequence[Call], kept: Mapping[int, Any]) -> list[str]:
    """Return a name for each call: the module's path, with a number from its second call on.

    A module that is called very often, as the cell of a loop is, has one name for all its calls.
    """
    folded: set[str] = set()
    while True:
        names: list[str] = []
        counts: Counter[str] = Counter()
        for index, call in enumerate(calls):
            if call.number is None and index not in kept:
                names.append("")
                continue
            base = _base(call, calls, names)
            counts[base] += 1
            again = counts[base] > 1 and base not in folded
            names.append(f"{base} ({counts[base]})" if again else base)
        often = {base for base, count in counts.items() if count > _MOST_CALLS} - folded
        if not often:
            return names
        folded |= often


def _base(call: Call, calls: Sequence[Call], names: Sequence[str]) -> str:
    """Return a call's path, in which the modules around it are named as they were called."""
    around = call.around
    while around is not None:
        outer = calls[around]
        if not outer.path:
            return call.path
        if call.path.startswith(f"{outer.path}."):
            return names[around] + call.path[len(outer.path) :]
        around = outer.around
    return call.path
