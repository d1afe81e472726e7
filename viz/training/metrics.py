"""What a metric's name says to a picture: solid or dashed, in which panel, which way is better."""

from __future__ import annotations

import re

from pellucid.interpret.training.metric_names import HELD_OUT, meaning

_PARTS = "train|training|val|valid|validation|eval|evaluation|dev|test|testing|epoch|step|batch"


def role(name: str) -> str:
    """Return of which data a metric is: ``"training"``, ``"validation"`` or ``"test"``."""
    if meaning(name).part != HELD_OUT:
        return "training"
    return "test" if re.search(r"(?<![a-z])test", name.lower()) else "validation"


def subject(name: str) -> str:
    """Return what a metric measures: ``"loss"`` of ``"val_loss"`` and of ``"loss/train_epoch"``."""
    said = meaning(name)
    if said.quantity in ("loss", "accuracy") and not said.extra and said.rank == 0:
        return said.quantity
    words = [word for word in re.split(r"[\s_/.:\-]+", name) if word]
    kept = [word for word in words if not re.fullmatch(_PARTS, word.lower())]
    return " ".join(kept or words) or name


def is_loss(name: str) -> bool:
    """Say whether a metric is a loss, by its name."""
    return "loss" in name.lower()


def is_learning_rate(name: str) -> bool:
    """Say whether a metric is a learning rate, by its name: one of each group of parameters."""
    return meaning(name).quantity == "learning rate"


def is_counter(name: str) -> bool:
    """Say whether a metric only counts: the epoch beside the step."""
    return meaning(name).quantity == "counter"


def is_speed(name: str) -> bool:
    """Say whether a metric is about the machine, by its name."""
    return bool(re.search(r"per[_ ]?sec(ond)?s?$|runtime|throughput", name.lower()))


def lower_is_better(name: str) -> bool | None:
    """Return whether less is better, by the metric's name; None where it does not say."""
    return {"loss": True, "accuracy": False, "score": False}.get(meaning(name).quantity)
