"""The plotly.js that a page carries: packed, and the small bundle where that suffices."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterable
from functools import cache
from importlib import resources

from plotly.offline import get_plotlyjs, get_plotlyjs_version

CARTESIAN_VERSION = "4.1.1"
# The trace types of plotly.js's cartesian bundle.
CARTESIAN = frozenset(
    {
        "bar",
        "box",
        "contour",
        "heatmap",
        "histogram",
        "histogram2d",
        "histogram2dcontour",
        "image",
        "pie",
        "scatter",
        "scatterternary",
        "violin",
    }
)


def packed(traces: Iterable[str]) -> str:
    """Return plotly.js in base64 of gzip, with all that these trace types need.

    Figures are made for the plotly.js that plotly.py ships, so the small bundle serves only where
    it is of the same major version.
    """
    major = get_plotlyjs_version().split(".")[0]
    if CARTESIAN.issuperset(traces) and CARTESIAN_VERSION.split(".", maxsplit=1)[0] == major:
        return _cartesian()
    return _full()


@cache
def _full() -> str:
    """Return plotly.py's own plotly.js; the same bytes each time."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


@cache
def _cartesian() -> str:
    """Return the bundle that ships with us."""
    name = f"vendored/plotly-cartesian-{CARTESIAN_VERSION}.min.js.gz"
    return base64.b64encode(resources.files("pellucid.viz").joinpath(name).read_bytes()).decode()
