"""What lets Captum compute under our care: a module of one score, and everything left as it was."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

from pellucid.errors import InputError, ModelError, PellucidError
from pellucid.interpret.block import Block
from pellucid.interpret.memory import is_out_of_memory
from pellucid.interpret.points import Leaves
from pellucid.interpret.targets import Score

# What Captum says at every call of what it does to the model and its inputs; it is undone here.
_TALK = (
    "Setting forward, backward hooks",
    "Setting backward hooks on ReLU",
    "Input Tensor .* did not already require gradients",
    "Input Tensor .* has a dtype of",
    "You are providing multiple inputs for Lime",
    "Internal batch size cannot be less than",
    "This method will be removed in future",
)


class Scored(nn.Module):
    """The model with its target chosen: Captum needs one module that puts out one number a row.

    Parameters
    ----------
    block
        Rows, and their targets.
    model
        The module whose parts Captum is to find; None where it needs none.
    """

    def __init__(self, block: Block, model: nn.Module | None = None) -> None:
        super().__init__()
        if model is not None:
            self.model = model
            squash = block.score.squash if isinstance(block.score, Score) else nn.Identity()
            if not isinstance(squash, nn.Identity):
                self.squash = squash
        self._block = block

    def forward(self, *tensors: Any) -> Tensor:
        """Return one score a row; what comes last are the rows' numbers."""
        # Captum multiplies the batch, by steps, draws or baselines; and the row numbers with it.
        *leaves, rows = tensors
        return counted(self._block.scores(tuple(leaves), rows)[:, 0], self._block)


def counted(scores: Tensor, block: Block) -> Tensor:
    """Return the scores; what is differentiated of them is counted."""

    def count(gradient: Tensor) -> None:
        block.engine.count.backward += len(gradient)

    if scores.requires_grad:
        scores.register_hook(count)  # type: ignore[no-untyped-call]
    return scores


def module_of(block: Block, what: str) -> nn.Module:
    """Return the model as the module whose layers a method works on.

    Raises
    ------
    InputError
        If it is a function.
    """
    model = block.engine.model
    if model.module is None:
        raise InputError(
            f"{what} works on a module's layers, and the model is a function; pass the "
            "torch.nn.Module, or use method='integrated_gradients'"
        )
    return model.module


def refuse_softmax(block: Block, model: nn.Module, what: str) -> None:
    """Raise an `InputError` where DeepLIFT would meet a softmax."""
    score = block.score
    if score is not None and score.layer is not None:
        return  # a neuron's activation: what lies behind it has no part in it
    softmax = isinstance(score, Score) and score.output == "probability" and not score.binary
    if softmax or any(isinstance(m, nn.Softmax) for m in model.modules()):
        raise InputError(
            f"{what} is not defined behind a softmax: Captum's rule for it mixes the rows of a "
            "batch, and DeepLIFT's authors explain the logits. Use output='raw' and a model that "
            "ends in logits, or method='integrated_gradients'"
        )


def delegated(
    block: Block,
    attribute: Callable[[Leaves, Leaves, Tensor], Leaves],
    *,
    what: str,
    advice: str = "",
    width: int = 1,
    reduce: bool = True,
) -> Tensor:
    """Let Captum compute, chunk by chunk, with the model left as it was after each.

    Parameters
    ----------
    block
        Rows at some place.
    attribute
        As `Block.delegate` takes it.
    what, advice
        Who computes, and what to do where it cannot: for the error.
    width, reduce
        As of `Block.delegate`.

    Returns
    -------
    torch.Tensor
        Shape (rows, 1, values).

    Raises
    ------
    ModelError
        With what Captum, or the model within it, raised.
    """
    name, module = block.engine.model.name, block.engine.model.module
    chunks = itertools.count()

    def careful(inputs: Leaves, baselines: Leaves, rows: Tensor) -> Leaves:
        seed = block.engine.seed
        key = [seed % 2**32, seed >> 32, block.rows.start, next(chunks)]
        with _left_as_it_was(module), _numpy_seeded(key), warnings.catch_warnings():
            for talk in _TALK:
                warnings.filterwarnings("ignore", message=talk)
            # The frozen parameters need none, and hooks are heard where gradients flow.
            return attribute(tuple(leaf.requires_grad_() for leaf in inputs), baselines, rows)

    try:
        before = block.source.inputs if block.place.inside else ()
        with _differentiable((*before, *block.beside)):
            return block.delegate(careful, width=width, reduce=reduce)
    except Exception as error:
        if isinstance(error, PellucidError) or is_out_of_memory(error):
            raise
        raise ModelError(
            f"Captum's {what} cannot take {name}: {type(error).__name__}: {error}"
            + (f"\n{advice}" if advice else "")
        ) from error


@contextlib.contextmanager
def _left_as_it_was(model: nn.Module | None) -> Iterator[None]:
    """Take off the modules what Captum put there, and put back what it took, or replaced.

    It stores tensors, rules and hooks on them, all of which stay when a pass fails; and its LRP
    deletes rules that were there before, and swaps the storage of weights.
    """
    modules = [] if model is None else list(model.modules())
    attributes = [(m, dict(vars(m))) for m in modules]
    hooks = [
        (m, name, dict(value))
        for m, kept in attributes
        for name, value in kept.items()
        if "_hooks" in name and isinstance(value, dict)
    ]
    weights = [] if model is None else [(p, p.data) for p in model.parameters()]
    try:
        yield
    finally:
        for module, kept in attributes:
            now = vars(module)
            for name in now.keys() - kept.keys():
                del now[name]
            for name in kept.keys() - now.keys():
                now[name] = kept[name]
        for module, name, known in hooks:
            here = getattr(module, name)
            for key in here.keys() - known.keys():
                del here[key]
        for parameter, data in weights:
            if parameter.data_ptr() != data.data_ptr():
                parameter.data = data


@contextlib.contextmanager
def _differentiable(inputs: Leaves) -> Iterator[None]:
    """Let gradients flow where none are asked for, but Captum's hooks listen for them.

    Before the layer that is attributed to, and from inputs that are carried along.
    """
    for leaf in inputs:
        leaf.requires_grad_()
    try:
        yield
    finally:
        for leaf in inputs:
            leaf.requires_grad_(False)


@contextlib.contextmanager
def _numpy_seeded(key: list[int]) -> Iterator[None]:
    """Seed NumPy's global random state, which Captum's GradientShap draws from; put it back."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(key)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
