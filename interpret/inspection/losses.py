"""Losses: how wrong a model's outputs are, as a mean over samples that come in chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError, InputTypeError, ModelError
from pellucid.interpret.inputs import as_tensor, check_finite
from pellucid.interpret.outputs import describe, scored_part

_NAMED = ("auto", "cross_entropy", "mean_squared_error")
_ROUNDING = 1e-3  # how far a sum of probabilities may be from one
_SMALLEST = 1e-15  # of a probability whose logarithm is taken


class Loss:
    """The sum of a loss over the samples of a chunk.

    Parameters
    ----------
    name
        What it is called.
    function
        From the model's output and the targets to a mean, or to a number for each sample.
    """

    def __init__(self, name: str, function: Callable[[Any, Any], Any]) -> None:
        self.name, self._function = name, function

    def total(self, output: Any, targets: Tensor) -> Tensor:
        """Return the sum over a chunk's samples, float64, on the device.

        Raises
        ------
        InputError
            If the function fails, or does not return a loss.
        """
        try:
            found = self._function(output, targets)
        except Exception as error:
            raise InputError(
                f"loss={self.name} failed on {describe(output)} and targets of shape "
                f"{tuple(targets.shape)}, {targets.dtype}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(found, Tensor) or (found.ndim and len(found) != len(targets)):
            raise InputError(
                f"loss={self.name} returned {describe(found)} for {len(targets)} samples; return "
                "a mean, as a tensor without axes, or a tensor with one number for each sample"
            )
        real = found.double()
        if real.ndim:
            return real.reshape(len(real), -1).mean(1).sum()
        return real * len(targets)


class Seen:
    """What is seen of a model's outputs for all samples, which come in chunks.

    Attributes
    ----------
    shape
        Without the sample axis.
    squashed
        Whether all are from 0 to 1.
    normal
        Whether they are probabilities that add up to 1 over the classes. A few samples cannot tell
        that from logits.
    """

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.squashed = self.normal = True

    @property
    def width(self) -> int:
        """How many numbers there are for each sample."""
        return int(np.prod(self.shape))

    def add(self, given: Any) -> None:
        """Look at the outputs for some samples.

        Raises
        ------
        ModelError
            If no loss with a name can be read from them.
        """
        output = _scores(given)
        self.shape = tuple(output.shape[1:])
        self.squashed &= bool(((output >= 0) & (output <= 1)).all())
        total = output.sum(1) if output.ndim > 1 else output
        self.normal &= self.squashed and bool(((total - 1).abs() < _ROUNDING).all())


def check_loss(loss: Any) -> None:
    """Raise unless a loss is one that we know, or a function."""
    if not callable(loss) and not (isinstance(loss, str) and loss in _NAMED):
        raise InputError(
            f"loss={loss!r} is not known; use {', '.join(map(repr, _NAMED))}, or a function from "
            "outputs and targets to a mean"
        )


def read_targets(targets: Any, samples: int, dtype: torch.dtype | None) -> Tensor:
    """Return targets as a tensor with a row for each sample: class indices or numbers.

    Raises
    ------
    InputTypeError
        If they are not numbers.
    InputError
        If there are too few or too many, or some are not finite.
    """
    # A column of a data frame has an index, which is not wanted.
    given = targets.to_numpy() if hasattr(targets, "to_numpy") else targets
    if not isinstance(given, Tensor):
        given = np.asarray(given)
        if given.dtype.kind not in "fiub":
            raise InputTypeError(
                f"targets are of dtype {given.dtype}; give class indices or numbers"
            )
    found: Tensor = as_tensor("targets", given, dtype)
    if found.ndim == 0 or len(found) != samples:
        raise InputError(
            f"targets have shape {tuple(found.shape)}; expected one for each of {samples} samples"
        )
    if found.is_floating_point():
        check_finite(found, "targets")
        return found
    return found.long()


def choose_loss(loss: Any, seen: Seen, targets: Tensor) -> Loss:
    """Return the loss that was asked for, as outputs and targets demand.

    Parameters
    ----------
    loss
        ``"auto"``, another name, or a function.
    seen
        What the model returns for all samples; not looked at where the loss is a function.
    targets
        The truth.

    Raises
    ------
    InputError
        If the targets do not fit the outputs.
    """
    if callable(loss):
        return Loss(getattr(loss, "__name__", type(loss).__name__), loss)
    alike = tuple(targets.shape[1:]) == seen.shape or (
        seen.width == 1 and targets.numel() == len(targets)
    )
    binary = bool(((targets == 0) | (targets == 1)).all())
    if alike and (loss == "mean_squared_error" or (loss == "auto" and not binary)):
        return Loss("mean squared error", lambda out, true: (_flat(out) - _flat(true)) ** 2)
    if loss != "mean_squared_error":
        one_hot = alike and binary and seen.width > 1 and bool((targets.sum(1) == 1).all())
        if alike and binary and not one_hot:
            return Loss("cross-entropy", lambda out, true: _binary(out, true, seen.squashed))
        if one_hot:
            return Loss("cross-entropy", lambda out, true: _entropy(out, true.argmax(1), seen))
        if seen.width > 1 and tuple(targets.shape[1:]) == seen.shape[1:]:
            _check_classes(targets, seen.shape[0])
            return Loss("cross-entropy", lambda out, true: _entropy(out, true.long(), seen))
    rows = len(targets)
    raise InputError(
        f"targets of shape {tuple(targets.shape)} do not fit outputs of shape "
        f"{(rows, *seen.shape)}; give numbers of that shape"
        + (f", class indices of shape {(rows, *seen.shape[1:])}," if seen.width > 1 else ",")
        + " or a loss of your own"
    )


def _check_classes(targets: Tensor, classes: int) -> None:
    if bool((targets != targets.round()).any()):
        raise InputError(
            f"the model returns {classes} classes, but targets are numbers that are not whole; "
            "give class indices, or a loss of your own"
        )
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= classes:
        raise InputError(
            f"targets go from {low} to {high}; the model's {classes} classes are 0 to {classes - 1}"
        )


def _scores(output: Any) -> Tensor:
    """Return the part of an output that a named loss is of, in float64."""
    found, _ = scored_part(output)
    if not isinstance(found, Tensor) or not found.ndim or not found.is_floating_point():
        raise ModelError(
            f"the model returns {describe(output)}, which no loss that has a name can read; give "
            "loss= a function from outputs and targets to a mean"
        )
    return found.double()


def _flat(part: Any) -> Tensor:
    found = _scores(part) if not isinstance(part, Tensor) else part.double()
    return found.reshape(len(found), -1)


def _binary(output: Any, targets: Tensor, squashed: bool) -> Tensor:
    scores, true = _flat(output), _flat(targets)
    if squashed:
        inside = scores.clamp(_SMALLEST, 1 - _SMALLEST)
        return -(true * inside.log() + (1 - true) * (1 - inside).log())
    return torch.nn.functional.binary_cross_entropy_with_logits(scores, true, reduction="none")


def _entropy(output: Any, targets: Tensor, seen: Seen) -> Tensor:
    scores = _scores(output)
    logs = scores.clamp_min(_SMALLEST).log() if seen.normal else scores.log_softmax(1)
    return -logs.gather(1, targets[:, None])[:, 0]
