"""Scores: the model's output, targets chosen: one number for each point and target."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import InputError, InputTypeError, ModelError, PellucidError
from pellucid.interpret.outputs import check_output, describe, scored_part
from pellucid.interpret.tensors import wide_tensor


class Scoring:
    """A function from the model's output to an array (points, targets).

    Attributes
    ----------
    predicted
        Whether each row's class is the one that the model predicts.
    per_target
        Whether there is a target axis; otherwise each row is explained by one score.
    columns
        How many scores each row has.
    index
        The classes that rows are scored by, (rows, columns), or (1, columns) where all rows share
        them; None where there is nothing to choose.
    classes
        How many classes there are to choose among.
    layer
        The layer whose output is scored, in place of the model's; or None.
    class_names
        Names of the classes, or None.
    units
        Of the scores.
    part
        Which part of the output is scored, in words, where it is not one tensor; or None.
    missing
        Where a row has fewer targets than others, (rows, targets); None where none has.
    """

    predicted: bool = False
    per_target: bool = False
    columns: int = 1
    index: Tensor | None = None
    classes: int = 1
    layer: str | None = None
    class_names: tuple[str, ...] | None = None
    units: str = "output"
    part: str | None = None
    missing: np.ndarray | None = None

    @property
    def shared(self) -> bool:
        """Whether all rows are explained for the same targets."""
        return self.index is None or len(self.index) == 1

    def __call__(self, output: Any, index: Tensor | None) -> Tensor:
        """Return the scores (points, targets), given each point's part of `index`."""
        raise NotImplementedError

    def choose(self, output: Any, numbers: Tensor) -> Tensor:
        """Return the predicted class of each row, shape (rows,), given the rows' numbers."""
        raise NotImplementedError

    def classes_of(self, index: Tensor) -> Tensor:
        """Return the classes that `index` stands for."""
        return index


class Score(Scoring):
    """What a person asks to have explained: classes of the output, or a function of it.

    Parameters
    ----------
    target
        ``"predicted"``, ``"all"``, a class index or name, one of these for each row, a list of them
        inside a list (several for every row), a function of the output that returns one number for
        each row or a list of such, a neuron ``(layer, index)``, or None for a model of one output.
    output
        ``"raw"``, or ``"probability"`` to put softmax or sigmoid behind the model.
    class_names
        Names of the classes.
    example
        The model's output for some rows, which tells its shape; a neuron's layer's.
    rows
        How many rows that output has.
    samples
        How many rows there are to explain.
    squashed
        Whether the model ends in a sigmoid: a single output is then a probability, not a logit.

    Raises
    ------
    InputError
        If a class is unknown or out of range, or their number is not that of the rows.
    ModelError
        If the model's output is not what the target needs.
    """

    def __init__(
        self,
        *,
        target: Any,
        output: str,
        class_names: Sequence[str] | None,
        example: Any,
        rows: int,
        samples: int,
        squashed: bool = False,
    ) -> None:
        if output not in ("raw", "probability"):
            raise InputError(f"output={output!r} is not known; use 'raw' or 'probability'")
        self.output, self.class_names = output, known_names(class_names)
        self.functions: tuple[Callable[[Any], Tensor], ...] = _functions(target)
        neuron = neuron_of(target)
        if neuron is not None:
            self.layer, self.functions = neuron[0], (_Neuron(*neuron),)
        if self.functions:
            if output != "raw":
                raise InputError(
                    "output='probability' has no meaning with a function or a neuron as the "
                    "target; let the function return what you want explained"
                )
            self.classes, self.binary, self.units = (
                0,
                False,
                "score" if not neuron else "activation",
            )
            self.per_target = isinstance(target, (list, tuple)) and neuron is None
            self.columns = len(self.functions)
            self.squashed = False
            self.squash: nn.Module = nn.Identity()
            for function in self.functions:
                _of_function(function, example, rows)
            return
        example, self.part = scored_part(example)
        shape = check_output(example, rows).shape
        if len(shape) > 2:
            raise ModelError(
                f"the model's output has shape {tuple(shape)}, more than one number for each row "
                "and class; give a function of the output as the target, such as "
                "target=lambda output: output[:, 3].mean((1, 2))"
                + (
                    "; or, where that is (samples, tokens, classes), one position of it: "
                    "target=('position', 3)"
                    if len(shape) == 3
                    else ""
                )
            )
        single = len(shape) == 1 or shape[1] == 1
        inside = bool(((example >= 0) & (example <= 1)).all())
        self._read_target(target, single, shape, samples)
        self.columns = 1 if self.index is None else self.index.shape[1]
        self.squashed = self.binary and squashed and inside
        # A module, not a function: rules for layers (DeepLIFT) need to find it.
        self.squash = (
            nn.Identity() if output == "raw" else nn.Sigmoid() if self.binary else nn.Softmax(dim=1)
        )
        self.units = self._units(example)

    def _read_target(self, target: Any, single: bool, shape: torch.Size, samples: int) -> None:
        names = self.class_names
        self.binary = single and (self.output == "probability" or names is not None)
        self.classes = 2 if self.binary else 1 if single else int(shape[1])
        if names is not None and len(names) != self.classes:
            raise InputError(
                f"{len(names)} class names were given, but the model's output has "
                + (
                    "one logit for two classes"
                    if single
                    else f"{self.classes} classes (shape {tuple(shape)})"
                )
            )
        if single and not self.binary:
            if target is not None and not _is(target, "predicted"):
                raise InputError(
                    f"the model has one output, so target={_brief(target)} has no meaning for a "
                    "regression; leave it out. For a binary classifier give "
                    "class_names=(negative, positive), or output='probability'"
                )
            return
        if target is None or _is(target, "predicted"):
            if target is None and not self.binary:
                raise InputError(
                    f"target=None is for models of one output; this one has {self.classes}: give "
                    "a class index or name, 'predicted', 'all' or a function of the output"
                )
            self.predicted = True
        elif _is(target, "all"):
            self.per_target = True
            self.index = torch.arange(self.classes)[None]
        elif _is_nested(target):
            self.per_target = True
            self.index = self._several(target)
        else:
            self.index = self._indices(target, samples)

    def _several(self, target: Any) -> Tensor:
        """Return the targets of a list in a list, which every row is explained for."""
        if len(target) != 1 or not len(target[0]):
            raise InputError(
                f"target has shape {tuple(np.shape(target))}; give one list inside a list, such as "
                "target=[[3, 7]], for several targets of every row"
            )
        chosen = [self._class(value) for value in target[0]]
        twice = next((c for i, c in enumerate(chosen) if c in chosen[:i]), None)
        if twice is not None:
            raise InputError(f"target={_brief(target)} names class {twice} more than once")
        return torch.tensor([chosen])

    def _indices(self, target: Any, samples: int) -> Tensor:
        if isinstance(target, Tensor):
            target = target.detach().cpu().numpy()
        if isinstance(target, (list, tuple)):
            given = np.empty(len(target), dtype=object)
            given[:] = list(map(_plain, target))
        else:
            given = np.asarray(target)
        if given.ndim > 1 or (given.ndim == 1 and len(given) != samples):
            raise InputError(
                f"target has shape {given.shape}; give one class, one for each of the "
                f"{samples} samples, or several for every sample as a list in a list, [[0, 2]]"
            )
        flat = [self._class(value) for value in given.reshape(-1).tolist()]
        return torch.tensor(flat)[:, None]

    def _class(self, value: Any) -> int:
        return class_index(value, self.classes, self.class_names)

    def _units(self, example: Any) -> str:
        if self.output == "probability":
            if self._are_probabilities(example):
                raise InputError(
                    "output='probability' would put a softmax or sigmoid behind a model whose "
                    "outputs are probabilities already; use output='raw'"
                )
            return "probability"
        if self._are_probabilities(example):
            return "probability"
        # Only who speaks of classes tells us that these numbers are logits.
        return "logit" if self.class_names is not None else "output"

    def _are_probabilities(self, output: Tensor) -> bool:
        if self.squashed or self.binary or self.classes == 1:
            return self.squashed
        sums = output.detach().double().sum(1)
        close = max(1e-3, 2 * torch.finfo(output.dtype).eps)
        return bool((output >= 0).all() and ((sums - 1).abs() < close).all())

    def __call__(self, output: Any, index: Tensor | None) -> Tensor:
        """Return the scores (points, targets).

        Parameters
        ----------
        output
            What the model returned.
        index
            The class of each point, shape (points, targets), or None where there are no classes.
        """
        if self.functions:
            return torch.stack([_of_function(f, output, None) for f in self.functions], dim=1)
        output = scored_part(output)[0]
        # A softmax of half precision is off by more than its logits are.
        logits = wide_tensor(output.reshape(len(output), -1))
        if self.squashed:
            logits = torch.cat([1 - logits, logits], dim=1)
        elif self.binary:
            # One logit z stands for (-z, z): the sigmoid of each is its class's probability.
            logits = torch.cat([-logits, logits], dim=1)
        scores: Tensor = self.squash(logits)
        return scores if index is None else scores.gather(1, index)

    def choose(self, output: Any, numbers: Tensor) -> Tensor:
        """Return the predicted class of each row, shape (rows,)."""
        output = scored_part(output)[0]
        logits: Tensor = output.reshape(len(output), -1)
        if self.binary:
            return (logits[:, 0] > (0.5 if self.squashed else 0)).long()
        return logits.argmax(dim=1)


def class_index(value: Any, classes: int, names: Sequence[str] | None) -> int:
    """Return the index of a class that is given by number or name.

    Raises
    ------
    InputError, InputTypeError
        If there is no such class; the message says which there are.
    """
    value = _plain(value)
    if isinstance(value, str):
        if names is None or value not in names:
            raise InputError(f"target {value!r} is not a class: {_alike(value, names)}")
        return list(names).index(value)
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not float(value).is_integer()
    ):
        raise InputTypeError(
            f"target {value!r} is a {type(value).__name__}; give a class index, a class name, "
            "'predicted', 'all' or a function of the output"
        )
    if not 0 <= value < classes:
        raise InputError(
            f"target {int(value)} is out of range: the model has {classes} classes, "
            f"0 to {classes - 1}"
        )
    return int(value)


def _alike(name: str, names: Sequence[str] | None) -> str:
    """Say which classes there are: all, or those most like a name."""
    if not names:
        return "no class_names were given"
    if len(names) <= 12:
        return f"the classes are {', '.join(names)}"
    close = difflib.get_close_matches(name, names, n=3)
    return (
        f"did you mean {', '.join(map(repr, close))}? " if close else ""
    ) + f"there are {len(names)}, such as {', '.join(names[:4])}"


class _Neuron:
    """One unit of a layer, or one of its channels: the mean over the axes behind it."""

    def __init__(self, layer: str, index: Any) -> None:
        self.layer = layer
        self.index = (index,) if isinstance(index, (int, np.integer)) else tuple(index)
        self.__name__ = f"{layer}[{', '.join(map(str, self.index))}]"

    def __call__(self, output: Tensor) -> Tensor:
        shape = tuple(output.shape[1:])
        inside = len(self.index) <= len(shape) and all(
            -size <= i < size for i, size in zip(self.index, shape, strict=False)
        )
        if not inside:
            raise InputError(
                f"there is no unit {self.index} in layer {self.layer!r}, which puts out {shape} "
                "for each row"
            )
        unit: Tensor = output[(slice(None), *self.index)]
        return unit if unit.ndim == 1 else unit.flatten(1).mean(1)


def neuron_of(target: Any) -> tuple[str, Any] | None:
    """Return the layer and the index of a target that names a neuron: ``("conv1", (3, 0, 0))``."""
    if not isinstance(target, tuple) or len(target) != 2 or not isinstance(target[0], str):
        return None
    index = target[1]
    whole = (int, np.integer)
    if isinstance(index, bool) or not (
        isinstance(index, whole)
        or (isinstance(index, (tuple, list)) and all(isinstance(i, whole) for i in index) and index)
    ):
        return None
    return target[0], index


def is_function(target: Any) -> bool:
    """Whether a target is a function of the output, or a list of such."""
    return bool(_functions(target))


def _functions(target: Any) -> tuple[Callable[[Any], Tensor], ...]:
    if callable(target):
        return (target,)
    if isinstance(target, (list, tuple)) and target and all(map(callable, target)):
        return tuple(target)
    return ()


def _is_nested(target: Any) -> bool:
    if isinstance(target, (np.ndarray, Tensor)):
        return target.ndim == 2
    return (
        isinstance(target, (list, tuple))
        and len(target) > 0
        and all(isinstance(part, (list, tuple)) for part in target)
    )


def _of_function(function: Callable[[Any], Tensor], output: Any, rows: int | None) -> Tensor:
    try:
        score = function(output)
    except PellucidError:
        raise
    except Exception as error:
        raise ModelError(
            f"the target function failed on the model's output ({describe(output)}): {error}"
        ) from error
    if not isinstance(score, Tensor):
        raise ModelError(f"the target function returned a {type(score).__name__}, not a tensor")
    if score.ndim == 2 and score.shape[1] == 1:
        score = score[:, 0]
    if score.ndim != 1 or (rows is not None and len(score) != rows):
        raise ModelError(
            f"the target function returned shape {tuple(score.shape)}; expected one number for "
            f"each row{f', shape ({rows},)' if rows is not None else ''}"
        )
    return score


def known_names(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the names of classes, checked."""
    if names is None:
        return None
    if isinstance(names, str):
        raise InputTypeError(f"class_names is the text {names!r}; give a list of names")
    known = tuple(map(str, names))
    if len(set(known)) < len(known):
        twice = next(name for i, name in enumerate(known) if name in known[:i])
        raise InputError(f"class_names hold {twice!r} more than once; each class needs its own")
    return known


def _plain(value: Any) -> Any:
    """Return Python's own number for one of NumPy's or torch's."""
    single = isinstance(value, np.generic) or (isinstance(value, Tensor) and value.numel() == 1)
    return value.item() if single else value


def _is(target: Any, word: str) -> bool:
    return isinstance(target, str) and target == word


def _brief(target: Any) -> str:
    text = repr(target)
    return text if len(text) <= 40 else f"{text[:37]}..."
