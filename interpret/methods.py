"""`methods`: which methods there are, and which of them are valid for a model, at what cost."""

from __future__ import annotations

import time
import warnings
from typing import Any

from pellucid.errors import InputError, PellucidError
from pellucid.interpret.attribution.registry import Method, registered
from pellucid.interpret.explain import explain
from pellucid.interpret.results import Explanation

_ROWS = 2  # that each method is tried on
_TIMED = 32  # that one pass is timed on
_FEW = 64  # passes for each row that may be timed on as many


class Methods(dict[str, Method]):
    """Methods by name; printed as a table of what they cost and promise.

    Attributes
    ----------
    refused
        For methods that are not valid for the model: what they say.
    seconds
        For those that are: the seconds that they would take for the inputs, roughly.
    """

    def __init__(
        self,
        known: dict[str, Method],
        refused: dict[str, str] | None = None,
        seconds: dict[str, float] | None = None,
    ) -> None:
        super().__init__(known)
        self.refused, self.seconds = refused or {}, seconds or {}

    def __repr__(self) -> str:
        lines = []
        for one in self.values():
            options = ", ".join(one.options) or "none"
            here = f", here about {_spoken(self.seconds[one.name])}" if self.seconds else ""
            lines += [
                f"{one.name}  ({one.family})",
                f"    cost: {one.cost}{here}",
                f"    promise: {one.promise}",
                f"    options: {options}",
                f"    source: {one.paper}",
            ]
        if self.refused:
            lines += ["", "not for this model:"]
            lines += [f"    {name}: {reason}" for name, reason in self.refused.items()]
        return "\n".join(lines)


def methods(model: Any = None, inputs: Any = None, **arguments: Any) -> Methods:
    """Return the attribution methods: what each costs, promises, and comes from.

    With a model and inputs, each method is tried on two of the samples; those that are valid
    remain, with an estimate of the seconds that they would take for all of them, and the others are
    told with their reasons. Every class of `captum.attr` that attributes can be called besides, as
    ``"captum:Name"``.

    Parameters
    ----------
    model, inputs
        As `explain` takes them; or neither.
    **arguments
        What else `explain` would be given: ``target``, ``at``, ``background``, ``tokenizer``.

    Returns
    -------
    dict
        From name to `Method`; it prints as a table.

    Raises
    ------
    InputError, InputTypeError, ModelError
        If only one of the two is given, or no method at all takes them.
    """
    known = registered()
    if model is None and inputs is None:
        return Methods(known)
    if model is None or inputs is None:
        raise InputError("give a model and inputs, to try the methods on; or neither")
    refused: dict[str, str] = {}
    failed: PellucidError | None = None
    some = _first(inputs, _ROWS)
    for one in known.values():
        try:
            _quietly(one, model, some, arguments)
        except PellucidError as error:
            refused[one.name] = str(error).splitlines()[0]
            failed = error
    if failed is not None and len(refused) == len(known):
        raise failed
    valid = {name: one for name, one in known.items() if name not in refused}
    each = _seconds_of_a_pass(model, inputs, valid, arguments)
    count, background = len(_samples(inputs)), arguments.get("background")
    times = 1 if background is None else len(_samples(background))
    seconds = {
        name: each * one.typical * count * (times if _is_compared_with_all(one) else 1)
        for name, one in valid.items()
    }
    return Methods(valid, refused, seconds)


def _is_compared_with_all(one: Method) -> bool:
    """Whether each of its passes is one for every sample of a background."""
    return not one.gradients and (one.samples or one.background)


def _quietly(one: Method, model: Any, inputs: Any, arguments: dict[str, Any]) -> Explanation:
    """Explain in the cheapest way, with those of the arguments that the method has a use for."""
    unused = set() if one.baseline else {"baseline"}
    if not (one.baseline or one.background or one.samples):
        unused.add("background")
    given = {key: value for key, value in arguments.items() if key not in unused}
    if "background" in given and _is_compared_with_all(one):
        given["background"] = _first(given["background"], _ROWS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return explain(model, inputs, method=one.name, progress=False, **{**given, **one.trial})


def _seconds_of_a_pass(
    model: Any, inputs: Any, valid: dict[str, Method], arguments: dict[str, Any]
) -> float:
    """Return the seconds that one pass of one row takes, with its gradient where there is one."""
    plain = (name for name in ("saliency", "feature_ablation") if name in valid)
    one = valid[next(plain, min(valid, key=lambda name: valid[name].typical))]
    some = _first(inputs, _TIMED if one.typical <= _FEW else _ROWS)
    _quietly(one, model, some, arguments)  # what is done for the first time takes longer
    started = time.perf_counter()
    found = _quietly(one, model, some, arguments)
    return (time.perf_counter() - started) / max(
        1, found.cost.forward if found.cost is not None else 0
    )


def _first(inputs: Any, rows: int) -> Any:
    """Return the first rows of inputs of any structure."""
    if isinstance(inputs, str) or inputs is None or isinstance(inputs, (bool, int, float)):
        return inputs
    if hasattr(inputs, "iloc"):
        return inputs.iloc[:rows]
    if hasattr(inputs, "items"):
        return {key: _first(part, rows) for key, part in inputs.items()}
    if isinstance(inputs, tuple):
        return tuple(_first(part, rows) for part in inputs)
    return inputs[:rows] if getattr(inputs, "ndim", 1) else inputs


def _samples(inputs: Any) -> Any:
    """Return a part of the inputs that has a length in samples."""
    if hasattr(inputs, "items") and not hasattr(inputs, "iloc"):
        inputs = tuple(inputs.values())
    if isinstance(inputs, tuple):
        return next(
            part for part in map(_samples, inputs) if hasattr(part, "__len__") and part is not None
        )
    return inputs


def _spoken(seconds: float) -> str:
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= 2 * size or unit == "s":
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.2g} s"
