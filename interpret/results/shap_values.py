"""Explanations as those of the `shap` package, for its plots; and its explanations as ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pellucid.errors import InputError, InputTypeError, MissingDependencyError
from pellucid.interpret.results.explanation import Explanation

_PICTURE = ("row", "column", "channel")
_UNNAMED = "Output {}"  # what shap calls outputs without names


def to_shap(explanation: Explanation) -> Any:
    """Return an explanation as shap's; `Explanation.to_shap` says how."""
    try:
        import shap
    except ImportError as error:
        raise MissingDependencyError(
            "to_shap makes an explanation of shap, which is not installed: "
            "pip install 'pellucid[trees]'"
        ) from error
    values, axes = explanation._leaf("values"), explanation._only_axes
    errors = None
    if explanation.standard_error is not None:
        errors = _outputs_last(explanation._leaf("standard_error"), axes, explanation.targeted)
    data, shown = _data(explanation, axes)
    if data is not None:
        data = _outputs_last(data, tuple(axis for axis in axes if axis != "target"), targeted=False)
    return shap.Explanation(
        _outputs_last(values, axes, explanation.targeted),
        base_values=explanation.baseline_prediction,
        data=data,
        display_data=shown,
        instance_names=None if explanation.sample_ids is None else explanation.sample_ids.tolist(),
        feature_names=_feature_names(explanation, axes),
        output_names=_output_names(explanation),
        error_std=errors,
        compute_time=None if explanation.cost is None else explanation.cost.seconds,
    )


def _outputs_last(array: np.ndarray, axes: Sequence[str], targeted: bool) -> np.ndarray:
    """Return an array as shap has it: channels behind rows and columns, outputs behind all."""
    first = 2 if targeted else 1
    if tuple(axes[first:]) == ("channel", "row", "column"):
        array = np.moveaxis(array, first, -1)
    return np.moveaxis(array, 1, -1) if targeted else array


def _data(
    explanation: Explanation, axes: tuple[str, ...]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the inputs beside the values, and as they are shown where they are no numbers."""
    if axes[-1:] == ("token",) and explanation.tokens is not None:
        return explanation.tokens, None
    if explanation.at != "input" or "group" in axes or explanation.inputs is None:
        return None, None
    inputs = explanation._leaf("inputs")
    data = np.broadcast_to(inputs, (len(explanation), *inputs.shape[1:])).copy()
    if explanation.categories is None:
        return data, None
    names = explanation.feature_names or tuple(map(str, range(data.shape[1])))
    shown = data.astype(object)
    for i, name in enumerate(names):
        texts = explanation.categories.get(name)
        if texts is not None:
            shown[:, i] = [texts[int(code)] for code in data[:, i]]
    return data, shown


def _feature_names(explanation: Explanation, axes: tuple[str, ...]) -> list[str] | None:
    if "group" in axes and explanation.groups is not None:
        return list(explanation.groups)
    return None if explanation.feature_names is None else list(explanation.feature_names)


def _output_names(explanation: Explanation) -> list[str] | str | None:
    """Return the targets' names: of each, or of the one that all rows share."""
    target = explanation.target
    if explanation.targeted:
        assert explanation.prediction is not None
        count = explanation.prediction.shape[1]
        named = explanation.class_names is not None
        return [explanation.target_name(i) if named else _UNNAMED.format(i) for i in range(count)]
    if target is None or target.ndim != 1 or not len(target) or (target != target[0]).any():
        return None
    return explanation.target_name(0)


def from_shap(
    found: Any, *, prediction: Any = None, class_names: Sequence[str] | None = None, units: str
) -> Explanation:
    """Return shap's explanation as ours; `Explanation.from_shap` says how."""
    if not hasattr(found, "values") or not hasattr(found, "base_values"):
        raise InputTypeError(
            f"from_shap takes a shap.Explanation, not a {type(found).__name__}; explainers return "
            "one when called, and shap.Explanation(values, base_values, data) makes one of arrays"
        )
    values = _numbers(found.values, "values")
    base = None if found.base_values is None else _numbers(found.base_values, "base_values")
    outputs = _has_outputs(values, base, found)
    inner = values.ndim - outputs
    # One sample that was picked out of several has no sample axis any more.
    alone = inner == 1 or (inner == 3 and base is not None and base.ndim == outputs)
    if not 2 <= inner + alone <= 4:
        raise InputError(
            f"shap's values have shape {values.shape}; known are those of rows of tables and texts "
            "(samples, features) and of pictures (samples, rows, columns, channels), and of "
            "several outputs behind them"
        )

    def arranged(array: np.ndarray) -> np.ndarray:
        array = array[None] if alone else array
        return np.moveaxis(array, -1, 1) if outputs else array

    values = arranged(values)
    scores = values.shape[: 1 + outputs]
    base = None if base is None else _spread(base, scores)
    total = None if base is None else base + values.sum(tuple(range(1 + outputs, values.ndim)))
    if prediction is not None:
        prediction = _numbers(prediction, "prediction")
        if prediction.shape != scores:
            raise InputError(
                f"prediction has shape {prediction.shape}; of these values it has {scores}"
            )
    elif outputs and total is None:
        raise InputError(
            "shap's explanation has several outputs and no base values; give prediction=..., what "
            f"the model puts out, of shape {scores}"
        )
    target, names = _targets(found, class_names, scores)
    errors = None if found.error_std is None else _numbers(found.error_std, "error_std")
    tokens = _tokens(found, values)
    columns = None if tokens is not None or values.ndim - outputs != 2 else _columns(found, values)
    inputs, categories = _inputs(found, alone, columns) if tokens is None else (None, None)
    picture = _PICTURE[: values.ndim - 1 - outputs]
    within = picture if len(picture) > 1 else ("feature",) if tokens is None else ("token",)
    instances = None if found.instance_names is None else np.atleast_1d(found.instance_names)
    return Explanation(
        values=values,
        method="shap",
        inputs=inputs,
        target=target,
        prediction=total if prediction is None else prediction,
        baseline_prediction=base,
        residual=None if prediction is None or total is None else prediction - total,
        standard_error=None if errors is None else arranged(errors),
        feature_names=columns,
        class_names=names,
        sample_ids=instances,
        axes=("sample", *["target"] * outputs, *within),
        units=units,
        categories=categories,
        tokens=tokens,
        settings={"baseline": "the base values of shap", "method": "of the shap package"},
    )


def _numbers(given: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(given, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"shap's {what} are no one array of numbers, as those of texts of different lengths; "
            "convert one sample at a time: from_shap(explanation[i])"
        ) from error


def _spread(base: np.ndarray, scores: tuple[int, ...]) -> np.ndarray:
    """Return base values as one for each row and output: shap may have one that all share."""
    if base.size == np.prod(scores):
        return base.reshape(scores)
    try:
        return np.broadcast_to(base, scores).copy()
    except ValueError as error:
        raise InputError(
            f"shap's base values have shape {base.shape}; for its values they need {scores}"
        ) from error


def _has_outputs(values: np.ndarray, base: np.ndarray | None, found: Any) -> bool:
    """Whether the last axis is one of outputs; raise an `InputError` for interactions."""
    data = None if found.data is None else np.asarray(found.data)
    if data is None:
        named = found.output_names
        several = named is not None and not isinstance(named, str) and values.ndim > 1
        return (base is not None and base.ndim > 1 and base.shape[-1:] == values.shape[-1:]) or (
            several and len(named) == values.shape[-1]
        )
    more = values.ndim - data.ndim
    scores = 0 if base is None else base.ndim - (data.ndim > 1)
    square = values.shape[data.ndim - 1 : data.ndim + 1] == data.shape[-1:] * 2
    if more > 1 or (more == 1 and square and scores < 1 and base is not None):
        raise InputError(
            f"shap's values have shape {values.shape}, of interactions; an Explanation has one "
            "value for each feature: sum them over their last feature axis first"
        )
    return more == 1


def _targets(
    found: Any, class_names: Sequence[str] | None, scores: tuple[int, ...]
) -> tuple[np.ndarray | None, tuple[str, ...] | None]:
    """Return the targets and the names of the classes, from shap's names of the outputs."""
    named = found.output_names if class_names is None else class_names
    names = None if named is None else (named,) if isinstance(named, str) else tuple(named)
    names = None if names is None else tuple(map(str, names))
    if names == tuple(map(_UNNAMED.format, range(len(names or ())))):
        names = None
    if len(scores) == 2:
        if names is not None and len(names) != scores[1]:
            raise InputError(f"{len(names)} class names for {scores[1]} outputs")
        return np.arange(scores[1]), names
    if names is not None and len(names) == 1 and names[0]:
        return np.zeros(scores[0], dtype=int), names
    return None, None


def _tokens(found: Any, values: np.ndarray) -> np.ndarray | None:
    """Return the texts of tokens, (samples, tokens); None where the data are no texts."""
    names = found.feature_names
    if found.data is None or values.ndim < 2:
        return None
    data = np.atleast_2d(np.asarray(found.data))
    of_tokens = data.shape == (len(values), values.shape[-1]) and all(
        isinstance(text, str) for text in data.ravel()
    )
    # A table of texts has names for its columns; for shap, a text's tokens are its features' names.
    if not of_tokens or (names is not None and list(np.ravel(names)) != list(data.ravel())):
        return None
    return data.astype(str)


def _columns(found: Any, values: np.ndarray) -> tuple[str, ...] | None:
    names = found.feature_names
    if names is None or isinstance(names, str) or len(names) != values.shape[-1]:
        return None
    return tuple(map(str, names))


def _inputs(
    found: Any, alone: bool, columns: tuple[str, ...] | None
) -> tuple[np.ndarray | None, dict[str, tuple[str, ...]] | None]:
    """Return the data as numbers, and what the codes of columns of texts stand for."""
    if found.data is None:
        return None, None
    data = found.data.toarray() if hasattr(found.data, "toarray") else np.asarray(found.data)
    data = data[None] if alone else data
    shown = (
        data if found.display_data is None else np.asarray(found.display_data).reshape(data.shape)
    )
    if data.ndim != 2:
        return _numbers(data, "data"), None
    numbers, categories = np.empty(data.shape), {}
    for i in range(data.shape[1]):
        texts = _texts(data[:, i], shown[:, i])
        if texts is None:
            numbers[:, i] = _numbers(data[:, i], "data")
            continue
        numbers[:, i], categories[str(i) if columns is None else columns[i]] = texts
    return numbers, categories or None


def _texts(data: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """Return a column's codes and what they stand for; None for a column of numbers."""
    if not any(isinstance(value, str) for value in shown):
        return None
    said = list(map(str, shown))
    try:
        codes = data.astype(float)
    except ValueError:
        codes = np.array([np.nan])
    whole = bool((codes == np.round(codes)).all() and (codes >= 0).all())
    if not whole or len(set(zip(codes, said, strict=True))) > len(set(codes)):
        found = {text: code for code, text in enumerate(dict.fromkeys(said))}
        return np.array([found[text] for text in said], dtype=float), tuple(found)
    texts = [""] * (int(codes.max()) + 1)
    for code, text in zip(codes, said, strict=True):
        texts[int(code)] = text
    return codes, tuple(texts)
