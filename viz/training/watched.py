"""What a few fixed samples gave over a training: predictions, a layer's units, feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Run, Watched
from pellucid.viz.theme import expect, positive_whole, theme_of
from pellucid.viz.training.classes import draw_classes, identity
from pellucid.viz.training.maps import draw_maps

_SAMPLES = 9


def watched(
    run: Run,
    name: str = "prediction",
    *,
    sample: int | None = None,
    form: Literal["lines", "stacked"] = "lines",
    samples: int = _SAMPLES,
    times: int = 10,
    channels: int = 12,
    class_names: Sequence[str] | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw what the fixed samples of a run gave, step after step.

    Predictions become a small panel for each sample, with a line for each class. Feature maps of a
    layer become one tiled picture of one sample: steps across, channels down, one range of colours.
    A layer of single units becomes such a picture too, with a column for each step.

    Parameters
    ----------
    run
        What was recorded.
    name
        ``"prediction"``, or a layer's name.
    sample
        Position of the sample to draw; None for all predictions, or for the first sample's maps.
    form
        Of predictions: ``"lines"``, or ``"stacked"`` for probabilities as areas on each other.
    samples
        How many samples' predictions to draw at most; the first ones.
    times, channels
        How many steps and channels of feature maps to draw at most, evenly chosen.
    class_names
        Names of the classes; None for their numbers.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If nothing of that name was watched, there is no such sample, or what is to be stacked are
        no probabilities.
    InputTypeError
        If it is not a Run.
    """
    look = theme_of(theme)
    expect(run, Run, "watched")
    if name not in run.watched:
        known = ", ".join(map(repr, run.watched)) or "nothing"
        raise InputError(f"the run {run.name!r} watched {known}; it has no {name!r}")
    if form not in ("lines", "stacked"):
        raise InputError(f"form is 'lines' or 'stacked'; got {form!r}")
    for value, option in ((samples, "samples"), (times, "times"), (channels, "channels")):
        positive_whole(value, option, "how many to draw at most")
    found = run.watched[name]
    count = found.values.shape[1] if found.values.ndim > 1 else 0
    if not len(found) or not count or not found.values.size:
        raise InputError(f"the run {run.name!r} holds no values of {name!r} to draw")
    whole = isinstance(sample, (int, np.integer)) and not isinstance(sample, bool)
    if sample is not None and not (whole and -count <= sample < count):
        raise InputError(f"sample is a position from 0 to {count - 1}; got {sample!r}")
    order = np.argsort(found.steps, kind="stable")
    found = Watched(found.steps[order], found.values[order], found.sample_ids)
    if name == "prediction" and found.values.ndim <= 3:
        chosen = list(range(min(count, samples))) if sample is None else [sample % count]
        return draw_classes(
            run, found, chosen, look,
            form=form, class_names=class_names, title=title, width=width, height=height,
        )  # fmt: skip
    one = (sample or 0) % count
    label = f"Output of {name or 'the model'} for sample {identity(found, one)}"
    return draw_maps(
        run, found.steps, found.values[:, one], label, look,
        times=times, channels=channels, title=title, width=width, height=height,
    )  # fmt: skip
