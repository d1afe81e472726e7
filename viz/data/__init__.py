"""Pictures of data, before there is a model: arrays, data frames, dicts of columns, datasets."""

from pellucid.viz.data.auto import auto
from pellucid.viz.data.bar import bar
from pellucid.viz.data.box import box
from pellucid.viz.data.heatmap import heatmap
from pellucid.viz.data.histogram import histogram
from pellucid.viz.data.line import line
from pellucid.viz.data.parallel import parallel_coordinates
from pellucid.viz.data.scatter import scatter

__all__ = [
    "auto",
    "bar",
    "box",
    "heatmap",
    "histogram",
    "line",
    "parallel_coordinates",
    "scatter",
]
