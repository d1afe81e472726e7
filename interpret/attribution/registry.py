"""The methods, with what a person would ask before choosing one."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor

from pellucid.errors import InputError

if TYPE_CHECKING:
    from pellucid.interpret.block import Block

_FAMILIES = (
    "gradients",
    "paths",
    "pictures",
    "expected",
    "smoothing",
    "propagation",
    "cam",
    "regions",
    "attention",
    "shapley",
    "perturbation",
    "lime",
    "rise",
    "interactions",
    "trees",
)
T = TypeVar("T")


@dataclass(frozen=True)
class Attribution:
    """What a method returns for a block of rows.

    Attributes
    ----------
    values
        Shape (rows, targets, features), float32 or wider.
    prediction, baseline_prediction
        The score at the input and at the baseline, shape (rows, targets); None if not known.
    error
        Estimated relative L2 error, shape (rows, targets); None if the method cannot say.
    settings
        Those that were used, defaults included.
    scale
        What the error is relative to, shape (rows, targets), where there is an error.
    standard_error
        Of each value, in their shape, where the method samples.
    shape, axes
        Shape of one row's values and what its axes are, where they are not those of the place.
    path
        Nodes of each row's path: ``"step"``, ``"score"`` and ``"norm"``, (rows, nodes), padded
        with NaN.
    """

    values: Tensor
    prediction: Tensor | None
    baseline_prediction: Tensor | None
    error: Tensor | None
    settings: dict[str, Any]
    scale: Tensor | None = None
    standard_error: Tensor | None = None
    shape: tuple[int, ...] | None = None
    axes: tuple[str, ...] | None = None
    path: dict[str, Tensor] | None = None


@dataclass(frozen=True)
class Method:
    """One attribution method.

    Attributes
    ----------
    name, family
        What it is called, and the file that it lives in.
    run
        The mathematics: from a block at one place and options to an `Attribution`; if `joint`, from
        a block and its places to one for each place.
    baseline
        Whether it compares with a baseline.
    background
        Whether it needs samples of the data.
    samples
        Whether it compares with every sample of a background where there is one, and with one
        baseline where there is none.
    gradients
        Whether it needs a model that torch can differentiate; others take anything that predicts.
    margin
        Whether it explains a boosted classifier's margin, which its trees add up to.
    complete
        Whether its values add up to the prediction less the baseline's.
    cost
        Passes for each row, in words.
    promise
        How far it can be trusted, in words.
    paper
        Where it comes from.
    points
        Points that go through the model for each row, given the options; None if that depends on
        the data.
    kept
        Gradients of each row that it keeps at a time, so that blocks of rows fit into memory.
    several_targets
        Whether several targets can share its passes.
    joint
        Whether it takes all places at once, because they share its path.
    where
        Places that it is for: ``"any"``, ``"input"``, ``"layer"``, or ``"map"``, a layer that keeps
        the rows and columns of a picture (and finds one by itself).
    wraps
        Whether it wraps another method, named by its option ``of``, and takes that one's options.
    sampled
        Whether it draws random numbers, which belong to the row's number and the seed.
    typical
        Gradients that it usually takes for each row.
    trial
        Options with which it is tried out on a model, as cheap as can be.
    """

    name: str
    family: str
    run: Callable[..., Any]
    baseline: bool
    complete: bool
    cost: str
    promise: str
    paper: str
    points: Callable[[dict[str, Any]], int | None]
    kept: Callable[[dict[str, Any]], int]
    several_targets: bool
    background: bool = False
    samples: bool = False
    gradients: bool = True
    margin: bool = False
    joint: bool = False
    where: str = "any"
    wraps: bool = False
    sampled: bool = False
    typical: int = 1
    trial: Mapping[str, Any] = field(default_factory=dict)

    def at(self, block: Block, **options: Any) -> Attribution:
        """Run at the block's own place alone."""
        if self.joint:
            found: Attribution = self.run(block.source, (block.place,), **options)[0]
        else:
            found = self.run(block, **options)
        return found

    @functools.cached_property
    def options(self) -> tuple[str, ...]:
        """Names of the options that it takes."""
        return tuple(
            name
            for name, parameter in inspect.signature(self.run).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        )


_methods: dict[str, Method] = {}


def method(
    *,
    baseline: bool,
    complete: bool,
    cost: str,
    promise: str,
    paper: str,
    points: Callable[[dict[str, Any]], int | None],
    kept: Callable[[dict[str, Any]], int] = lambda _: 0,
    several_targets: bool = True,
    background: bool = False,
    samples: bool = False,
    gradients: bool = True,
    margin: bool = False,
    joint: bool = False,
    where: str = "any",
    wraps: bool = False,
    sampled: bool = False,
    typical: int = 1,
    trial: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Register a function of a block as an attribution method, under its own name."""

    def register(run: Callable[..., T]) -> Callable[..., T]:
        _methods[run.__name__] = Method(
            name=run.__name__,
            family=run.__module__.rpartition(".")[2],
            run=run,
            baseline=baseline,
            complete=complete,
            cost=cost,
            promise=promise,
            paper=paper,
            points=points,
            kept=kept,
            several_targets=several_targets,
            background=background,
            samples=samples,
            gradients=gradients,
            margin=margin,
            joint=joint,
            where=where,
            wraps=wraps,
            sampled=sampled,
            typical=typical,
            trial=trial or {},
        )
        return run

    return register


def registered() -> dict[str, Method]:
    """Return every method by its name."""
    for family in _FAMILIES:
        importlib.import_module(f"pellucid.interpret.attribution.{family}")
    return dict(_methods)


def find(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """Return a method by its name; ``"captum:Name"`` is one of Captum's.

    Parameters
    ----------
    name
        What it is called.
    options
        Those that it will be run with: one of Captum's that wraps another is made of both.

    Raises
    ------
    InputError
        If there is none; the message lists those that there are.
    """
    if isinstance(name, str) and name.startswith("captum:"):
        captum = importlib.import_module("pellucid.interpret.attribution.captum")
        found: Method = captum.find(name.removeprefix("captum:"), options or {})
        return found
    known = registered()
    if isinstance(name, str) and name in known:
        return known[name]
    close = difflib.get_close_matches(str(name), known, n=1)
    raise InputError(
        f"there is no method {name!r}"
        + (f"; did you mean {close[0]!r}?" if close else ".")
        + f" The methods are {', '.join(known)}, and 'captum:Name' for what else Captum has"
    )


def check_options(chosen: Method, options: dict[str, Any]) -> None:
    """Raise an `InputError` for an option that the method does not take."""
    known = chosen.options
    if chosen.wraps:
        inner = find(options.get("of", "saliency"))
        if inner.wraps or inner.where != "any" or not inner.gradients:
            raise InputError(f"of={inner.name!r} is not a method that noise can be put around")
        known = (*known, *inner.options)
    for name in options:
        if name not in known:
            raise InputError(
                f"{chosen.name} takes no option {name!r}; "
                + (f"its options are {', '.join(known)}" if known else "it takes none")
            )
