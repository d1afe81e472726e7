"""What a metric's name says: a loss or an accuracy, of training or of held-out samples."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

TRAINING, HELD_OUT = "training", "held out"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PARTS = {
    **dict.fromkeys(("train", "training", "tr", "fit"), TRAINING),
    **dict.fromkeys(
        ("val", "valid", "validation", "eval", "evaluation", "test", "testing", "dev", "holdout"),
        HELD_OUT,
    ),
}
# What a loss is called; the first are what is minimized, the others may stand beside it.
_LOSSES = ("loss", "cost", "objective", "criterion", "nll", "ce", "bce", "xent", "xentropy",
           "deviance", "mse", "rmse", "mae", "mape", "perplexity", "ppl", "error",
           "err")  # fmt: skip
_ACCURACIES = ("accuracy", "acc", "top")
_SCORES = ("f", "auc", "auroc", "roc", "ap", "map", "precision", "recall", "r", "iou", "dice",
           "kappa", "mcc", "bleu", "rouge", "score", "reward", "ndcg", "correlation")  # fmt: skip
_RATES = ("lr", "lrs")
# Words that say how a number was taken, not what it is.
_DECORATION = frozenset(
    ("epoch", "step", "batch", "iter", "mean", "avg", "average", "running", "total", "metric",
     "metrics", "main", "categorical", "sparse", "binary", "multi", "multiclass", "log", "s", "0")
)  # fmt: skip
_COUNTERS = frozenset(("epoch", "step", "steps", "iteration", "iter", "global", "batch"))


@dataclass(frozen=True)
class Meaning:
    """What a metric's name says.

    Attributes
    ----------
    quantity
        ``"loss"`` (or another error: lower is better), ``"accuracy"``, ``"score"`` (higher is
        better), ``"learning rate"``, ``"counter"`` or ``"other"``.
    part
        ``"training"`` or ``"held out"``: the samples that it was taken on. A name that does not
        say so means training.
    extra
        Words that say something else: ``("kl",)`` of ``"train/kl_loss"``.
    rank
        0 for the most usual word for the quantity; larger for others.
    """

    quantity: str
    part: str
    extra: tuple[str, ...] = ()
    rank: int = 0


@functools.lru_cache(maxsize=4096)
def meaning(name: str) -> Meaning:
    """Say what a metric is by its name.

    Parameters
    ----------
    name
        As loops and other tools write it: ``"loss"``, ``"train/loss"``, ``"val_loss"``,
        ``"eval_loss"``, ``"loss/train"``, ``"train_loss_epoch"``, ``"valAcc"``.

    Examples
    --------
    >>> meaning("Loss/validation").quantity, meaning("Loss/validation").part
    ('loss', 'held out')
    >>> meaning("train_acc_epoch")
    Meaning(quantity='accuracy', part='training', extra=(), rank=0)
    """
    words = [piece for word in _WORDS.findall(name) for piece in _split(word.lower())]
    part = next((_PARTS[word] for word in words if word in _PARTS), TRAINING)
    words = [word for word in words if word not in _PARTS]
    if words and all(word in _COUNTERS for word in words):
        return Meaning("counter", part)
    if any(word in _RATES for word in words) or {"learning", "rate"} <= set(words):
        return Meaning("learning rate", part)
    for quantity, known in (("loss", _LOSSES), ("accuracy", _ACCURACIES), ("score", _SCORES)):
        found = [word for word in words if word in known]
        if found:
            # An accuracy is the same by any name; a loss is not the same as an absolute error.
            rank = 0 if quantity == "accuracy" else min(known.index(word) for word in found)
            same = {"top", "1"} if quantity == "accuracy" else set()
            extra = [w for w in words if w not in known and w not in _DECORATION | same]
            return Meaning(quantity, part, tuple(extra), rank)
    crossed = {"cross", "entropy"}
    if crossed <= set(words):
        extra = [word for word in words if word not in _DECORATION | crossed]
        return Meaning("loss", part, tuple(extra), 1)
    return Meaning("other", part, tuple(word for word in words if word not in _DECORATION))


def _split(word: str) -> list[str]:
    """Take apart words that were written as one: ``valloss``, ``logloss``."""
    for part in sorted(_PARTS, key=len, reverse=True):
        rest = word.removeprefix(part)
        if rest != word and rest in (*_LOSSES, *_ACCURACIES):
            return [part, rest]
    for ending in ("loss", "accuracy"):
        start = word.removesuffix(ending)
        if start and start != word:
            return [start, ending]
    return [word]


def plainness(name: str) -> tuple[int, int]:
    """Return how far a metric's name is from the plainest for its quantity; least is plainest."""
    what = meaning(name)
    return len(what.extra), what.rank


def named(names: Iterable[str], quantity: str, part: str | None = None) -> list[str]:
    """Return the names of one quantity, the plainest first.

    Parameters
    ----------
    names
        Of metrics.
    quantity
        As in `Meaning`.
    part
        ``"training"`` or ``"held out"``; None for both.
    """
    said = {name: meaning(name) for name in names}
    chosen = [
        name
        for name, what in said.items()
        if what.quantity == quantity and part in (None, what.part)
    ]
    return sorted(chosen, key=plainness)


def pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return which metrics of training and of held-out samples measure the same.

    Returns
    -------
    list of (str, str)
        The name of the metric on the training samples, and that on held-out ones; losses first,
        each name once.
    """
    names = list(names)
    found = []
    taken: set[str] = set()
    for quantity in ("loss", "accuracy", "score"):
        for training in named(names, quantity, TRAINING):
            what = meaning(training)
            for other in named(names, quantity, HELD_OUT):
                same = meaning(other)
                if other not in taken and (same.extra, same.rank) == (what.extra, what.rank):
                    found.append((training, other))
                    taken.add(other)
                    break
    return found
