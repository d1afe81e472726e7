"""Pictures of results: every function takes a result and returns a plain Plotly figure."""

from pellucid.viz import data
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
from pellucid.viz.data.auto import auto
from pellucid.viz.importance import importance
from pellucid.viz.model.architecture import architecture
from pellucid.viz.model.distributions import biases, weight_distributions
from pellucid.viz.model.feature_maps import feature_maps
from pellucid.viz.model.functions import activation_functions
from pellucid.viz.model.icicle import icicle
from pellucid.viz.model.landscape import landscape
from pellucid.viz.model.overview import activations
from pellucid.viz.model.weights import weights
from pellucid.viz.predictions.calibration import calibration
from pellucid.viz.predictions.confusion import confusion_matrix
from pellucid.viz.predictions.curves import precision_recall, roc
from pellucid.viz.predictions.gallery import prediction_gallery
from pellucid.viz.predictions.residuals import residuals
from pellucid.viz.predictions.scores import confidence, decision_values
from pellucid.viz.projection.clusters import clusters
from pellucid.viz.projection.components import loadings, scree
from pellucid.viz.projection.measures import map_measures
from pellucid.viz.projection.multiples import projections
from pellucid.viz.projection.over_steps import projection_over_steps
from pellucid.viz.projection.scatter import scatter
from pellucid.viz.projection.torn import torn_neighbors
from pellucid.viz.report import report
from pellucid.viz.show import show
from pellucid.viz.training.convergence import convergence
from pellucid.viz.training.curves import loss_curves
from pellucid.viz.training.gradients import gradient_flow
from pellucid.viz.training.health import training_health
from pellucid.viz.training.pictures import run_pictures
from pellucid.viz.training.rates import learning_rate
from pellucid.viz.training.ridgelines import ridgelines
from pellucid.viz.training.statistics import layer_statistics, update_ratios
from pellucid.viz.training.watched import watched

__all__ = [
    "activation_functions",
    "activations",
    "architecture",
    "auto",
    "bar",
    "beeswarm",
    "biases",
    "calibration",
    "clusters",
    "compare",
    "confidence",
    "confusion_matrix",
    "convergence",
    "data",
    "decision",
    "decision_values",
    "dependence",
    "feature_maps",
    "figure",
    "gradient_flow",
    "heatmap",
    "icicle",
    "image",
    "importance",
    "interactions",
    "landscape",
    "layer_statistics",
    "learning_rate",
    "loadings",
    "loss_curves",
    "map_measures",
    "path",
    "precision_recall",
    "prediction_gallery",
    "projection_over_steps",
    "projections",
    "report",
    "residuals",
    "ridgelines",
    "roc",
    "run_pictures",
    "sample_matrix",
    "scatter",
    "scree",
    "show",
    "stacked",
    "token_matrix",
    "tokens",
    "torn_neighbors",
    "training_health",
    "update_ratios",
    "watched",
    "waterfall",
    "weight_distributions",
    "weights",
]
