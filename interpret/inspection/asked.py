"""A model as the engine runs it, what it is asked about, and the outputs that it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import InputError, Interrupted, ModelError
from pellucid.interpret.engine import Engine
from pellucid.interpret.inputs import Inputs, read_inputs
from pellucid.interpret.models import Model
from pellucid.interpret.outputs import describe, scored_part
from pellucid.interpret.predictors import (
    Predictor,
    adapt,
    classes_of,
    is_estimator,
    is_module,
    name_of,
    only_predicts,
    scores_of,
)
from pellucid.interpret.tables import GAP, Table, is_frame
from pellucid.interpret.targets import Scoring

# What the columns of an estimator's own methods are.
_UNITS = {
    "predict_proba": "probability",
    "decision_function": "decision value",
    "predict": "value",
    "votes": "vote",
}


@dataclass(frozen=True)
class Asked:
    """A model as the engine runs it, what it is asked about, and what is known of its answers.

    Attributes
    ----------
    shown
        The inputs as they are shown; None of several inputs.
    names, table
        The columns' names, and how tensors become the model's table.
    labels
        What a classifier calls its classes.
    units
        Of an estimator's scores; ``"output"`` where nothing says what they are.
    ends
        What the model ends in: ``"sigmoid"``, ``"softmax"``, or empty.
    """

    model: Model
    name: str
    batch: Inputs
    shown: np.ndarray | None
    names: Sequence[str] | None = None
    table: Table | None = None
    labels: np.ndarray | None = None
    units: str = "output"
    ends: str = ""

    @classmethod
    def of(cls, model: Any, inputs: Any) -> Asked:
        """Adapt whatever predicts, and read what it is given."""
        texts = None if is_module(model) else _texts(inputs)
        if texts is None and not only_predicts(model, inputs):
            adapted = Model(model)
            batch = read_inputs(inputs, attribute=None, dtype=adapted.dtype, differentiable=False)
            leaves = list(batch.tensors().values())
            return cls(
                adapted,
                adapted.name,
                batch,
                _array(leaves[0]) if len(leaves) == 1 else None,
                batch.feature_names,
                ends=_ending(adapted),
            )
        owner, units = _source(model)
        labels = classes_of(owner)
        if labels is not None and units == "value":
            raise InputError(
                f"predict of {type(owner).__name__} returns classes, not scores; give the "
                "classifier itself"
            )
        scores = _marked(scores_of(model) if is_estimator(model) else model)
        if texts is not None:
            # Row numbers go through the engine in place of the texts.
            predictor = Predictor(
                model, lambda rows: scores([texts[i] for i in rows]), None, np.dtype(np.int64)
            )
            batch = Inputs(torch.arange(len(texts)), ("",), len(texts))
            shown: np.ndarray | None = np.array(texts, dtype=str)
            table = None
        else:
            made = adapt(model, inputs, scores=scores)
            predictor, table = made.predict, made.table
            batch = read_inputs(made.inputs, attribute=None, dtype=None, differentiable=False)
            shown = _array_of_table(inputs)
        names = None if table is None else table.names
        name = name_of(model) if owner is None else type(owner).__name__
        return cls(Model(predictor), name, batch, shown, names, table, labels, units)


def _texts(inputs: Any) -> list[str] | None:
    """Return inputs that are a list of texts; None for anything else."""
    if isinstance(inputs, (str, Tensor, dict)) or is_frame(inputs):
        return None
    found = list(inputs) if isinstance(inputs, (list, tuple)) else None
    if found is None:
        array = np.asarray(inputs)
        found = array.tolist() if array.ndim == 1 and array.dtype.kind in "OUT" else None
    return found if found and all(isinstance(one, str) for one in found) else None


def _source(model: Any) -> tuple[Any, str]:
    """Return the estimator behind what predicts, and what its scores are; None of a function."""
    if not is_estimator(model):
        owner = getattr(model, "__self__", None)
        return (
            (owner, _UNITS.get(name_of(model), "output"))
            if is_estimator(owner)
            else (None, "output")
        )
    method = getattr(scores_of(model), "__name__", "")
    if method == "decision_function":
        _check_pairs(model)
    return model, _UNITS.get(method, "output")


def _check_pairs(model: Any) -> None:
    """Raise for a support vector machine that scores pairs of classes, not classes."""
    last, classes = model, classes_of(model)
    while (inner := _inner(last)) is not None:
        last = inner
    pairs = getattr(last, "decision_function_shape", None) == "ovo"
    if pairs and classes is not None and len(classes) > 2:
        raise InputError(
            f"{type(last).__name__} has decision_function_shape='ovo': it scores pairs of classes, "
            "not classes; set decision_function_shape='ovr', which needs no new fit"
        )


def _inner(model: Any) -> Any:
    """Return the estimator within a pipeline or a search; None where there is none."""
    steps = getattr(model, "steps", None)
    return steps[-1][1] if steps else getattr(model, "best_estimator_", None)


def _marked(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function with marks in place of scores that are not finite.

    Other methods cannot work with such scores, so that a `Predictor` refuses them; here they are
    missing values like any others.
    """

    def marked(rows: Any) -> Any:
        found = function(rows)
        if isinstance(found, (list, tuple)) and found and np.ndim(found[0]) > 1:
            return found  # several outputs at once, which are refused with a sentence of their own
        scores = np.asarray(found.detach().cpu() if isinstance(found, Tensor) else found)
        if scores.dtype.kind != "f":
            return scores
        wide = scores.astype(np.float64)
        return np.where(np.isfinite(wide), wide, GAP)

    return marked


class _Outputs(Scoring):
    """The whole output of a model, as it is."""

    def __init__(self, columns: int) -> None:
        self.columns = columns

    def __call__(self, output: Any, index: Tensor | None) -> Tensor:
        """Return the outputs, shape (rows, columns)."""
        found: Tensor = scored_part(output)[0]
        return found.reshape(len(found), -1)


def outputs_of(
    asked: Asked, batch_size: Any, device: Any, progress: bool | None
) -> tuple[np.ndarray, str]:
    """Return the outputs, shape (rows, columns), of those rows that were finished; and where."""
    parts: list[np.ndarray] = []
    with Engine(
        asked.model,
        asked.batch,
        batch_size=batch_size,
        device=device,
        progress=progress,
        differentiable=False,
    ) as engine:
        example, rows = engine.probe()
        outputs = _Outputs(_columns(example, rows))
        engine.expect(asked.batch.samples)
        try:
            for block in engine.blocks(outputs, {}):
                parts.append(block.prediction().double().cpu().numpy())
        except KeyboardInterrupt as error:
            if not parts:
                raise Interrupted("interrupted before any row was finished") from error
        where = str(engine.device)
    found = np.concatenate(parts)
    return np.where(found == GAP, np.nan, found), where


def _columns(output: Any, rows: int) -> int:
    """Return how many scores each row has.

    Raises
    ------
    ModelError
        If the output is not one number for each row and class.
    """
    part, _ = scored_part(output)
    if not isinstance(part, Tensor):
        raise ModelError(
            f"the model returns {describe(output)}, not a tensor; give a function that returns "
            "its scores, such as lambda x: model(x)['logits']"
        )
    if part.ndim == 0 or len(part) != rows:
        raise ModelError(
            f"the model returned shape {tuple(part.shape)} for {rows} "
            f"{'row' if rows == 1 else 'rows'}; its output needs one row for each input row"
        )
    if part.ndim > 2 and part[0].numel() != max(part.shape[1:]):
        raise ModelError(
            f"the model's output has shape {tuple(part.shape)}, more than one number for each row "
            "and class; give a function that returns one, such as lambda x: model(x).mean((2, 3))"
        )
    if not part.is_floating_point():
        raise ModelError(
            f"the model returns {part.dtype}: classes, it seems; give a function that returns the "
            "scores that they are chosen from"
        )
    return part[0].numel()


def _ending(model: Model) -> str:
    """Return what a module ends in, as far as it says."""
    if model.module is None:
        return ""
    last = model.modules[-1]
    if isinstance(last, nn.Sigmoid):
        return "sigmoid"
    if isinstance(last, nn.Softmax):
        return "softmax"
    # Keras keeps the activation as a function of its last layer.
    layers = getattr(model.module, "layers", None) if model.is_keras else None
    said = getattr(getattr(layers[-1], "activation", None), "__name__", "") if layers else ""
    return said if said in ("sigmoid", "softmax") else ""


# -- what is shown ---------------------------------------------------------------------------


def _array(leaf: Tensor) -> np.ndarray:
    """Return a copy of a tensor as an array."""
    here = leaf.detach().cpu()
    copied: np.ndarray = (here.float() if here.dtype == torch.bfloat16 else here).numpy().copy()
    return copied


def _array_of_table(table: Any) -> np.ndarray:
    """Return a table, or an array, as it is shown: numbers, or texts where not all are numbers."""
    if not is_frame(table):
        array = np.array(table.detach().cpu() if isinstance(table, Tensor) else table)
        return array if array.dtype.kind in "fiub" else array.astype(str)
    if nw.dependencies.is_pandas_dataframe(table):
        table = table.set_axis([str(name) for name in table.columns], axis=1)
    columns = list(nw.from_native(table, eager_only=True).iter_columns())
    if all(column.dtype.is_numeric() or column.dtype == nw.Boolean for column in columns):
        numbers = []
        for column in columns:
            found = np.full(len(column), np.nan)
            found[~column.is_null().to_numpy()] = column.drop_nulls().cast(nw.Float64).to_numpy()
            numbers.append(found)
        return np.stack(numbers, axis=1)
    return np.stack([[_cell(v) for v in column.to_list()] for column in columns], axis=1)


def _cell(value: Any) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN, of whatever type
        return "missing"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
