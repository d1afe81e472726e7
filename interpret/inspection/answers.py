"""What a model's outputs are: classes or values, logits or probabilities."""

from __future__ import annotations

import numpy as np

from pellucid.errors import InputError, ModelError
from pellucid.interpret.inspection.asked import Asked


def kind_of(
    asked: Asked,
    raw: np.ndarray,
    targets: np.ndarray | None,
    output: str,
    task: str | None,
    names: tuple[str, ...] | None,
) -> tuple[str, str]:
    """Return whether it is a classification or a regression, and why."""
    classes, value = "classification", "regression"
    if output == "value":
        return value, "output='value'"
    if asked.labels is not None:
        return classes, f"{asked.name} has classes"
    if asked.units == "value":
        return value, f"{asked.name} predicts values"
    if task in (classes, value):
        return task, "the data set says so"
    if names is not None:
        return classes, "class names were given"
    if output == "probability":
        return classes, "output='probability'"
    if asked.units in ("probability", "vote"):
        return classes, f"{asked.name} gives probabilities"
    if targets is not None:
        if targets.dtype.kind in "OUSb":
            return classes, "the targets are no numbers"
        if _one_hot(targets):
            return classes, "the targets are one-hot rows"
        if targets.ndim > 1:
            return value, "there are several targets for each sample"
        if raw.ndim > 1:
            return classes, f"one target for {raw.shape[1]} outputs"
        if targets.dtype.kind in "iu" and np.isin(targets, (0, 1)).all():
            return classes, "the targets of one output are 0 and 1"
        return value, "one output, and targets other than 0 and 1"
    if raw.ndim > 1:
        return classes, "several outputs are taken for classes"
    if asked.ends == "sigmoid":
        return classes, "the model ends in a sigmoid"
    return value, "one output is taken for a value"


def _one_hot(targets: np.ndarray) -> bool:
    """Whether targets are rows of zeros with a single one."""
    if targets.ndim != 2 or targets.dtype.kind not in "fiu":
        return False
    return bool(np.isin(targets, (0, 1)).all() and (targets.sum(axis=1) == 1).all())


def of_classes(asked: Asked, raw: np.ndarray, output: str) -> tuple[np.ndarray, str, str]:
    """Return scores of at least two classes, their units, and where they come from."""
    single = raw.ndim == 1
    units = asked.units
    if asked.labels is not None and not single and raw.shape[1] != len(asked.labels):
        raise ModelError(
            f"{asked.name} has {len(asked.labels)} classes and returns {raw.shape[1]} scores for "
            "each row; give a function that returns one score for each class"
        )
    if units in ("decision value", "vote"):
        if output == "probability":
            raise InputError(
                f"{asked.name} gives {units}s, no probabilities; wrap it in scikit-learn's "
                "CalibratedClassifierCV, or use output='raw'"
            )
        said = f"{units}s of {asked.name}"
        if single:
            return np.stack([-raw, raw], axis=1), units, f"{said}: -d and d for two classes"
        return raw, units, said
    told = _told(asked, raw)
    if told:
        both = np.stack([1 - raw, raw], axis=1) if single else raw
        return both, "probability", told
    if output == "raw":
        both = np.stack([-raw, raw], axis=1) if single else raw
        return both, "logit", "the model's outputs" + (": -z and z for two classes" * single)
    if single:
        return _softmax(np.stack([np.zeros_like(raw), raw], axis=1)), "probability", "sigmoid"
    return _softmax(raw), "probability", "softmax of the model's outputs"


def _told(asked: Asked, raw: np.ndarray) -> str:
    """Return why outputs are probabilities already; empty where they are not."""
    finite = raw[np.isfinite(raw) if raw.ndim == 1 else np.isfinite(raw).all(axis=1)]
    if not len(finite) or (finite < 0).any() or (finite > 1).any():
        return ""
    if asked.units == "probability":
        return f"probabilities of {asked.name}"
    one = raw.ndim == 1 or bool((np.abs(finite.sum(axis=1) - 1) < 1e-3).all())
    if asked.ends == "sigmoid" and not one:
        return "sigmoids, one for each class: they need not add up to 1"
    if asked.ends:
        return f"the model ends in a {asked.ends}"
    if not one:
        return ""
    between = "lie between 0 and 1" if raw.ndim == 1 else "are not negative and add up to 1"
    return f"the model's outputs {between}, so they are taken for probabilities"


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of each row; NaN where a logit is."""
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares
