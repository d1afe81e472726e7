"""What a comparison draws side by side: methods, places and targets, one column for each."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import Comparison, Explanation, Result
from pellucid.viz.attributions import regions, words
from pellucid.viz.attributions.pictures import is_picture
from pellucid.viz.theme import escape, shorten

MOST = 8


@dataclass(frozen=True)
class Column:
    """One method, at one place, for one target.

    Attributes
    ----------
    name
        What it is called among the others.
    explanation
        Of one input or place, and one target.
    source
        The method and place: what only one method gives is comparable within it.
    regions
        How many groups of a picture the values are painted from; 0 where each is its own.
    note
        How such a picture is to be read.
    """

    name: str
    explanation: Explanation
    source: str
    regions: int = 0
    note: str = ""

    @classmethod
    def of(cls, name: str, explanation: Explanation, source: str) -> Column:
        """Return a column of one explanation; groups of a picture are painted over it."""
        if not regions.is_regions(explanation):
            return cls(name, explanation, source)
        count, note = explanation.values.shape[1], regions.note(explanation)
        return cls(name, regions.painted(explanation), source, count, note)

    @property
    def kind(self) -> tuple[Any, ...]:
        """What two columns share whose values can be read on one scale.

        Contributions to a score are the same quantity by any complete method, as long as each is
        that of a part of the same size. Anything else (gradients, class activation maps) is
        comparable only within one method, as between targets.
        """
        found = self.explanation
        of = "" if words.complete(found) else self.source
        axes = tuple(found.axes or ())
        cells: tuple[int, ...] = ()
        if self.regions:
            cells = (self.regions,)
        elif is_picture(axes):
            cells = tuple(found.values.shape[axes.index(axis)] for axis in ("row", "column"))
        return found.units, words.magnitude(found), of, cells


def columns(given: Any, function: str) -> tuple[Result, list[Column]]:
    """Sort whatever can be compared into columns, and return the result that they come from."""
    if isinstance(given, Explanation):
        return given, list(_split("", given, function))
    comparison = given if isinstance(given, Comparison) else _comparison(given, function)
    found = comparison.explanations.items()
    return comparison, [one for name, part in found for one in _split(name, part, function)]


def _comparison(given: Any, function: str) -> Comparison:
    """Name the explanations of a list by their methods, and their places where those differ."""
    parts = list(given.values() if isinstance(given, Mapping) else given if _is_list(given) else ())
    if not parts or not all(isinstance(part, Explanation) for part in parts):
        wrong = next((part for part in parts if not isinstance(part, Explanation)), given)
        said = "nothing" if _is_list(given) and not parts else f"a {type(wrong).__name__}"
        raise InputTypeError(
            f"viz.{function} draws a Comparison, an Explanation, a list of Explanations, or a dict "
            f"of them by name, but was given {said}"
        )
    if isinstance(given, Mapping):
        names = [str(name) for name in given]
    else:
        names = [words.method_name(part) for part in parts]
        if len(set(names)) < len(names):
            names = [name + words.place(part) for name, part in zip(names, parts, strict=True)]
        names = [
            name if names.count(name) == 1 else f"{name} ({names[: k + 1].count(name)})"
            for k, name in enumerate(names)
        ]
    explanations = dict(zip(names, parts, strict=True))
    # What only stands side by side was made when its parts were.
    return Comparison(explanations=explanations, provenance=parts[0].provenance)


def _is_list(given: Any) -> bool:
    return isinstance(given, (list, tuple, Mapping))


def _split(name: str, explanation: Explanation, function: str) -> Iterator[Column]:
    """Yield a column for each place and target of an explanation."""
    places = explanation.at if isinstance(explanation.at, tuple) else (None,)
    for place in places:
        one = explanation if place is None else explanation.select(place)
        at = " at ".join(filter(None, [name, place]))
        if not one.targeted:
            one = words.single(one, function)
            yield Column.of(at or words.method_name(one), one, at)
            continue
        for k in range(one.prediction.shape[1] if one.prediction is not None else 0):
            chosen = one_target(words.one_input(one, function), k)
            of = words.target(chosen, 0) if len(chosen) and _same(chosen) else f"target {k}"
            yield Column.of(": ".join(filter(None, [at, of])), words.single(chosen, function), at)


def _same(explanation: Explanation) -> bool:
    return len({explanation.target_name(i) for i in range(len(explanation))}) == 1


def one_target(explanation: Explanation, k: int) -> Explanation:
    """Return the explanation of one of several targets, as if it were the only one."""

    def chosen(array: Any) -> Any:
        return None if array is None else array[:, k]

    target = explanation.target
    if target is not None:
        target = target[:, k] if target.ndim == 2 else np.full(len(explanation), target[k])
    names = explanation.target_names
    return replace(
        explanation,
        values=explanation.values[:, k],
        standard_error=chosen(explanation.standard_error),
        prediction=chosen(explanation.prediction),
        baseline_prediction=chosen(explanation.baseline_prediction),
        error=chosen(explanation.error),
        residual=chosen(explanation.residual),
        target=target,
        target_names=None if names is None else names[:, k : k + 1],
        axes=tuple(axis for axis in explanation.axes or () if axis != "target") or None,
        path=None,
    )


def fewer(found: list[Column], most: int = MOST) -> tuple[list[Column], str]:
    """Return the columns that there is room for, and which are left out in words."""
    rest = [shorten(one.name, 24) for one in found[most:]]
    if not rest:
        return found, ""
    listed = ", ".join(rest[:5]) + (", ..." if len(rest) > 5 else "")
    return found[:most], f"{len(rest)} more not shown: {listed}"


def groups(found: list[Column], normalize: bool | None) -> list[int]:
    """Return for each column the number of its scale; columns of one number share it."""
    if normalize is not None and not isinstance(normalize, bool):
        raise InputError(f"normalize is True, False or None; got {normalize!r}")
    if normalize:
        return list(range(len(found)))
    known = list(dict.fromkeys(one.kind for one in found))
    if normalize is False and len(known) > 1:
        other = next(one for one in found if one.kind != known[0])
        raise InputError(
            f"{found[0].name!r} and {other.name!r} are different quantities, which no one scale "
            "holds (contributions to one score by complete methods, and targets of one method, "
            "share one); leave normalize=None"
        )
    return [known.index(one.kind) for one in found]


def scale_note(
    found: list[Column], numbers: list[int], normalize: bool | None, what: str = "column"
) -> str:
    """Return which columns can be read on one scale, in words; empty for one column."""
    if len(numbers) < 2:
        return ""
    if len(set(numbers)) == 1:
        return f"all {what}s share one scale"
    kinds = {one.kind[:-1] for one in found}
    why = "" if normalize else "these are different quantities: "
    if not normalize and len(kinds) == 1:
        why = "a large cell holds what several small ones do: "
    alike = (
        ", except where the same quantity shares one" if len(set(numbers)) < len(numbers) else ""
    )
    return f"{why}each {what} has its own scale{alike}, so compare patterns, not strengths"


def quantity(found: list[Column], shown: int) -> str:
    """Return what a value of several columns on one scale is, for an axis."""
    first = found[0].explanation
    names = {words.target(one.explanation, i) for one in found for i in range(shown)}
    of = names.pop() if len(names) == 1 else "each one's own class"
    return words.quantity(first, of)


def title(source: Result, found: list[Column], shown: int) -> str:
    """Return a title that says what is compared."""
    targets = {words.target(one.explanation, i) for one in found for i in range(shown)}
    score = words.score(found[0].explanation, targets.pop() if len(targets) == 1 else "")
    if isinstance(source, Explanation):
        return f"What the {score} rests on, by {words.method_name(source)}"
    ways = "one way" if len(found) == 1 else f"{len(found)} ways"
    return f"What the {score} rests on, explained in {ways}"


def wrapped(text: str, letters: int, most: int) -> str:
    """Return a text on a few short lines, escaped; names of layers break after their dots."""
    lines: list[str] = []
    for part in re.split(
        r"(?<=\s)(?!%)|(?<=[._/-])(?=[^\W\d])", shorten(text, letters * most - most)
    ):
        if lines and len(lines[-1]) + len(part.rstrip()) <= letters:
            lines[-1] += part
        elif len(part.rstrip()) <= letters:
            lines.append(part)
        else:
            lines += textwrap.wrap(part, letters)
    return "<br>".join(escape(line.strip()) for line in lines[:most])
