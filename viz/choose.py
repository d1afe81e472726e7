"""Which picture a result gets."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import Explanation, Importance, Projection, Run, Snapshot
from pellucid.viz import words
from pellucid.viz.image import image
from pellucid.viz.importance import importance
from pellucid.viz.model import weights
from pellucid.viz.scatter import scatter
from pellucid.viz.tabular import bar, waterfall
from pellucid.viz.training import loss_curves


def figure(result: Any, *, theme: str = "light") -> go.Figure:
    """Draw a result with the function that fits it.

    Parameters
    ----------
    result
        An Explanation, Importance, Projection, Run or Snapshot.
    theme
        ``"light"`` or ``"dark"``.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the result is of a shape that has no picture.
    InputTypeError
        If it is not a result.
    """
    if isinstance(result, Explanation):
        return _explanation(result, theme)
    if isinstance(result, Importance):
        return importance(result, theme=theme)
    if isinstance(result, Projection):
        return scatter(result, theme=theme)
    if isinstance(result, Run):
        return loss_curves(result, theme=theme)
    if isinstance(result, Snapshot):
        return weights(result, theme=theme)
    raise InputTypeError(
        f"there is no picture of a {type(result).__name__}; give an Explanation, Importance, "
        "Projection, Run or Snapshot"
    )


def _explanation(explanation: Explanation, theme: str) -> go.Figure:
    explanation = words.single(explanation, "figure")
    axes = tuple(explanation.axes or ())
    if axes[-2:] == ("row", "column"):
        return image(explanation, theme=theme)
    if explanation.values.ndim == 2:
        known = (explanation.prediction, explanation.baseline_prediction, explanation.residual)
        complete = all(part is not None and np.isfinite(part[0]) for part in known)
        draw = waterfall if complete and np.isfinite(explanation.values[0]).all() else bar
        return draw(explanation, theme=theme)
    raise InputError(
        f"there is no picture of values of shape {explanation.values.shape} with axes "
        f"{axes or 'not known'}; take explanation.to_frame(), or add values up with "
        "explanation.group_sums(groups)"
    )
