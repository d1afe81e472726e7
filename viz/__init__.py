"""Pictures of results: every function takes a result and returns a plain Plotly figure."""

from pellucid.viz.beeswarm import beeswarm
from pellucid.viz.choose import figure
from pellucid.viz.compare import compare
from pellucid.viz.decision import decision
from pellucid.viz.dependence import dependence
from pellucid.viz.heatmap import heatmap
from pellucid.viz.image import image
from pellucid.viz.importance import importance
from pellucid.viz.interactions import interactions
from pellucid.viz.model import weights
from pellucid.viz.path import path
from pellucid.viz.report import report
from pellucid.viz.sample_matrix import sample_matrix
from pellucid.viz.scatter import scatter
from pellucid.viz.show import show
from pellucid.viz.stacked import stacked
from pellucid.viz.tabular import bar, waterfall
from pellucid.viz.token_matrix import token_matrix
from pellucid.viz.tokens import tokens
from pellucid.viz.training import loss_curves

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
