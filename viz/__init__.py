"""Pictures of results: every function takes a result and returns a plain Plotly figure."""

from pellucid.viz.choose import figure
from pellucid.viz.compare import compare
from pellucid.viz.heatmap import heatmap
from pellucid.viz.image import image
from pellucid.viz.importance import importance
from pellucid.viz.model import weights
from pellucid.viz.path import path
from pellucid.viz.report import report
from pellucid.viz.scatter import scatter
from pellucid.viz.show import show
from pellucid.viz.tabular import bar, waterfall
from pellucid.viz.token_matrix import token_matrix
from pellucid.viz.tokens import tokens
from pellucid.viz.training import loss_curves

__all__ = [
    "bar",
    "compare",
    "figure",
    "heatmap",
    "image",
    "importance",
    "loss_curves",
    "path",
    "report",
    "scatter",
    "show",
    "token_matrix",
    "tokens",
    "waterfall",
    "weights",
]
