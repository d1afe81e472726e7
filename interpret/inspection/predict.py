"""`predict`: a model's scores for some samples, beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pellucid.errors import InputError, Interrupted, ModelError
from pellucid.interpret.inspection import truth
from pellucid.interpret.inspection.answers import kind_of, of_classes
from pellucid.interpret.inspection.asked import Asked, outputs_of
from pellucid.interpret.labels import Labels
from pellucid.interpret.results import Predictions, Provenance
from pellucid.interpret.targets import known_names

_OUTPUTS = ("auto", "probability", "raw", "value")


def predict(
    model: Any,
    inputs: Any,
    targets: Any = None,
    *,
    output: str = "auto",
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    sample_ids: Sequence[Any] | np.ndarray | None = None,
    display: Any = None,
    batch_size: Any = "auto",
    device: Any = "auto",
    progress: bool | None = None,
) -> Predictions:
    """Ask a model about samples, and put its scores beside the truth.

    Whether it is a classifier is what an estimator or a `Dataset` says itself; else what
    `class_names` and the targets say (texts, booleans, classes for several outputs, 0 and 1 for a
    single one); else several outputs are classes, and one output is a value, unless the model ends
    in a sigmoid. `Predictions.settings` says which it was.

    Parameters
    ----------
    model
        A torch module (Keras 3 on torch and Hugging Face's among them), an estimator or pipeline of
        scikit-learn's kind, or a function of tensors, arrays, data frames or a list of texts. It is
        left as it was, to the bit.
    inputs
        What the model takes: an array, tensor or data frame; a tuple or dict of them; texts, for
        what takes a list of texts. Or a `Dataset`, which brings its targets, names and ids along.
    targets
        The truth, one for each sample: class indices, the labels that an estimator was fitted with,
        or names of classes; numbers for a regression. None where it is not known.
    output
        ``"auto"``: probabilities of classes where the model gives logits or probabilities,
        decision values where an estimator has nothing else. ``"raw"``: the scores of classes as the
        model returns them. ``"probability"``: as ``"auto"``, and an error where there are none.
        ``"value"``: the outputs are no classes, but values of a regression.
    class_names, feature_names, sample_ids
        Names for what is shown; they go before those of a `Dataset`. Two class names make a
        classifier of a model with one output.
    display
        What to show in place of the inputs, one for each sample: the picture before normalisation.
    batch_size, device, progress
        As `explain` takes them.

    Returns
    -------
    Predictions
        The scores, float64: shape (samples, classes), or (samples[, outputs]) of a regression. One
        logit z becomes two classes, of probabilities 1 - sigmoid(z) and sigmoid(z), or of raw
        scores -z and z; so does the decision value of a binary support vector machine. Scores that
        are not finite are NaN, and counted in its summary.

    Raises
    ------
    InputError, InputTypeError
        If an argument cannot be worked with; the message says what to pass instead.
    ModelError
        If the model fails on the inputs, or returns no scores.
    Interrupted
        On Ctrl-C; its `partial` holds the predictions of the rows that were finished.

    Examples
    --------
    >>> import pellucid as pl
    >>> from sklearn.svm import SVC
    >>> wine = pl.datasets.load_wine()
    >>> svm = SVC().fit(wine.inputs, wine.targets)
    >>> pl.predict(svm, wine).units  # doctest: +SKIP
    'decision value'
    """
    if output not in _OUTPUTS:
        raise InputError(f"output={output!r} is not known; use {', '.join(map(repr, _OUTPUTS))}")
    task = None
    named = known_names(class_names)
    if _is_dataset(inputs):
        data, inputs = inputs, inputs.inputs
        task = getattr(data, "task", None)
        targets = data.targets if targets is None else targets
        feature_names = data.feature_names if feature_names is None else feature_names
        sample_ids = data.sample_ids if sample_ids is None else sample_ids
        original = getattr(data, "original_inputs", None)
        display = original() if display is None and callable(original) else display
        offered = known_names(data.class_names)
    else:
        offered = None
    asked = Asked.of(model, inputs)
    labels = Labels(
        asked.batch, ("input",), asked.names if feature_names is None else feature_names,
        sample_ids, display, None, asked.table,
    )  # fmt: skip
    given = None if targets is None else truth.as_targets(targets, asked.batch.samples)
    found, where = outputs_of(asked, batch_size, device, progress)
    raw = found if found.shape[1] > 1 else found[:, 0]
    # A data set's names are of the classes that it has, which need not be those of the model.
    names = named or _of_model(offered, asked.labels, found.shape[1])
    kind, why = kind_of(asked, raw, given, output, task, names)
    settings: dict[str, Any] = {"output": output, "kind": f"{kind}: {why}"}
    units = "value"
    known = None
    if kind == "classification":
        raw, units, settings["scores"] = of_classes(asked, raw, output)
        names = _checked_names(names, asked.labels, raw.shape[1])
        if given is not None and _are_texts(asked.labels) and given.dtype.kind in "iu":
            given = _spelled(given, offered)
        if given is not None:
            known = truth.class_indices(given, raw.shape[1], asked.labels, names)
            known = known[: len(raw)]
    else:
        if named is not None:
            raise InputError(
                f"class_names were given, and {asked.name} predicts values ({why}); leave them out"
            )
        names = None
        if given is not None:
            known = truth.values(given, (len(given), *raw.shape[1:]))[: len(raw)]
    if not np.isfinite(raw).any():
        raise ModelError(
            f"{asked.name} returns NaN or infinite values for every one of the "
            f"{len(raw)} samples; mend it first"
        )
    raw = np.where(np.isfinite(raw), raw, np.nan)
    done = len(raw)
    shown = asked.shown if labels.display is None else labels.display
    predictions = Predictions(
        scores=raw,
        kind=kind,
        units=units,
        truth=known,
        inputs=None if shown is None else shown[:done],
        class_names=names,
        feature_names=labels.features,
        sample_ids=labels.samples[:done],
        name=asked.name,
        settings=settings,
        provenance=Provenance(model=asked.name, device=where),
    )
    if done < asked.batch.samples:
        raise Interrupted(
            f"interrupted after {done} of {asked.batch.samples} rows; they are in this "
            "exception's `partial` (in a notebook: sys.last_value.partial)",
            predictions,
        )
    return predictions


def _is_dataset(inputs: Any) -> bool:
    return all(hasattr(inputs, name) for name in ("inputs", "targets", "class_names"))


# -- names -----------------------------------------------------------------------------------


def _are_texts(labels: np.ndarray | None) -> bool:
    """Whether a classifier was fitted with texts for classes."""
    return labels is not None and all(isinstance(one, str) for one in labels.tolist())


def _spelled(targets: np.ndarray, names: tuple[str, ...] | None) -> np.ndarray:
    """Return a data set's class indices as its names, which a classifier was fitted with."""
    if names is None or targets.size == 0 or targets.min() < 0 or targets.max() >= len(names):
        return targets
    spelled: np.ndarray = np.array(names, dtype=str)[targets]
    return spelled


def _of_model(
    offered: tuple[str, ...] | None, labels: np.ndarray | None, columns: int
) -> tuple[str, ...] | None:
    """Return a data set's names of those classes that the model knows; None where they differ."""
    if offered is None or _are_texts(labels):
        return None
    if labels is not None and labels.dtype.kind in "iub":
        numbers = labels.astype(int)
        inside = numbers.min() >= 0 and numbers.max() < len(offered)
        return tuple(offered[k] for k in numbers) if inside else None
    return offered if len(offered) == max(columns, 2) else None


def _checked_names(
    names: tuple[str, ...] | None, labels: np.ndarray | None, classes: int
) -> tuple[str, ...] | None:
    if names is None:
        return None if labels is None else tuple(map(str, labels.tolist()))
    if len(names) != classes:
        raise InputError(
            f"{len(names)} class names were given, but the model has {classes} classes"
        )
    return names
