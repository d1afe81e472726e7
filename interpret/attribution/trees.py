"""Exact Shapley values of trees and their ensembles, which the `shap` package computes.

A leaf adds its value where the row, or a sample of the background, meets every split above it: that
says in closed form what each feature contributes, and no coalition is evaluated. Boosted trees add
up to a margin. Behind a logistic function nothing is exact any more (shap's "probability" output
is up to a seventh off), so the margin is what is explained.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import InputError, MissingDependencyError, ModelError
from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.block import Block
from pellucid.interpret.memory import is_out_of_memory
from pellucid.interpret.predictors import Predictor, is_estimator, margin_of
from pellucid.interpret.targets import Score

_INSTEAD = "use method='shapley', which takes anything that predicts"
# shap adds leaves up in single precision, and XGBoost its trees.
_EPSILON = float(np.finfo(np.float32).eps)
# Of all magnitudes together; more than a thousand trees' rounding, less than one misread split.
_MISSED = 1e-4
# shap numbers a tree's nodes with 16 bits where there is a background, and reads astray beyond.
_NODES = 2**15 - 1
_HIST = "sklearn.ensemble._hist"


@method(
    baseline=False,
    complete=True,
    cost="a walk through the trees for each sample of the background, and no evaluation",
    promise="exact to single precision, of a boosted classifier's margin (log-odds), or of a "
    "forest's probabilities",
    paper="Lundberg et al. 2020, https://doi.org/10.1038/s42256-019-0138-9",
    points=lambda _: None,
    samples=True,
    gradients=False,
    margin=True,
    where="input",
)
def tree_shapley(block: Block) -> Attribution:
    """Compute Shapley values of trees and their ensembles exactly, through shap's TreeExplainer.

    Of decision trees, forests and boosted trees of scikit-learn, XGBoost and LightGBM. Features
    that do not play take the values of every sample of the background in turn (interventional);
    without a background they follow the training samples at the trees' splits (path-dependent),
    which also credits features that tell of others.

    Raises
    ------
    InputError
        If the model is no tree that shap reads, or target, output or groups do not go with it.
    MissingDependencyError
        If shap is not installed.
    ModelError
        If shap's values do not add up to what the model predicts.
    """
    predictor = _checked(block)
    walk = _Walk(predictor, block)
    choice = _choice(block, walk.outputs)
    values = choice @ walk.values()
    start = (choice @ walk.start()[:, None])[..., 0]
    prediction = block.prediction()
    missed = (prediction - start - values.sum(-1)).abs()
    if bool((missed > _MISSED * (values.abs().sum(-1) + start.abs() + prediction.abs())).any()):
        raise ModelError(
            f"shap reads the trees of this {predictor.__name__} otherwise than it predicts: the "
            f"values miss the prediction by up to {float(missed.max()):.2g}; {_INSTEAD}"
        )
    scale = torch.linalg.vector_norm(values, dim=-1)
    error = _EPSILON * (scale > 0).double()
    return Attribution(values, prediction, start, error, walk.settings, scale)


def _checked(block: Block) -> Predictor:
    """Return the estimator, or raise an `InputError` that says what does not go with it."""
    predictor = block.engine.model.call
    if not isinstance(predictor, Predictor) or not is_estimator(predictor.model):
        raise InputError(
            "tree_shapley reads the trees of a fitted estimator, and the model is "
            f"{block.engine.model.name}; give the estimator itself, or {_INSTEAD}"
        )
    if block.engine.groups is not None:
        raise InputError(
            "tree_shapley knows no groups that play together; leave groups out and add values up "
            "with explanation.group_sums(groups), or use method='shapley'"
        )
    score = block.score
    assert isinstance(score, Score)
    if score.functions:
        raise InputError(
            "tree_shapley explains a class or a regression, not a function of the output; give "
            f"a class, or {_INSTEAD}"
        )
    if not isinstance(score.squash, nn.Identity):
        raise InputError(
            f"the trees of {predictor.__name__} add up to a margin, and no values of its "
            f"probabilities are exact; leave output out, or {_INSTEAD}"
        )
    return predictor


def _choice(block: Block, outputs: int) -> Tensor:
    """Return what each target takes of the outputs: (rows, targets, outputs)."""
    index = block.index
    if index is None:
        return torch.ones(block.n, 1, 1, dtype=torch.float64, device=block.engine.device)
    if outputs == 1:  # one margin z stands for (-z, z)
        return (2 * index - 1).double()[..., None]
    return nn.functional.one_hot(index, outputs).double()


class _Walk:
    """A walk of a block's rows through the trees of an estimator.

    Attributes
    ----------
    outputs
        How many sums the trees have: one, or one for each class.
    settings
        What was scored, and compared with what.
    """

    def __init__(self, predictor: Predictor, block: Block) -> None:
        self._predictor, self._block = predictor, block
        self._samples = block.background[0] if block.background else None
        library = _library(predictor.model)
        # Without a background, these two walk through their trees themselves.
        self._theirs = self._samples is None and library in ("lightgbm", "xgboost")
        self._rows = self._given(block.inputs[0])
        background = None if self._samples is None else self._given(self._samples)
        if not self._theirs:
            gaps = np.isnan(self._rows).any(0)
            gaps = gaps if background is None else gaps | np.isnan(background).any(0)
            wrong = _misread(predictor.model, gaps)
            if wrong is not None:
                self._refuse(wrong, beside=library != _HIST)
        shap = _shap()
        try:
            with _quiet():
                # Of more than 100 samples it would draw some, so it gets them all below.
                first = None if background is None else background[:1]
                self._explainer = shap.TreeExplainer(predictor.model, first)
            trees = self._explainer.model
            self.outputs = int(trees.num_outputs)
        except Exception as error:
            raise InputError(
                f"shap's TreeExplainer cannot read this {predictor.__name__}: "
                f"{error or type(error).__name__}; {_INSTEAD}"
            ) from error
        self._splits = None if self._theirs else _ranked_splits(trees)
        self.settings: dict[str, Any] = {
            "baseline": "the training samples, as they part at the trees' splits"
        }
        if background is not None:
            if trees.children_left.shape[1] > _NODES:
                self._refuse(f"trees of more than {_NODES:,} nodes", beside=True)
            self._explainer.data = self._ranks(background)
            self._explainer.data_missing = np.isnan(background)
            self.settings["baseline"] = f"each of {len(background)} samples of the background"
        if self._of_margin():
            self.settings["scored"] = "the margin: what the trees add up to, before the link"

    def values(self) -> Tensor:
        """Return the values of all outputs: (rows, outputs, features), float64."""
        engine, parts = self._block.engine, list[Tensor]()

        def compute(numbers: Tensor) -> Tensor:
            some = self._rows[int(numbers[0]) : int(numbers[-1]) + 1]
            return torch.from_numpy(self._walked(some)).to(engine.device)

        def deliver(part: Tensor) -> None:
            parts.append(part)
            engine.advance(len(part))

        width = 1 if self._samples is None else len(self._samples)
        engine.each_chunk(self._block.n, compute, deliver, width=width)
        return torch.cat(parts)

    def start(self) -> Tensor:
        """Return what the values are counted from: (outputs,), float64."""
        samples, engine = self._samples, self._block.engine
        if samples is None:
            expected = np.array(self._explainer.expected_value, dtype=float).reshape(-1)
            return torch.from_numpy(expected).to(engine.device)

        def predicted(numbers: Tensor) -> Tensor:
            engine.count.forward += len(numbers)
            return self._predictor(samples[numbers]).reshape(len(numbers), -1)

        return self._block.each(len(samples), predicted).mean(0)

    def _walked(self, rows: Any) -> np.ndarray:
        """Return the values of some rows: (rows, outputs, features)."""
        try:
            with _quiet():
                found = self._explainer.shap_values(
                    rows if self._theirs else self._ranks(rows), check_additivity=False
                )
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise InputError(
                f"shap's TreeExplainer fails on this {self._predictor.__name__}: "
                f"{error or type(error).__name__}; {_INSTEAD}"
            ) from error
        found = np.asarray(found, dtype=float)
        whole: np.ndarray = np.moveaxis(found, 2, 1) if found.ndim == 3 else found[:, None]
        return np.ascontiguousarray(whole)

    def _given(self, rows: Tensor) -> Any:
        """Return rows as numbers, as precise as the trees see them; or as the model's table."""
        model, table = self._predictor.model, self._predictor.table
        assert table is not None
        if table.categories:
            if self._theirs:
                return table.table(rows)
            self._refuse("categories", beside=_library(model) in ("lightgbm", "xgboost"))
        numbers = table.shown(rows.detach().cpu().numpy()).astype(float)
        double = _library(model) in ("lightgbm", _HIST)
        return numbers if double else numbers.astype(np.float32).astype(float)

    def _ranks(self, numbers: np.ndarray) -> np.ndarray:
        """Return for each number how many of its feature's thresholds lie below it."""
        assert self._splits is not None
        ranks = np.full(numbers.shape, np.nan)
        for i, column in enumerate(numbers.T):
            known = ~np.isnan(column)
            ranks[known, i] = np.searchsorted(self._splits.get(i, np.zeros(0)), column[known])
        return ranks

    def _refuse(self, what: str, *, beside: bool) -> NoReturn:
        """Say what shap cannot read; `beside` a background alone, or not at all."""
        raise InputError(
            f"shap's TreeExplainer cannot read {what} of this {self._predictor.__name__}"
            + (" beside a background; leave the background out, or " if beside else "; ")
            + _INSTEAD
        )

    def _of_margin(self) -> bool:
        """Whether the scores are a margin, and not what the model predicts."""
        model, table = self._predictor.model, self._predictor.table
        if margin_of(model) is None:
            return False
        if getattr(model, "classes_", None) is not None:
            return True
        assert table is not None
        some = self._block.inputs[0][:1]
        predicted = np.asarray(model.predict(table.table(some)), dtype=float)
        return not np.allclose(predicted.ravel(), self._predictor(some).cpu().numpy().ravel())


def _ranked_splits(trees: Any) -> dict[int, np.ndarray]:
    """Replace the thresholds in shap's trees by their ranks; return each feature's, sorted.

    shap rounds thresholds to single precision but not what it compares with them, so a value on a
    threshold takes the wrong side. Ranks are small whole numbers, and part rows all the same.
    """
    inner, found = trees.children_left >= 0, {}
    for i in np.unique(trees.features[inner]):
        here = inner & (trees.features == i)
        found[int(i)] = np.unique(trees.thresholds[here])
        trees.thresholds[here] = np.searchsorted(found[int(i)], trees.thresholds[here])
    return found


def _library(model: Any) -> str:
    """Return where a model comes from, as far as it matters here; empty for others."""
    modules = [kind.__module__ for kind in type(model).__mro__]
    known = ("lightgbm", "xgboost", _HIST)
    return next((name for name in known if any(m.startswith(name) for m in modules)), "")


def _misread(model: Any, gaps: np.ndarray) -> str | None:
    """Return what shap would take for something else in a model's trees, silently; or None.

    `gaps` says which columns have missing values.
    """
    library = _library(model)
    if library == _HIST and model.is_categorical_ is not None:
        return "categories"
    if library == "xgboost":
        own = getattr(model, "missing", None)
        return None if own is None or np.isnan(own) else f"missing={own!r}"
    if library != "lightgbm":
        return None
    booster = getattr(model, "booster_", model)
    nodes = booster.trees_to_dataframe()
    if (nodes["decision_type"] == "==").any():
        return "categories"
    if (nodes["missing_type"] == "Zero").any():
        return "zeros that stand for missing values"
    unknown = nodes.loc[nodes["missing_type"] == "None", "split_feature"]
    missing = np.array(booster.feature_name())[gaps]
    return "missing values that were not in training" if unknown.isin(missing).any() else None


def _shap() -> Any:
    try:
        import shap
    except ImportError as error:
        raise MissingDependencyError(
            "tree_shapley computes with shap, which is not installed: "
            f"pip install 'pellucid[trees]'; or {_INSTEAD}"
        ) from error
    return shap


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep shap's warnings back: they are of its own options, none of which the person gave."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
