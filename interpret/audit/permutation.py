"""`importance`: how much worse the model becomes when a feature is shuffled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError, InputTypeError, ModelError
from pellucid.interpret.block import Block
from pellucid.interpret.engine import Engine
from pellucid.interpret.inputs import is_whole, read_inputs
from pellucid.interpret.models import Model
from pellucid.interpret.outputs import describe
from pellucid.interpret.points import Kept, Leaves, Rows
from pellucid.interpret.predictors import adapt, classes_of, is_estimator, only_predicts, votes_of
from pellucid.interpret.results import Importance, Provenance
from pellucid.interpret.targets import Scoring

_METRICS = ("accuracy", "log_loss", "r2", "mean_squared_error")


def importance(
    model: Any,
    X: Any,  # noqa: N803 - the name that scikit-learn's users know
    y: Any,
    *,
    metric: str = "auto",
    repeats: int = 10,
    feature_names: Sequence[str] | None = None,
    device: Any = "auto",
    batch_size: int | str = "auto",
    seed: int = 0,
    progress: bool | None = None,
) -> Importance:
    """Measure how much worse a model becomes when one feature's values are shuffled.

    Permutation importance (Breiman 2001, https://doi.org/10.1023/A:1010933404324). It asks what the
    model as it is uses, on these rows. Of two features that say the same, each may come out small.

    Parameters
    ----------
    model
        A `torch.nn.Module` or a function of tensors, arrays or data frames that returns one output,
        a logit or probability for each class, or one logit of the second class; or a fitted
        scikit-learn estimator, or anything else with ``predict_proba`` or ``predict``.
    X
        The features, shape (samples, features): an array, tensor or data frame, with texts,
        categories and missing values where the model takes them. Rows that the model was not
        trained on.
    y
        The truth: class indices (an estimator's own class labels), or numbers.
    metric
        ``"accuracy"``, ``"log_loss"``, ``"r2"`` or ``"mean_squared_error"``; ``"auto"`` is accuracy
        for classes and r2 for numbers.
    repeats
        How often each feature is shuffled, at least 2.
    feature_names
        One for each feature; a data frame brings its own.
    device, batch_size, seed, progress
        As for `pellucid.explain`.

    Returns
    -------
    Importance
        The mean worsening of the metric for each feature, with its standard error.

    Raises
    ------
    InputError, InputTypeError
        If an argument cannot be worked with.
    ModelError
        If the model fails on the features, or its output does not fit the truth.
    """
    if not is_whole(seed) or not 0 <= seed < 2**63:
        raise InputError(f"seed={seed!r}; give a whole number from 0")
    if not is_whole(repeats) or repeats < 2:
        raise InputError(f"repeats={repeats!r}; a standard error needs at least 2")
    if metric not in ("auto", *_METRICS):
        raise InputError(f"metric={metric!r} is not known; use 'auto', {', '.join(_METRICS)}")
    estimator = is_estimator(model)
    # What an estimator that knows no probabilities predicts is what it is judged by.
    classes = classes_of(model) if estimator else None
    votes = None
    if classes is not None and not hasattr(model, "predict_proba"):
        votes = votes_of(model)
        if metric == "log_loss":
            raise InputError(
                f"metric='log_loss' needs probabilities, and {type(model).__name__} has no "
                "predict_proba; use metric='accuracy'"
            )
    if metric == "auto" and estimator and classes is None:
        metric = "r2"  # an estimator that predicts, and knows no classes, predicts numbers
    of_frame = None
    if only_predicts(model, X):
        tables = adapt(model, X, scores=votes)
        of_frame = None if tables.table is None else tables.table.names
        model, X = tables.predict, tables.inputs  # noqa: N806 - the same, as tensors
    adapted = Model(model)
    batch = read_inputs(X, attribute=None, dtype=adapted.dtype, differentiable=False)
    found = list(batch.tensors().values())
    if len(found) != 1 or found[0].ndim != 2:
        raise InputError(
            "importance is of the columns of one array of shape (samples, features); got "
            + ", ".join(str(tuple(leaf.shape)) for leaf in found)
        )
    table = found[0]
    names = _feature_names(feature_names, of_frame or batch.feature_names, table.shape[1])
    truth = _truth(y, len(table), classes)
    if len(table) < 2:
        raise InputError(
            "importance needs at least 2 samples: with one there is nothing to shuffle"
        )
    draw = torch.Generator("cpu").manual_seed(int(seed))
    order = torch.stack(
        [torch.randperm(len(table), generator=draw, device="cpu") for _ in range(repeats)]
    )
    with Engine(
        adapted,
        batch,
        device=device,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
        differentiable=False,
    ) as engine:
        output, _ = engine.probe()
        engine.expect(len(table) * (2 + repeats * table.shape[1]))
        loss = _choose_loss(engine, output, truth, metric)
        whole, order = table.to(engine.device), order.to(engine.device)
        reference = torch.zeros(1, dtype=torch.float64, device=engine.device)
        shuffled = reference.new_zeros(repeats * table.shape[1])
        for block in engine.blocks(loss, {}):
            block.values(Rows(block.n), _Sums(reference, block.n))
            points = _Shuffled(whole, order[:, block.rows], block.rows.start)
            block.values(points, _Sums(shuffled, block.n))
    shuffled = shuffled.reshape(repeats, -1).T
    if not bool(torch.isfinite(reference).all() and torch.isfinite(shuffled).all()):
        raise ModelError(
            "the model returns NaN or infinite values for some of the samples, or when a feature "
            "is shuffled among them; mend it, or drop those samples"
        )
    used = loss.metric
    before, after = reference / len(table), shuffled / len(table)
    if used == "r2":
        spread = truth.double().var(correction=0).to(before.device)
        before, after = 1 - before / spread, 1 - after / spread
    # What one more unit of a value means: the model is worse by so much of the metric.
    sign = 1 if used in ("log_loss", "mean_squared_error") else -1
    worsening = (sign * (after - before)).cpu().numpy()
    return Importance(
        values=worsening.mean(1),
        standard_error=worsening.std(1, ddof=1) / np.sqrt(repeats),
        repeats=worsening,
        feature_names=names,
        metric=used,
        reference=float(before),
        samples=len(table),
        settings={"metric": used, "repeats": repeats},
        provenance=Provenance(model=adapted.name, device=str(engine.device), seed=seed),
    )


@dataclass(frozen=True)
class _Shuffled:
    """Each row with one feature taken from another row: by repeat, then feature, then row."""

    table: Tensor
    order: Tensor  # (repeats, rows of the block), positions in the table
    start: int

    def __len__(self) -> int:
        return self.order.numel() * self.table.shape[1]

    def rows(self, index: Tensor) -> Tensor:
        """Return the row that each of these points belongs to."""
        return index % self.order.shape[1]

    def make(self, index: Tensor, _: Block) -> Leaves:
        """Return these rows with one of their features exchanged."""
        rows, count = self.rows(index), self.order.shape[1]
        feature = (index // count % self.table.shape[1])[:, None]
        repeat = index // (count * self.table.shape[1])
        points, others = self.table[self.start + rows], self.table[self.order[repeat, rows]]
        return (points.scatter(1, feature, others.gather(1, feature)),)


@dataclass(frozen=True)
class _Sums:
    """A sink that sums the losses of each run of `count` points."""

    total: Tensor
    count: int

    def add(
        self,
        index: Tensor,
        rows: Tensor,
        scores: Tensor | None,
        found: Tensor | None,
        held: Tensor | None = None,
    ) -> None:
        """Add one chunk."""
        assert scores is not None
        self.total.index_add_(0, index // self.count, scores[:, 0].double())


class _Loss(Scoring):
    """A score whose target is the truth: how wrong (or right) the model is on each row."""

    def __init__(
        self, metric: str, truth: Tensor, function: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        self.metric, self.index, self._function = metric, truth[:, None], function

    def __call__(self, output: Any, index: Tensor | None) -> Tensor:
        assert index is not None
        losses = self._function(output.double(), index)
        # A comparison turns NaN into a wrong answer; it is to stay NaN.
        finite = torch.isfinite(output.reshape(len(output), -1)).all(1, keepdim=True)
        return torch.where(finite, losses, torch.nan)


def _choose_loss(engine: Engine, output: Any, truth: Tensor, metric: str) -> _Loss:
    """Return the metric as a loss of each row, as the output's and the truth's kinds demand."""
    if not isinstance(output, Tensor) or output.ndim not in (1, 2):
        raise ModelError(
            f"the model returns {describe(output)}; importance needs one number, or one for each "
            "class, for every row: wrap the model in a function that returns it"
        )
    width = 1 if output.ndim == 1 else output.shape[1]
    numbers = metric in ("r2", "mean_squared_error")
    whole = bool((truth == truth.round()).all())
    if width == 1 and (numbers or not (whole and bool(((truth == 0) | (truth == 1)).all()))):
        if metric in ("accuracy", "log_loss"):
            raise InputError(
                f"metric={metric!r} is of classes, but y holds other numbers than 0, 1"
            )
        name = metric if numbers else "r2"
        if name == "r2" and bool((truth == truth[0]).all()):
            raise InputError("y is the same for all samples, so r2 has no meaning")
        return _Loss(name, truth, lambda out, true: (out.reshape(len(out), 1) - true) ** 2)
    if numbers:
        raise InputError(f"metric={metric!r} is of numbers, but the model returns {width} classes")
    if not whole or bool((truth < 0).any()) or bool((truth >= max(2, width)).any()):
        raise InputError(
            f"y goes from {truth.min():g} to {truth.max():g}; the model's {max(2, width)} classes "
            f"are 0 to {max(2, width) - 1}"
        )
    truth = truth.long()
    if width == 1:
        # Whether one number is a logit or a probability cannot be seen on a few rows.
        everything = Kept()
        for block in engine.blocks(_Loss("", truth, lambda out, _: out.reshape(-1, 1)), {}):
            block.values(Rows(block.n), everything)
        single = everything.scores
        squashed = bool(((single >= 0) & (single <= 1)).all())

        def log(out: Tensor) -> Tensor:
            out = out.reshape(-1, 1)
            if squashed:
                return torch.cat([1 - out, out], 1).clamp_min(1e-15).log()
            return torch.nn.functional.logsigmoid(torch.cat([-out, out], 1))

    else:
        normal = bool((output >= 0).all() and ((output.sum(1) - 1).abs() < 1e-3).all())

        def log(out: Tensor) -> Tensor:
            return out.clamp_min(1e-15).log() if normal else out.log_softmax(1)

    if metric == "log_loss":
        return _Loss(metric, truth, lambda out, true: -log(out).gather(1, true))
    return _Loss("accuracy", truth, lambda out, true: (log(out).argmax(1, True) == true).double())


def _truth(y: Any, samples: int, classes: np.ndarray | None) -> Tensor:
    given = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y)
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if given.shape != (samples,):
        raise InputError(f"y has shape {given.shape}; expected one for each of {samples} samples")
    if classes is not None:
        known = {label: i for i, label in enumerate(classes.tolist())}
        unknown = [label for label in given.tolist() if label not in known]
        if unknown:
            raise InputError(f"y holds {unknown[0]!r}; the estimator's classes are {list(known)}")
        return torch.tensor([known[label] for label in given.tolist()], dtype=torch.float64)
    if given.dtype.kind not in "fiub":
        raise InputTypeError(
            f"y is of dtype {given.dtype}; give class indices or numbers (names are understood for "
            "scikit-learn's estimators)"
        )
    truth = torch.as_tensor(given.astype(float))
    if not bool(torch.isfinite(truth).all()):
        raise InputError("y holds NaN or infinite values; drop those rows first")
    return truth


def _feature_names(
    given: Sequence[str] | None, of_frame: Sequence[str] | None, features: int
) -> tuple[str, ...]:
    names = given if given is not None else of_frame
    if names is None:
        return tuple(f"feature {i}" for i in range(features))
    if isinstance(names, str) or len(names) != features:
        raise InputError(f"{len(names)} feature names were given for {features} features")
    return tuple(map(str, names))
