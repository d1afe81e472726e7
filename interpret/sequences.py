"""Scores of models that say something at every position of a sequence: the next token, a label.

The class of a target is a position and a token in one number, `position * classes + token`: each
row has its own positions, as its padding asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import InputError, InputTypeError, ModelError
from pellucid.interpret.inputs import Inputs, is_whole
from pellucid.interpret.models import Model
from pellucid.interpret.outputs import check_output, describe, scored_part
from pellucid.interpret.spelling import token_id
from pellucid.interpret.targets import Scoring, class_index
from pellucid.interpret.tokens import is_tokens

_WORDS = ("tokens", "generated", "position")


@dataclass(frozen=True)
class Asked:
    """What is asked of a sequence's output.

    Attributes
    ----------
    kind
        ``"tokens"`` of the sequence, ``"generated"`` ones, a label at a ``"position"``, or the
        ``"next"`` token.
    value
        The first token, how many, the position; one for each row perhaps.
    label
        Which class, where one is chosen: a class, one for each row, several in a list in a list, or
        ``"predicted"``.
    """

    kind: str
    value: Any = None
    label: Any = "predicted"


def asked_of_sequence(target: Any, model: Model) -> Asked | None:
    """Return what a target asks of a sequence; None where it is no such target.

    Raises
    ------
    InputError, InputTypeError
        If it begins like one, and is none.
    """
    if not isinstance(target, tuple) or not target or target[0] not in _WORDS:
        return None
    kind = target[0]
    if model.module is not None and kind in dict(model.module.named_modules()):
        return None  # a neuron of a layer of this name
    most = 3 if kind == "position" else 2
    if not 2 <= len(target) <= most:
        shown = {
            "tokens": "('tokens', start)",
            "generated": "('generated', count)",
            "position": "('position', i), or ('position', i, class)",
        }
        raise InputError(f"target={target!r}; give {shown[kind]}")
    value = target[1]
    if kind == "generated":
        if not is_whole(value) or value < 1:
            raise InputError(
                f"target={target!r}; give how many tokens to generate, a whole number from 1"
            )
    elif not is_whole(value):
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        if array.ndim > 1 or array.dtype.kind not in "iu":
            raise InputTypeError(
                f"target={target!r}; give a position as a whole number, or one for each sample"
            )
        value = array if array.ndim else int(array)
    return Asked(kind, value, *target[2:])


class TokenScore(Scoring):
    """Classes at positions of an output (rows, positions, classes).

    Parameters
    ----------
    output
        ``"raw"``, or ``"probability"`` to put a softmax over the classes at each position.
    index
        Position and class of each row and target, -1 where a row has fewer targets; None for the
        class that each row's model predicts at `positions`.
    positions
        For each row, where its predicted class is read.
    classes
        How many there are.
    per_target
        Whether there is a target axis.
    spoken, running
        Whether the classes are tokens, and whether those of a row are a text.
    class_names
        Names of the classes.
    units
        Of the scores.
    part
        Which part of the output is scored, or None.

    Attributes
    ----------
    missing
        Whether there is no such target: (rows, targets); None where all rows have as many.
    """

    shared = False
    binary = False
    squashed = False

    def __init__(
        self,
        *,
        output: str,
        index: Tensor | None,
        positions: Tensor | None,
        classes: int,
        per_target: bool,
        spoken: bool,
        running: bool,
        class_names: tuple[str, ...] | None,
        units: str,
        part: str | None,
    ) -> None:
        self.output, self.index, self.classes = output, index, classes
        self.predicted, self.per_target = index is None, per_target
        self.spoken, self.running = spoken, running
        self.columns = 1 if index is None else index.shape[1]
        self.class_names, self.units, self.part = class_names, units, part
        self.squash: nn.Module = nn.Identity()
        self.positions = positions
        self.missing: np.ndarray | None = None
        if index is not None and bool((index < 0).any()):
            self.missing = (index < 0).numpy()

    def __call__(self, output: Any, index: Tensor | None) -> Tensor:
        """Return the scores (points, targets)."""
        assert index is not None
        logits = scored_part(output)[0]
        at = index.clamp_min(0)
        if self.output == "raw":
            scores: Tensor = logits.flatten(1).gather(1, at)
        else:
            where = (at // self.classes)[..., None]
            there = logits.gather(1, where.expand(-1, -1, self.classes)).softmax(-1)
            scores = there.gather(2, (at % self.classes)[..., None])[..., 0]
        return scores if self.missing is None else scores.where(index >= 0, 0)

    def choose(self, output: Any, numbers: Tensor) -> Tensor:
        """Return the class that is predicted at each row's position, with the position."""
        assert self.positions is not None
        logits = scored_part(output)[0]
        where = self.positions.to(logits.device)[numbers]
        there = logits[torch.arange(len(logits), device=logits.device), where]
        chosen: Tensor = where * self.classes + there.argmax(-1)
        return chosen

    def classes_of(self, index: Tensor) -> Tensor:
        """Return the classes alone, -1 for those that are missing."""
        return torch.where(index < 0, index, index % self.classes)


def token_score(
    asked: Asked | None,
    *,
    target: Any,
    output: str,
    class_names: tuple[str, ...] | None,
    example: Any,
    rows: int,
    inputs: Inputs,
    model: Model,
    sizes: Mapping[str, int],
    tokenizer: Any,
) -> TokenScore | None:
    """Return the scores of a sequence's output; None where the output or the target is of no such.

    Parameters
    ----------
    asked
        What the target asks of the sequence; None for a class or ``"predicted"``, which for a
        language model are of the next token.
    target, output, class_names
        As `explain` takes them.
    example, rows
        The model's output for some rows.
    inputs, model
        What it is of.
    sizes
        How many tokens the embeddings of the inputs of ids have.
    tokenizer
        The tokenizer, which knows tokens by their texts; or None.

    Raises
    ------
    InputError
        If a position or token is out of range.
    ModelError
        If the output is not of a sequence.
    """
    part, name = scored_part(example)
    if asked is None:
        sequence = isinstance(part, Tensor) and part.ndim == 3
        if not sequence or not _speaks(model, part, sizes):
            return None
        asked = Asked("next", label="predicted" if target is None else target)
    check_sequence(example, asked.kind)
    if output not in ("raw", "probability"):
        raise InputError(f"output={output!r} is not known; use 'raw' or 'probability'")
    check_output(part, rows)
    length, classes = part.shape[1:]
    if output == "probability" and bool(
        (part >= 0).all() and ((part.double().sum(-1) - 1).abs() < 1e-3).all()
    ):
        raise InputError(
            "output='probability' would put a softmax behind a model whose outputs are "
            "probabilities already; use output='raw'"
        )
    real = _Real.of(inputs, length)
    index, positions, per_target = None, None, False
    if asked.kind == "tokens":
        index, per_target = real.following(torch.as_tensor(asked.value), classes), True
    else:
        positions = real.position(-1 if asked.kind == "next" else asked.value)
        index, per_target = _chosen(asked, positions, classes, class_names, tokenizer)
    return TokenScore(
        output=output,
        index=index,
        positions=positions,
        classes=classes,
        per_target=per_target,
        spoken=class_names is None and (asked.kind != "position" or classes in sizes.values()),
        running=asked.kind == "tokens",
        class_names=class_names,
        units="probability" if output == "probability" else "logit" if name else "output",
        part=name,
    )


def check_sequence(example: Any, kind: str) -> Tensor:
    """Return the output (rows, positions, classes) that is scored, or raise a `ModelError`."""
    part, _ = scored_part(example)
    if isinstance(part, Tensor) and part.ndim == 3:
        return part
    raise ModelError(
        f"target=({kind!r}, ...) is of a model that puts out (samples, tokens, classes), such as a "
        f"language model; this one puts out {describe(part)}"
    )


def _speaks(model: Model, part: Tensor, sizes: Mapping[str, int]) -> bool:
    """Whether an output (rows, tokens, classes) is of a language model, that is of next tokens."""
    able = getattr(model.module, "can_generate", None)
    if callable(able):
        return bool(able())
    return part.shape[2] in sizes.values()


class _Real:
    """Where the tokens of each row stand that are no padding."""

    def __init__(self, kept: Tensor, ids: Tensor | None) -> None:
        self.count = kept.sum(1)
        # The columns of the tokens, one after another; padding last.
        self.columns = (~kept).to(torch.uint8).sort(dim=1, stable=True).indices
        self.ids = ids

    @classmethod
    def of(cls, inputs: Inputs, length: int) -> _Real:
        """Find the sequence that the output's positions are of."""
        path = sequence_path(inputs, length)
        if path is None:
            return cls(torch.ones(inputs.samples, length, dtype=torch.bool), None)
        ids, mask = inputs.tensors()[path].cpu(), inputs.mask(path)
        kept = torch.ones_like(ids, dtype=torch.bool) if mask is None else (mask != 0).cpu()
        return cls(kept, ids.long())

    def position(self, at: Any) -> Tensor:
        """Return the column of a token, counted from each row's first, or its last if negative."""
        wanted = torch.as_tensor(at)
        self._check_length(wanted)
        which = torch.where(wanted < 0, wanted + self.count, wanted)
        outside = ((which < 0) | (which >= self.count)).nonzero()
        if len(outside):
            row = int(outside[0])
            raise InputError(
                f"position {int(wanted.expand(len(self.count))[row])} is out of range: sample "
                f"{row} has {int(self.count[row])} tokens, 0 to {int(self.count[row]) - 1}"
            )
        return self.columns.gather(1, which.expand(len(self.count))[:, None])[:, 0]

    def following(self, start: Tensor, classes: int) -> Tensor:
        """Return position and id of every token from `start` on, each at what precedes it."""
        if self.ids is None:
            raise ModelError(
                "target=('tokens', ...) is of tokens that the model is given, and none of its "
                "inputs has ids for the positions of its output"
            )
        self._check_length(start)
        first = torch.where(start < 0, start + self.count, start).expand(len(self.count))
        outside = ((first < 1) | (first >= self.count)).nonzero()
        if len(outside):
            row = int(outside[0])
            most = int(self.count[row])
            raise InputError(
                f"target=('tokens', {int(start.expand(len(self.count))[row])}): sample {row} has "
                f"{most} {'token' if most == 1 else 'tokens'}, "
                + (
                    f"of which those from 1 to {most - 1} follow another; give the first one to "
                    "explain"
                    if most > 1
                    else "and before the first there is nothing that could explain it"
                )
            )
        order = first[:, None] + torch.arange(int((self.count - first).max()))
        there = order < self.count[:, None]
        last = self.columns.shape[1] - 1
        column = self.columns.gather(1, order.clamp(max=last))
        before = self.columns.gather(1, (order - 1).clamp(max=last))
        token = self.ids.gather(1, column)
        if bool(((token >= classes) & there).any()):
            raise ModelError(
                f"the sequence has the token {int(token[there].max())}, and the model puts out "
                f"{classes} tokens, 0 to {classes - 1}"
            )
        return torch.where(there, before * classes + token, -1)

    def _check_length(self, given: Tensor) -> None:
        if given.ndim and len(given) != len(self.count):
            raise InputError(
                f"target has {len(given)} positions; give one, or one for each of the "
                f"{len(self.count)} samples"
            )


def sequence_path(inputs: Inputs, length: int) -> str | None:
    """Return the ids that positions of the output are of; a decoder's before an encoder's."""
    fitting = [
        path
        for path, leaf in inputs.tensors().items()
        if is_tokens(leaf) and leaf.shape[1] == length and not path.endswith("attention_mask")
    ]
    decoder = [path for path in fitting if path.rpartition(".")[2] == "decoder_input_ids"]
    attributed = [path for path in fitting if path in inputs.attributed]
    return next(iter([*decoder, *attributed, *fitting]), None)


def _chosen(
    asked: Asked,
    positions: Tensor,
    classes: int,
    class_names: Sequence[str] | None,
    tokenizer: Any,
) -> tuple[Tensor | None, bool]:
    """Return the index of the classes that are asked for at positions, and if they are several."""
    wanted = asked.label
    if isinstance(wanted, str) and wanted == "predicted":
        return None, False
    if isinstance(wanted, str) and wanted == "all":
        raise InputError(
            f"target='all' would explain {classes} classes at each position; give a list in a "
            "list of those that matter, such as target=[[17, 4]]"
        )

    def one(value: Any) -> int:
        if isinstance(value, str) and class_names is None and asked.kind == "next":
            value = token_id(value, tokenizer)
        return class_index(value, classes, class_names)

    samples = len(positions)
    if isinstance(wanted, (Tensor, np.ndarray)):
        wanted = wanted.tolist()
    if (
        isinstance(wanted, (list, tuple))
        and len(wanted) == 1
        and isinstance(wanted[0], (list, tuple))
    ):
        several = torch.tensor([[one(value) for value in wanted[0]]])
        return positions[:, None] * classes + several, True
    if isinstance(wanted, (list, tuple)):
        if len(wanted) != samples:
            raise InputError(
                f"target has shape ({len(wanted)},); give one token, one for each of the {samples} "
                "samples, or several for every sample as a list in a list, [[17, 4]]"
            )
        ids = torch.tensor([one(value) for value in wanted])
    else:
        ids = torch.tensor([one(wanted)])
    return (positions * classes + ids)[:, None], False
