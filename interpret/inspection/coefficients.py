"""Snapshots of scikit-learn's networks and linear models: their coefficients are layers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import (
    ActivationFunction,
    Layer,
    Node,
    Provenance,
    Snapshot,
)

_BINS = 60
_CURVE = 241


def _logistic(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-np.logaddexp(0, -x)))


def _relu(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(x, 0))


def _softmax(x: np.ndarray) -> np.ndarray:
    shifted = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


# By the names that scikit-learn has for them; a softmax is not a function of single values.
_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": _relu,
    "tanh": np.tanh,
    "logistic": _logistic,
    "softmax": _softmax,
}


@dataclass(frozen=True)
class _Step:
    """One layer: coefficients, or a function."""

    name: str
    kind: str
    weight: np.ndarray | None = None  # (out, in)
    bias: np.ndarray | None = None

    def apply(self, values: np.ndarray) -> np.ndarray:
        if self.weight is None:
            return _FUNCTIONS[self.kind](values)
        found = values @ self.weight.T
        return np.asarray(found if self.bias is None else found + self.bias)


def has_coefficients(model: Any) -> bool:
    """Whether a model is an estimator with coefficients, or a pipeline that ends in one.

    Raises
    ------
    InputTypeError
        If it is an estimator that has none, or is not fitted.
    """
    if isinstance(model, type) or not callable(getattr(model, "fit", None)):
        return False
    name = type(_last(model)).__name__
    try:
        found = hasattr(_last(model), "coefs_") or hasattr(_last(model), "coef_")
    except AttributeError:
        found = False
    if not found:
        raise InputTypeError(
            f"model is a {name} without coefficients (coefs_ or coef_): either it is not fitted, "
            "or it is of a kind that has none, as trees and kernel machines; expected a "
            "torch.nn.Module, or a fitted MLP, linear model or linear SVM"
        )
    return True


def of_estimator(model: Any, inputs: Any, *, samples: int, keep: int) -> Snapshot:
    """Return an estimator's coefficients as layers, and what they make of some samples.

    Parameters
    ----------
    model
        For which `has_coefficients` holds.
    inputs
        Samples, or None.
    samples, keep
        How many of them are used, and for how many activations are kept.

    Raises
    ------
    InputError
        If the inputs do not have the features that it was fitted on, or hold NaN.
    """
    last = _last(model)
    name = type(last).__name__
    steps = _steps(last)
    layers = tuple(
        Layer(
            step.name,
            step.kind,
            {"weight": step.weight} | ({} if step.bias is None else {"bias": step.bias}),
        )
        for step in steps
        if step.weight is not None
    )
    shapes: dict[str, tuple[int, ...]] = {}
    statistics = {step.name: {"parameters": float(_size(step))} for step in steps}
    activations: dict[str, np.ndarray] = {}
    functions: dict[str, ActivationFunction] = {}
    settings: dict[str, Any] = {}
    rows = None
    if inputs is not None:
        rows, given = _rows(model, inputs, samples)
        values = rows
        for step in steps:
            before, values = values, step.apply(values)
            shapes[step.name] = values.shape
            activations[step.name] = values[:keep]
            statistics[step.name] |= {
                "zero": float((values == 0).mean()),
                "dead": float((values == 0).all(axis=0).mean()),
            }
            if step.weight is None and step.kind != "softmax":
                functions[step.name] = _function(step.kind, before)
        settings = {
            "samples": len(rows),
            "samples given": given,
            "samples kept": min(keep, len(rows)),
            "edges": "followed",
            "activations left out": 0,
        }
    ends = ["input", *(step.name for step in steps), "output"]
    return Snapshot(
        layers=layers,
        name=name,
        nodes=(
            Node("", name, None, {"parameters": 0.0}),
            *(
                Node(step.name, step.kind, shapes.get(step.name), statistics[step.name])
                for step in steps
            ),
        ),
        edges=tuple(itertools.pairwise(ends)),
        inputs=None if rows is None else rows[:keep],
        activations=activations,
        functions=functions,
        settings=settings,
        provenance=Provenance(model=name),
    )


def _last(model: Any) -> Any:
    """Return the estimator at the end of a pipeline."""
    steps = getattr(model, "steps", None)
    return _last(steps[-1][1]) if isinstance(steps, list) and steps else model


def _steps(model: Any) -> list[_Step]:
    """Return an estimator's layers and functions in order."""
    if not hasattr(model, "coefs_"):
        coefficients = model.coef_
        dense = coefficients.toarray() if hasattr(coefficients, "toarray") else coefficients
        weight = np.atleast_2d(np.asarray(dense)).copy()
        bias = np.atleast_1d(np.asarray(getattr(model, "intercept_", 0.0))).copy()
        # A model that was fitted without an intercept has the number 0 for it.
        known = bias if len(bias) == len(weight) else None
        return [_Step("coefficients", type(model).__name__, weight, known)]
    steps = []
    depth = len(model.coefs_)
    for k, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True), 1):
        is_last = k == depth
        name = "output layer" if is_last else f"hidden {k}"
        steps.append(_Step(name, "Linear", np.ascontiguousarray(weight.T), bias.copy()))
        function = model.out_activation_ if is_last else model.activation
        if function in _FUNCTIONS:
            steps.append(_Step(f"{function} {k}", function))
    return steps


def _size(step: _Step) -> int:
    return sum(0 if part is None else part.size for part in (step.weight, step.bias))


def _rows(model: Any, inputs: Any, samples: int) -> tuple[np.ndarray, int]:
    """Return the first samples as the last step of a pipeline is given them, and how many were."""
    if not hasattr(inputs, "__len__") or not len(inputs):
        raise InputError("the inputs are an empty batch: there are no samples to look at")
    chosen = inputs[:samples]
    for estimator in _before(model):
        chosen = estimator.transform(chosen)
    dense = chosen.toarray() if hasattr(chosen, "toarray") else chosen
    try:
        rows = np.asarray(dense, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputTypeError("the inputs are not numbers; encode categories first") from error
    wanted = getattr(_last(model), "n_features_in_", None)
    if rows.ndim != 2 or (wanted is not None and rows.shape[1] != wanted):
        raise InputError(
            f"the inputs have shape {rows.shape}; {type(_last(model)).__name__} was fitted on "
            f"(samples, {wanted})"
        )
    if not np.isfinite(rows).all():
        raise InputError("the inputs hold NaN or infinite values; fill or drop such samples first")
    return rows, len(inputs)


def _before(model: Any) -> list[Any]:
    """Return the steps of a pipeline before its last estimator."""
    steps = getattr(model, "steps", None)
    if not isinstance(steps, list) or not steps:
        return []
    found = [step for _, step in steps[:-1] if step is not None and step != "passthrough"]
    return found + _before(steps[-1][1])


def _function(kind: str, before: np.ndarray) -> ActivationFunction:
    low, high = float(before.min()), float(before.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(before, bins=_BINS, range=(low, high))
    room = 0.05 * (high - low)
    x = np.linspace(min(low - room, -1.0), max(high + room, 1.0), _CURVE)
    return ActivationFunction(kind, x, _FUNCTIONS[kind](x), edges, counts)
