"""Objects that remember a training, as runs: of Keras, Hugging Face, scikit-learn, and tables.

They are known by what they have, so that none of these packages need be installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import Run
from pellucid.interpret.training.logs.columns import Column, run_of_columns, run_of_lists
from pellucid.interpret.training.logs.tables import run_of_entries, run_of_json

_HELP = (
    "what can be read: a path; a data frame; a dict of arrays or lists; a list of dicts; a Keras "
    "History; a Hugging Face Trainer or its state; a fitted estimator that keeps its losses "
    "(scikit-learn, XGBoost, LightGBM, CatBoost)"
)
# A pandas column of fewer values did not go from a curve to NaN.
_CURVE = 3


def run_of_object(source: Any, *, name: str | None = None) -> Run:
    """Return the run that an object remembers.

    Parameters
    ----------
    source
        A data frame, a dict of arrays or lists, a list of dicts, a Keras ``History`` or a model
        that was fitted, a Hugging Face ``Trainer`` or its state, or a fitted estimator with
        ``loss_curve_``, ``train_score_`` or ``evals_result_``.
    name
        The run's name.

    Raises
    ------
    InputTypeError
        If it is none of these.
    InputError
        If it holds no numbers.
    """
    if _is_frame(source):
        return _of_frame(source, name or "run")
    if isinstance(source, Mapping):
        return run_of_json(_plain(source), name=name or "run", source="a dict")
    if isinstance(source, Sequence) and not isinstance(source, str | bytes):
        return run_of_entries(source, name=name or "run", source="a list")
    what = type(source).__name__
    history = getattr(source, "history", None)
    if isinstance(history, Mapping):
        epochs = getattr(source, "epoch", None)
        counted = {"epoch": epochs} if isinstance(epochs, list) and "epoch" not in history else {}
        lists = _plain({**counted, **history})
        return run_of_lists(lists, name=name or "run", source=f"Keras {what}", unit="epoch")
    if isinstance(getattr(history, "history", None), Mapping):  # a Keras model
        return run_of_object(history, name=name or getattr(source, "name", None))
    state = getattr(source, "state", source)
    if isinstance(entries := getattr(state, "log_history", None), list):
        return run_of_entries(entries, name=name or "run", source="Hugging Face trainer state")
    for inner in (getattr(source, "best_estimator_", None), _last_step(source)):
        if inner is not None:
            return run_of_object(inner, name=name)
    if lists := _curves(source):
        return run_of_lists(lists, name=name or what, source=what, unit="iteration")
    if hasattr(source, "fit"):
        raise InputError(
            f"this {what} remembers no curve of its training: it is not fitted, or was fitted "
            "without what is needed (scikit-learn's loss_curve_ or train_score_; an eval_set)"
        )
    raise InputTypeError(f"a {what} cannot be read as a run; {_HELP}")


def _last_step(source: Any) -> Any:
    """Return the last estimator of a pipeline, or None."""
    steps = getattr(source, "steps", None)
    if isinstance(steps, list) and steps and isinstance(steps[-1], tuple):
        return steps[-1][-1]
    return None


def _curves(estimator: Any) -> dict[str, Any]:
    """Return the curves that an estimator remembers, by a name that says what they are."""
    # A histogram boosting's scores are better when higher; a gradient boosting's are losses.
    scored = hasattr(estimator, "validation_score_")
    known = {
        "loss_curve_": "loss",
        "validation_scores_": "validation_score",
        "train_score_": "train_score" if scored else "train_loss",
        "validation_score_": "validation_score",
        "oob_improvement_": "oob_improvement",
        "oob_scores_": "oob_loss",
    }
    found = [(name, getattr(estimator, key, None)) for key, name in known.items()]
    curves = {name: curve for name, curve in found if curve is not None and len(curve)}
    results = getattr(estimator, "evals_result_", None)
    if isinstance(results, Mapping):
        curves |= {
            f"{part}/{metric}": values
            for part, metrics in results.items()
            for metric, values in metrics.items()
        }
    return curves


def _is_frame(source: Any) -> bool:
    import narwhals.stable.v2 as nw

    return bool(nw.dependencies.is_into_dataframe(source))


def _of_frame(source: Any, name: str) -> Run:
    import narwhals.stable.v2 as nw

    pandas = nw.dependencies.is_pandas_dataframe(source)
    if pandas:
        names = [str(column) for column in source.columns]
        source = source.set_axis(names, axis=1)
        if source.index.name is not None and source.index.name not in names:
            source = source.reset_index()
    try:
        frame = nw.from_native(source, eager_only=True)
    except nw.exceptions.NarwhalsError as error:
        raise InputError(f"this data frame cannot be read: {error}") from error
    cells = {
        column: [None if gone else cell for cell, gone in zip(values, nulls, strict=True)]
        for column in frame.columns
        for values in [frame[column].to_list()]
        for nulls in [frame[column].is_null().to_list()]
    }
    if pandas:
        _restore_nan(cells)
    columns = {column: Column(values) for column, values in cells.items()}
    return run_of_columns(columns, name=name, source="data frame")


def _restore_nan(cells: dict[str, list[Any]]) -> None:
    """Put NaN back where a loss became NaN, which pandas takes for a missing value.

    A curve that has a value in every row up to one, and none from there on, although these rows
    hold nothing that those before do not, was measured, and is NaN.
    """
    held = {name: np.array([cell is not None for cell in column]) for name, column in cells.items()}
    for name, here in held.items():
        count = int(here.sum())
        if count < _CURVE or count == len(here) or not here[:count].all():
            continue
        if all(not other[count:].any() or other[count - 1] for other in held.values()):
            cells[name][count:] = [float("nan")] * (len(here) - count)


def _plain(content: Any) -> Any:
    """Return dicts and lists whose numbers are Python's, from arrays, series and tensors."""
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(cell) if hasattr(cell, "detach") else cell for cell in content]
    if hasattr(content, "detach"):
        content = content.detach().cpu()
    if hasattr(content, "tolist"):
        return content.tolist()
    if hasattr(content, "to_list"):
        return content.to_list()
    return content
