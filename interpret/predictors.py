"""What predicts, and is no torch module: estimators of scikit-learn's kind, and plain functions.

A `Predictor` is a function of tensors around such a model, so that the engine runs it like any
other. It has no gradients; methods that ask for none work.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import InputError, InputTypeError, ModelError, PellucidError
from pellucid.interpret.attribution.registry import Method, registered
from pellucid.interpret.inputs import as_tensor, is_real
from pellucid.interpret.models import Model
from pellucid.interpret.results.trees import leaves
from pellucid.interpret.tables import Table, is_frame

if TYPE_CHECKING:
    from pellucid.interpret.attributing import Request

# Methods of an estimator whose columns are its classes.
_OF_CLASSES = ("predict_proba", "predict_log_proba", "decision_function")

# Rows that are asked about at once before the work starts.
_AT_ONCE = 256


@dataclass(frozen=True)
class Adapted:
    """A model of tables, and what it is given, as tensors.

    Attributes
    ----------
    predict
        The function of tensors.
    inputs, background, baseline
        As `explain` takes them, tables turned into tensors.
    table
        How tensors become the model's table again; None where it takes arrays of any shape.
    class_names
        Of a classifier.
    """

    predict: Predictor
    inputs: Any
    background: Any
    baseline: Any
    table: Table | None
    class_names: tuple[str, ...] | None

    def understood(self, request: Request) -> Request:
        """Return what was asked with tables as tensors, and with the names that are known."""
        names = request.feature_names
        if names is None and self.table is not None:
            names = self.table.names
        classes = request.class_names if request.class_names is not None else self.class_names
        return replace(
            request,
            background=self.background,
            baseline=self.baseline,
            feature_names=names,
            class_names=classes,
        )


class Predictor:
    """A function of tensors around a function of tables or arrays.

    Parameters
    ----------
    model
        What the person gave, which names it.
    function
        Takes a table or array, and returns scores.
    table
        How tensors become the table that the function takes; None for plain arrays.
    dtype
        Of plain arrays.
    """

    # A network inside a function says nothing of what the function takes: numbers stay what they
    # are, and where they are.
    takes_tables = True

    def __init__(
        self,
        model: Any,
        function: Callable[[Any], Any],
        table: Table | None,
        dtype: np.dtype[Any] | None = None,
    ) -> None:
        self.model, self.table, self._function = model, table, function
        self._given = table.table if table is not None else array_of(dtype or np.dtype(float))
        self.__name__ = name_of(model)

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the scores of these rows: (rows,) or (rows, classes, ...), float64.

        Raises
        ------
        ModelError
            If the function returns anything else than finite numbers for every row.
        """
        found = self._function(self._given(rows))
        if isinstance(found, (list, tuple)) and found and np.ndim(found[0]) > 1:
            raise ModelError(
                f"{self.__name__} predicts {len(found)} outputs at once; explain one of them: "
                "give a function such as lambda X: model.predict_proba(X)[0]"
            )
        scores = np.asarray(found.detach().cpu() if isinstance(found, Tensor) else found)
        if scores.dtype.kind not in "fiub":
            raise ModelError(
                f"{self.__name__} returns {_kind(scores)}, not numbers; give a function that "
                "returns scores, such as model.predict_proba"
            )
        if scores.ndim == 0 or len(scores) != len(rows):
            raise ModelError(
                f"{self.__name__} returns shape {scores.shape} for {len(rows)} "
                f"{'row' if len(rows) == 1 else 'rows'}; it has to return one score, or one for "
                "each class, for every row"
            )
        if scores.ndim == 2 and scores.shape[1] == 1:
            scores = scores[:, 0]
        scores = scores.astype(float)
        if not np.isfinite(scores).all():
            raise ModelError(
                f"{self.__name__} returns NaN or infinite values for some of the rows that it is "
                "asked about; mend it, or choose other inputs or another background"
            )
        return torch.as_tensor(scores, device=rows.device)


def _kind(scores: np.ndarray) -> str:
    if scores.dtype.kind in "OUST" and scores.size and isinstance(scores.flat[0], str):
        return f"texts such as {str(scores.flat[0])!r}"
    return f"values of dtype {scores.dtype}"


def adapted_tables(
    model: Any, inputs: Any, methods: Sequence[Method], background: Any, baseline: Any
) -> Adapted | None:
    """Return what predicts from tables or arrays as a function of tensors; None for other models.

    Raises
    ------
    InputError
        If a method needs gradients of what has none, or nothing says what to compare rows with.
    """
    if not only_predicts(model, inputs):
        return None
    name = name_of(model)
    asks = [one.name for one in methods if one.gradients]
    if asks:
        known = registered().values()
        others = ", ".join(one.name for one in known if not one.gradients and not one.margin)
        raise InputError(
            f"{asks[0]} needs gradients, and torch cannot differentiate {name}\n"
            f"What works for anything that predicts: {others}"
        )
    unset = isinstance(baseline, str) and baseline == "auto" and background is None
    compared = [one.name for one in methods if one.baseline]
    if compared and unset and (is_estimator(model) or is_frame(inputs)):
        raise InputError(
            f"{compared[0]} compares rows with others: give background=..., some samples of the "
            "data, or one sample as the baseline"
        )
    margin = margin_of(model) if any(one.margin for one in methods) else None
    adapted = adapt(model, inputs, background, baseline, scores=margin)
    if adapted.table is not None:
        _check_arithmetic(adapted.table, methods, background, baseline)
    return adapted


def _check_arithmetic(
    table: Table, methods: Sequence[Method], background: Any, baseline: Any
) -> None:
    """Raise an `InputError` for columns that cannot be averaged, or be a number, and have to."""
    sample = "give one sample as the baseline, a row of the data or a dict of its values"
    for one in methods:
        word = baseline if isinstance(baseline, str) else None
        averaged = background is not None and (word == "mean" or (word and not one.samples))
        if one.baseline and averaged and word != "zero":
            table.check_numbers(f"{one.name} compares with the mean", sample, gaps=True)
        elif one.baseline and (word == "zero" or is_real(baseline)):
            table.check_numbers(f"the baseline is {baseline!r}", sample)
        elif one.background and not one.samples:
            table.check_numbers(
                f"{one.name} takes the columns' covariance",
                "use shapley, or fill and encode them first",
                gaps=True,
            )


def only_predicts(model: Any, inputs: Any) -> bool:
    """Whether a model takes tables or arrays, and torch cannot differentiate it.

    That is so of estimators and their methods, and of functions that take what was given as it is,
    and make no tensors of a tensor.

    Raises
    ------
    ModelError
        If a function takes the inputs neither as they are nor as a tensor.
    """
    if is_module(model):
        return False
    # What is called with a tensor is a function of tensors, whatever else it can do.
    called = callable(model) and isinstance(inputs, Tensor)
    bound = name_of(model) in (*_OF_CLASSES, "predict")
    if not called and is_estimator(getattr(model, "__self__", None) if bound else model):
        return True
    first = _first(inputs)
    if first is None or isinstance(model, type) or not callable(model):
        return False
    takes = [("as a tensor", _takes_tensors), ("as they are", _takes)]
    # The same array may do for both. Tensors of whole numbers are tokens, and functions of arrays
    # take them for numbers; a data frame is to be a tensor only where it is nothing else.
    if is_frame(first) or first.dtype.kind != "f":
        takes.reverse()
    failed = []
    with (adapted := Model(model)).frozen(0):
        for how, attempt in takes:
            try:
                if attempt(adapted, first):
                    return attempt is _takes
            except Exception as error:  # noqa: BLE001 - whatever a model raises is said below
                failed.append((how, error))
    raise ModelError(
        f"{name_of(model)} failed on the first samples ({_described(inputs)}), "
        + "; ".join(f"{how}: {type(error).__name__}: {error}" for how, error in failed)
    ) from failed[-1][1]


def is_module(model: Any) -> bool:
    """Whether a model is one of torch's, compiled or not."""
    return isinstance(getattr(model, "_orig_mod", model), nn.Module)


def is_estimator(model: Any) -> bool:
    """Whether a model predicts from tables, as scikit-learn's estimators do."""
    return not is_module(model) and callable(getattr(model, "predict", None))


def _first(inputs: Any) -> Any:
    """Return the first two rows of an array or data frame; None of anything else."""
    if is_frame(inputs):
        return inputs[:2]
    if isinstance(inputs, (Tensor, tuple, dict, str)):
        return None
    if isinstance(inputs, list) and any(isinstance(one, (Tensor, str)) for one in inputs[:1]):
        return None
    try:
        array = np.asarray(inputs)
    except ValueError:  # a list of arrays of several shapes
        return None
    return array[:2] if array.ndim > 1 and len(array) else None


def _takes_tensors(model: Model, first: Any) -> bool:
    """Whether a function makes tensors of a tensor that wants a gradient; or what it raises."""
    tensor = as_tensor("", first, model.dtype).to(model.device or "cpu", copy=True)
    found = model.call(tensor.requires_grad_(tensor.is_floating_point()))
    return any(isinstance(leaf, Tensor) for _, leaf in leaves(found))


def _takes(model: Model, first: Any) -> bool:
    """Whether a function takes what was given; or what it raises."""
    model.call(deepcopy(first))
    return True


def adapt(
    model: Any,
    inputs: Any,
    background: Any = None,
    baseline: Any = "auto",
    *,
    scores: Callable[[Any], Any] | None = None,
) -> Adapted:
    """Return an estimator, or a function of tables or arrays, as one of tensors.

    Parameters
    ----------
    model
        An estimator, or a function.
    inputs, background, baseline
        As `explain` takes them.
    scores
        What an estimator scores with, if not with `scores_of`.

    Raises
    ------
    InputError, InputTypeError
        If the tables do not fit each other, or the estimator is not fitted or of an unknown kind.
    ModelError
        If the model fails on the first rows, on the background or on the baseline.
    """
    _check_kind(model)
    function = scores or (scores_of(model) if is_estimator(model) else model)
    if callable(baseline):
        # The function gets a copy: writing into it must not change what is explained.
        baseline = baseline(deepcopy(inputs))
    one = not (baseline is None or isinstance(baseline, (str, bool)) or is_real(baseline))
    others = {"background": background} if background is not None else {}
    others |= {"baseline": baseline} if one else {}
    given: dict[str, Any]
    if is_frame(inputs) or np.ndim(inputs) == 2 or (is_estimator(model) and np.ndim(inputs) < 3):
        table = Table(inputs, **others)
        predict = Predictor(model, function, table)
        given = {what: table.rows(what) for what in ("inputs", *others)}
    else:
        table, array = None, np.asarray(inputs)
        predict = Predictor(model, function, None, array.dtype)
        given = others | {"inputs": array if array.dtype.kind == "f" else array.astype(float)}
    width = _check_answers(predict, given, inputs)
    names = class_names_of(model)
    if names is not None and width not in {len(names), 1 if len(names) == 2 else None}:
        names = None  # as many columns as pairs of classes, of some support vector machines
    return Adapted(
        predict, given["inputs"], given.get("background"), given.get("baseline", baseline), table,
        names,
    )  # fmt: skip


def _check_kind(model: Any) -> None:
    """Raise for what predicts no scores, whatever it is asked about."""
    name = name_of(model)
    if isinstance(model, type):
        raise InputTypeError(
            f"model is the class {name}, not an estimator; make one and fit it: {name}().fit(X, y)"
        )
    if type(model).__module__.startswith("xgboost") and not hasattr(model, "fit"):
        raise InputError(
            "a Booster of XGBoost takes a DMatrix; give XGBClassifier or XGBRegressor, or the "
            "function lambda X: booster.predict(xgboost.DMatrix(X))"
        )
    owner = getattr(model, "__self__", model)
    if _is_clusterer(owner):
        raise InputError(
            f"{name} predicts numbers of clusters, which are no scores; give a function that "
            "returns some, such as lambda X: -model.transform(X), the closeness to each centre"
        )
    if owner is not model and name == "predict" and classes_of(owner) is not None:
        raise InputError(
            f"predict of {type(owner).__name__} returns classes, not scores; give the classifier "
            "itself, or its predict_proba"
        )


def _is_clusterer(model: Any) -> bool:
    """Whether a model of scikit-learn finds clusters and knows no probabilities of them."""
    if "sklearn" not in sys.modules or hasattr(model, "predict_proba"):
        return False
    from sklearn.base import BaseEstimator, is_clusterer

    return isinstance(model, BaseEstimator) and bool(is_clusterer(model))


def _check_answers(predict: Predictor, given: dict[str, Any], inputs: Any) -> int:
    """Ask about the first rows, and all that rows are compared with; return how many scores.

    What fails in the background would otherwise be found somewhere in the middle of the work.
    """
    adapted, width = Model(predict), 1
    for what, rows in {**given, "inputs": given["inputs"][:2]}.items():
        tensor = as_tensor("", rows, None)
        if tensor.shape[1:] != given["inputs"].shape[1:]:
            continue  # the shapes of arrays are checked, and explained, where they are read
        where = "first samples" if what == "inputs" else what
        try:
            with adapted.frozen(0):
                found = torch.cat([predict(part) for part in tensor.split(_AT_ONCE)])
        except PellucidError:
            raise
        except Exception as error:
            if "NotFitted" in type(error).__name__:
                raise InputError(f"{predict.__name__} is not fitted yet: fit it first") from error
            raise ModelError(
                f"{predict.__name__} failed on the {where} ({_described(inputs)}): "
                f"{type(error).__name__}: {error}"
            ) from error
        width = 1 if found.ndim == 1 else found.shape[1]
    return width


def _described(inputs: Any) -> str:
    """Return what a model was given, in a few words."""
    if not is_frame(inputs):
        return f"an array of shape {np.shape(inputs)}"
    names = list(map(str, inputs.columns))
    return "a data frame of " + ", ".join(names[:8]) + (" and more" if len(names) > 8 else "")


def array_of(dtype: np.dtype[Any]) -> Callable[[Tensor], np.ndarray]:
    """Return a function from tensors to arrays of a dtype, where it can hold their numbers."""

    def given(rows: Tensor) -> np.ndarray:
        numbers = rows.detach().cpu().numpy()
        cast = numbers.astype(dtype)
        return cast if dtype.kind == "f" or (cast == numbers).all() else numbers

    return given


def name_of(model: Any) -> str:
    """Return what a model is called."""
    found = getattr(model, "__name__", None)
    return found if isinstance(found, str) else type(model).__name__


def scores_of(model: Any) -> Callable[[Any], Any]:
    """Return what an estimator scores with: probabilities, a decision function, or predictions."""
    for name in ("predict_proba", "decision_function"):
        found = getattr(model, name, None)
        if callable(found):
            scores: Callable[[Any], Any] = found
            return scores
    predict: Callable[[Any], Any] = model.predict
    return predict if classes_of(model) is None else votes_of(model)


def votes_of(model: Any) -> Callable[[Any], np.ndarray]:
    """Return a classifier's predictions as scores: 1 for the class, 0 for the others."""

    def votes(rows: Any) -> np.ndarray:
        found = np.asarray(model.predict(rows)).reshape(-1, 1)
        chosen: np.ndarray = (found == np.asarray(model.classes_)[None]).astype(float)
        return chosen

    return votes


def margin_of(model: Any) -> Callable[[Any], Any] | None:
    """Return what gives a boosted model's margin: what its trees add up to, before the link."""
    libraries = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    for library, how in (("xgboost", "output_margin"), ("lightgbm", "raw_score")):
        if library in libraries:
            return functools.partial(model.predict, **{how: True})
    found: Callable[[Any], Any] | None = getattr(model, "decision_function", None)
    return found


def class_names_of(model: Any) -> tuple[str, ...] | None:
    """Return the names of the classes that a fitted classifier, or a method of it, scores."""
    # A method such as predict_proba belongs to the estimator that knows its classes.
    owner = getattr(model, "__self__", None) if name_of(model) in _OF_CLASSES else model
    classes = classes_of(owner)
    return None if classes is None else tuple(map(str, classes))


def classes_of(model: Any) -> np.ndarray | None:
    """Return the classes of a fitted classifier of one output; else None."""
    try:
        classes = getattr(model, "classes_", None)
    except Exception:  # noqa: BLE001 - a pipeline asks its last step, which may have none
        return None
    return np.asarray(classes) if classes is not None and np.ndim(classes) == 1 else None
