"""Which picture a result gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import (
    Clusters,
    Comparison,
    Diagnosis,
    Explanation,
    Importance,
    Landscape,
    Predictions,
    Projection,
    Run,
    Snapshot,
)
from pellucid.viz.attributions import features, regions, words
from pellucid.viz.attributions.beeswarm import beeswarm
from pellucid.viz.attributions.compare import comparable, compare
from pellucid.viz.attributions.heatmap import heatmap
from pellucid.viz.attributions.image import image
from pellucid.viz.attributions.interactions import interactions, is_interactions
from pellucid.viz.attributions.pictures import is_picture
from pellucid.viz.attributions.tabular import bar, waterfall
from pellucid.viz.attributions.token_matrix import is_matrix, token_matrix
from pellucid.viz.attributions.tokens import is_text, tokens
from pellucid.viz.importance import importance
from pellucid.viz.model.architecture import architecture
from pellucid.viz.model.landscape import landscape
from pellucid.viz.model.weights import weights
from pellucid.viz.predictions.confusion import confusion_matrix
from pellucid.viz.predictions.gallery import prediction_gallery
from pellucid.viz.predictions.residuals import residuals
from pellucid.viz.projection.clusters import clusters
from pellucid.viz.projection.scatter import scatter
from pellucid.viz.training.curves import loss_curves
from pellucid.viz.training.health import training_health

_MANY = 20  # samples of a table from which on a picture shows all of them


def figure(result: Any, *, theme: str = "light") -> go.Figure:
    """Draw a result with the function that fits it.

    Parameters
    ----------
    result
        An Explanation, Comparison, Importance, Projection, Clusters, Run, Diagnosis, Snapshot,
        Landscape or Predictions.
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
    for kind, draw in _DRAW.items():
        if isinstance(result, kind):
            return draw(result, theme=theme)
    *most, last = (kind.__name__ for kind in _DRAW)
    raise InputTypeError(
        f"there is no picture of a {type(result).__name__}; give one of the results "
        f"{', '.join(most)} or {last}"
    )


def _snapshot(snapshot: Snapshot, theme: str) -> go.Figure:
    # Without inputs there is no way through the model to be drawn.
    return architecture(snapshot, theme=theme) if snapshot.edges else weights(snapshot, theme=theme)


def _predictions(predictions: Predictions, theme: str) -> go.Figure:
    if predictions.kind == "regression":
        return residuals(predictions, theme=theme)
    if predictions.truth is None:
        return prediction_gallery(predictions, order="most confident", theme=theme)
    return confusion_matrix(predictions, theme=theme)


def _explanation(explanation: Explanation, theme: str) -> go.Figure:
    if isinstance(explanation.at, tuple) and len(explanation.at) > 1:
        return compare(explanation, theme=theme)
    explanation = words.one_input(explanation, "figure")
    if is_matrix(explanation):
        return token_matrix(explanation, theme=theme)
    if explanation.targeted:
        return compare(explanation, theme=theme)
    if is_text(explanation):
        return tokens(explanation, theme=theme)
    axes = tuple(explanation.axes or ())
    if is_picture(axes) or regions.is_regions(explanation):
        return image(explanation, theme=theme)
    if is_interactions(explanation):
        return interactions(explanation, theme=theme)
    if explanation.values.ndim == 3 and axes:
        return heatmap(explanation, theme=theme)
    if explanation.values.ndim == 2:
        if len(explanation) >= _MANY and axes[1:] in {(axis,) for axis in features.PLAYERS}:
            return beeswarm(explanation, theme=theme)
        known = (explanation.prediction, explanation.baseline_prediction, explanation.residual)
        complete = all(np.isfinite(words.at(part, 0)) for part in known)
        draw = waterfall if complete and np.isfinite(explanation.values[0]).all() else bar
        return draw(explanation, theme=theme)
    raise InputError(
        f"there is no picture of values of shape {explanation.values.shape} with axes "
        f"{axes or 'not known'}; take explanation.to_frame(), or add values up with "
        "explanation.group_sums(groups)"
    )


_DRAW: dict[type, Callable[..., go.Figure]] = {
    Explanation: _explanation,
    Comparison: compare,
    Importance: importance,
    Projection: scatter,
    Clusters: clusters,
    Run: loss_curves,
    Diagnosis: training_health,
    Snapshot: _snapshot,
    Landscape: landscape,
    Predictions: _predictions,
}


def separate(result: Any) -> dict[str, Explanation]:
    """Return what a report draws in figures of their own: inputs, and places unlike each other."""
    if not isinstance(result, Explanation) or len(result.paths) < 2:
        return {}
    if not isinstance(result.at, tuple):
        return {f"Input {path}": result.select(path) for path in result.paths}
    if comparable(result):
        return {}
    return {f"At {place}": result.select(place) for place in result.at}
