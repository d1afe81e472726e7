"""Arrays become pictures: attribution maps, what was explained, and where colours end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results import Explanation
from pellucid.viz.pixels import to_bytes
from pellucid.viz.theme import number, percent

_CHANNELS = (1, 3, 4)


def maps(explanation: Explanation, shown: int) -> tuple[np.ndarray, int]:
    """Return the attributions as (sample, row, column), and how many channels were summed."""
    values = np.asarray(explanation.values)
    axes = tuple(explanation.axes or ())
    if axes == ("sample", "row", "column") and values.ndim == 3:
        return values[:shown], 1
    if is_picture(axes) and len(axes) == values.ndim == 4 and "channel" in axes:
        channel = axes.index("channel")
        return values[:shown].sum(axis=channel), values.shape[channel]
    raise InputError(
        f"viz.image draws values with axes (sample, channel, row, column), (sample, row, column, "
        f"channel) or (sample, row, column), but these have shape {values.shape} with axes "
        f"{axes or 'not known'}; viz.bar draws one axis of features"
    )


def is_picture(axes: Sequence[str] | None) -> bool:
    """Whether the last axes are rows and columns, with or without channels behind them."""
    named = tuple(axes or ())
    return (named[:-1] if named[-1:] == ("channel",) else named)[-2:] == ("row", "column")


@dataclass(frozen=True)
class Limit:
    """Where colours end, and what lies beyond.

    Attributes
    ----------
    end
        The magnitude of the strongest colour.
    pixels, mass
        Shares of the pixels, and of the sum of their magnitudes, that are clipped to it.
    empty
        Whether every attribution is zero.
    """

    end: float
    pixels: float = 0.0
    mass: float = 0.0
    empty: bool = False

    def note(self, magnitude: bool = False, of: str = "pixels") -> str:
        """Return what is clipped in words; empty where nothing is."""
        if self.empty:
            return "every attribution is zero"
        if not self.pixels:
            return ""
        sign = "" if magnitude else "±"
        return f"colours clipped at {sign}{number(self.end)}: {self.shares(of)}"

    def shares(self, of: str = "pixels") -> str:
        """Return how much is clipped in words."""
        return f"{percent(self.pixels)} of the {of}, {percent(self.mass)} of the mass"


def limit(attributions: np.ndarray, clip: float | None) -> Limit:
    """Return where the colours end, the same for all panels, and how much that clips.

    A percentile that falls on zero would paint everything else at full strength, so then nothing
    is clipped.
    """
    if clip is not None and not (isinstance(clip, (int, float)) and 0 < clip <= 100):
        raise InputError(f"clip is a percentile, above 0 and at most 100, or None; got {clip!r}")
    sizes = np.abs(attributions[np.isfinite(attributions)]).astype(np.float64)
    largest = float(sizes.max()) if sizes.size else 0.0
    if largest == 0:
        return Limit(1.0, empty=True)
    # The neighbour above: of a few pixels the largest must not always be clipped.
    end = largest if clip is None else float(np.percentile(sizes, clip, method="higher"))
    if end <= 0 or end >= largest:
        return Limit(largest)
    beyond = sizes > end
    return Limit(end, float(beyond.mean()), float(sizes[beyond].sum() / sizes.sum()))


def shown_inputs(explanation: Explanation, shown: int) -> tuple[np.ndarray | None, str]:
    """Return uint8 pictures of what was explained, (sample, row, column[, 3]), and a note.

    They come from `display` where the explanation has it, else from the inputs. None where
    neither is a picture.
    """
    if explanation.display is not None:
        found, order = np.asarray(explanation.display)[:shown], _channel_axis(explanation.display)
    elif isinstance(explanation.inputs, np.ndarray) and explanation.inputs.ndim in (3, 4):
        found, order = explanation.inputs[:shown], _input_channels(explanation)
    else:
        return None, ""
    if len(found) < shown:
        found = np.broadcast_to(found, (shown, *found.shape[1:]))
    notes = []
    if order is not None:
        found = np.moveaxis(found, order, -1)
        if found.shape[-1] not in _CHANNELS:
            notes.append(f"the input is shown as the mean of its {found.shape[-1]} channels")
            found = found.mean(axis=-1, keepdims=True)
        found = found[..., 0] if found.shape[-1] == 1 else found[..., :3]
    pixels, rescaled = to_bytes(found)
    if rescaled:
        notes.append(f"the input's brightness is rescaled from {rescaled}")
    return pixels, "; ".join(notes)


def _input_channels(explanation: Explanation) -> int | None:
    """Return the axis of the inputs' channels: where the values have theirs."""
    inputs = np.asarray(explanation.inputs)
    if inputs.ndim == 3:
        return None
    axes = tuple(explanation.axes or ())
    if "channel" in axes:
        return 3 if axes[-1] == "channel" else 1
    # A map has no channels to go by.
    return channels(inputs.shape)


def channels(shape: tuple[int, ...]) -> int:
    """Return which axis of pictures of that shape, with four axes, is that of the channels."""
    return 3 if shape[3] in _CHANNELS and shape[1] not in _CHANNELS else 1


def _channel_axis(display: np.ndarray) -> int | None:
    if display.ndim == 3:
        return None
    if display.ndim != 4:
        raise InputError(
            f"display has shape {display.shape}; pictures are (sample, row, column), (sample, "
            "row, column, 3) or (sample, channel, row, column)"
        )
    return 3 if display.shape[3] in _CHANNELS else 1
