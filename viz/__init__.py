"""Pictures of results: every function takes a result and returns a plain Plotly figure."""

from pellucid.viz.attributions.beeswarm import beeswarm
from pellucid.viz.attributions.compare import compare
from pellucid.viz.attributions.decision import decision
from pellucid.viz.attributions.dependence import dependence
from pellucid.viz.attributions.heatmap import heatmap
from pellucid.viz.attributions.image import image
from pellucid.viz.attributions.interactions import interactions
from pellucid.viz.attributions.path import path
from pellucid.viz.attributions.sample_matrix import sample_matrix
from pellucid.viz.attributions.stacked import stacked
from pellucid.viz.attributions.tabular import bar, waterfall
from pellucid.viz.attributions.token_matrix import token_matrix
from pellucid.viz.attributions.tokens import tokens
from pellucid.viz.choose import figure
from pellucid.viz.importance import importance
from pellucid.viz.model.weights import weights
from pellucid.viz.report import report
from pellucid.viz.scatter import scatter
from pellucid.viz.show import show
from pellucid.viz.training.curves import loss_curves

__all__ = [
    "bar",
    "beeswarm",
    "compare",
    "decision",
    "dependence",
    "figure",
    "heatmap",
    "image",
    "importance",
    "interactions",
    "loss_curves",
    "path",
    "report",
    "sample_matrix",
    "scatter",
    "show",
    "stacked",
    "token_matrix",
    "tokens",
    "waterfall",
    "weights",
]
