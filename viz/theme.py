"""How every figure looks: colours, one template, one configuration, escaping, captions."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import Comparison, Provenance, Result

# Passed by every way out of Pellucid. plotly.js 4 would show a button that uploads the figure.
CONFIG: dict[str, Any] = {"showSendToCloud": False, "displaylogo": False, "responsive": True}

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
CAPTION_SIZE = 11
_EDGE = 16  # pixels between the figure's edge and its texts
_LINE = 15  # pixels of one line of a caption
_TITLE_LINE = 20
_ASSUMED_WIDTH = 680  # for wrapping text in a figure that takes the width it is given

Scale = tuple[tuple[float, str], ...]


def _stops(*colors: str) -> Scale:
    return tuple((i / (len(colors) - 1), color) for i, color in enumerate(colors))


@dataclass(frozen=True)
class Theme:
    """The colours of a figure. Zero on a diverging scale is nearly the paper's colour."""

    name: str
    paper: str
    ink: str
    quiet: str
    grid: str
    positive: str
    negative: str
    neutral: str
    missing: str
    warning: str
    diverging: Scale
    sequential: Scale
    points: Scale
    greys: Scale
    classes: tuple[str, ...]


# Blue to red and the Okabe-Ito colours are told apart with every common colour blindness.
LIGHT = Theme(
    name="pellucid",
    paper="#ffffff",
    ink="#1f2430",
    quiet="#5d6470",
    grid="#e4e6ea",
    positive="#b2182b",
    negative="#2166ac",
    neutral="#9aa0aa",
    missing="#a7a9ad",
    warning="#b34700",
    diverging=_stops(
        "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#fafafa",
        "#fddbc7", "#f4a582", "#d6604d", "#b2182b",
    ),
    sequential=_stops("#fafafa", "#dadaeb", "#9e9ac8", "#6a51a3", "#3f007d"),
    points=_stops("#440154", "#3e4a89", "#26828e", "#35b779", "#a5cf3a"),
    greys=_stops("#000000", "#ffffff"),
    classes=(
        "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a7f00", "#4d4d4d",
    ),
)  # fmt: skip
DARK = Theme(
    name="pellucid_dark",
    paper="#15181e",
    ink="#e6e8ec",
    quiet="#a2a9b4",
    grid="#2d323b",
    positive="#f08a5d",
    negative="#64aef0",
    neutral="#7d8491",
    missing="#6d7178",
    warning="#ffb454",
    diverging=_stops(
        "#9ad1ff", "#5fa8e6", "#3573ad", "#22425f", "#191c22",
        "#5c3524", "#a8572f", "#e88a54", "#ffc79e",
    ),
    sequential=_stops("#191c22", "#3f2f66", "#6a51a3", "#a99fd6", "#efedf8"),
    points=_stops("#6f4f9e", "#4a78b0", "#2a9d9a", "#4fc97e", "#f3e55c"),
    greys=_stops("#000000", "#ffffff"),
    classes=(
        "#56b4e9", "#e6783c", "#2fbf94", "#d994ba", "#e6b84a", "#7f9fff", "#f0e442", "#c4c8cf",
    ),
)  # fmt: skip
_THEMES = {"light": LIGHT, "dark": DARK}


def _template(look: Theme) -> go.layout.Template:
    axis = {
        "gridcolor": look.grid,
        "linecolor": look.grid,
        "zerolinecolor": look.quiet,
        "zerolinewidth": 1,
        "tickcolor": look.grid,
        "tickfont": {"color": look.quiet},
        "title": {"font": {"size": 12, "color": look.ink}, "standoff": 8},
    }
    scene_axis = {
        "backgroundcolor": look.paper,
        "gridcolor": look.grid,
        "linecolor": look.grid,
        "zerolinecolor": look.grid,
        "showbackground": True,
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 12, "color": look.ink},
            "title": {
                "font": {"size": 15, "color": look.ink, "weight": 600},
                "x": 0,
                "xref": "container",
                "xanchor": "left",
                "y": 1,
                "yref": "container",
                "yanchor": "top",
                "pad": {"l": _EDGE, "t": 14},
            },
            "paper_bgcolor": look.paper,
            "plot_bgcolor": look.paper,
            "colorway": look.classes,
            "colorscale": {
                "diverging": look.diverging,
                "sequential": look.sequential,
                "sequentialminus": look.sequential,
            },
            "xaxis": axis,
            "yaxis": axis,
            "scene": {"xaxis": scene_axis, "yaxis": scene_axis, "zaxis": scene_axis},
            "hoverlabel": {
                "align": "left",
                "bgcolor": look.paper,
                "bordercolor": look.quiet,
                "font": {"family": FONT, "size": 12, "color": look.ink},
            },
            "legend": {"bgcolor": "rgba(0,0,0,0)", "font": {"color": look.ink}},
            "modebar": {
                "bgcolor": "rgba(0,0,0,0)",
                "color": look.neutral,
                "activecolor": look.ink,
                # A user's own fig.show() does not pass our configuration, but does use this.
                "remove": ["sendChartToCloud"],
            },
        }
    )


TEMPLATES = {look.name: _template(look) for look in _THEMES.values()}
for _name, _made in TEMPLATES.items():
    pio.templates[_name] = _made


def theme_of(name: str) -> Theme:
    """Return the colours of a theme by its name."""
    if not isinstance(name, str) or name not in _THEMES:
        raise InputError(f"there is no theme {name!r}; give theme='light' or theme='dark'")
    return _THEMES[name]


# -- text ------------------------------------------------------------------------------------


def escape(text: Any) -> str:
    """Make text from outside literal in a figure.

    Plotly renders some HTML in every label, fills in ``%{...}`` in hover texts, and typesets what
    stands between dollar signs where a page has MathJax. Character references are undone last, so
    they pass all three.
    """
    plain = html.escape(str(text), quote=False)
    return plain.replace("$", "&#36;").replace("%{", "&#37;{")


def shorten(text: Any, length: int = 28) -> str:
    """Return text on one line, of at most `length` characters; not yet escaped.

    It is cut in the middle: long names often differ at their ends.
    """
    line = " ".join(str(text).split())
    if len(line) <= length:
        return line
    tail = (length - 1) // 3
    return f"{line[: length - 1 - tail].rstrip()}…{line[len(line) - tail :].lstrip()}"


def number(value: float) -> str:
    """Return a number as a person reads it."""
    return f"{float(value):.4g}".replace("-", "\N{MINUS SIGN}")


def percent(share: float) -> str:
    """Return a share in percent, with a sensible number of digits."""
    value = 100 * float(share)
    if value == 0 or abs(value) >= 10:
        return f"{value:.0f} %"
    return "below 0.01 %" if 0 < value < 0.01 else f"{value:.2g} %"


# -- data ------------------------------------------------------------------------------------


def compact(array: Any) -> np.ndarray:
    """Return an array that Plotly sends as a typed array: float32 where that holds the values."""
    found = np.asarray(array)
    if found.dtype == bool:
        return found.astype(np.uint8)
    if found.dtype.kind == "f" and found.dtype != np.float32:
        finite = found[np.isfinite(found)]
        largest = np.abs(finite).max() if finite.size else 0
        narrow = largest <= np.finfo(np.float32).max
        return found.astype(np.float32 if narrow else np.float64)
    return found


def expect(result: Any, kind: type[Result], function: str) -> None:
    """Raise unless `result` is of the kind that `function` draws."""
    if not isinstance(result, kind):
        raise InputTypeError(
            f"viz.{function} draws one {kind.__name__}, but was given a "
            f"{type(result).__name__}; viz.figure(result) picks the function for any result"
        )


def positive_whole(value: Any, name: str, meaning: str) -> int:
    """Return `value`, an integer of at least 1."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < 1:
        raise InputError(f"{name} is {meaning}, an integer of at least 1; got {value!r}")
    return int(value)


# -- layout ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """What stands around the plot: title above, caption below, and the room that they take.

    Attributes
    ----------
    left, right, axis
        Pixels left, right and below the plot that ticks and axis titles need.
    """

    title: str
    caption: str
    left: int = 60
    right: int = 24
    axis: int = 44
    above: int = 0
    width: int | None = None
    height: int | None = None

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            value = getattr(self, name)
            real = isinstance(value, (int, float, np.integer, np.floating))
            if value is not None and (not real or not 100 <= value <= 20_000):
                raise InputError(f"{name} is in pixels, from 100 to 20000; got {value!r}")

    def _wrapped(self, text: str, pixels: float) -> list[str]:
        room = (self.width or _ASSUMED_WIDTH) - 2 * _EDGE
        return textwrap.wrap(text, max(20, int(room / pixels)), break_on_hyphens=False)

    @property
    def caption_lines(self) -> list[str]:
        """The caption as it is set."""
        return self._wrapped(self.caption, 5.9)

    @property
    def title_lines(self) -> list[str]:
        """The title as it is set."""
        return self._wrapped(self.title, 9.4)

    @property
    def caption_height(self) -> int:
        """Pixels that the caption takes."""
        return _LINE * len(self.caption_lines) + 10 if self.caption else 0

    @property
    def top(self) -> int:
        """Pixels above the plot."""
        return 18 + _TITLE_LINE * len(self.title_lines) + self.above

    @property
    def bottom(self) -> int:
        """Pixels below the plot."""
        return self.axis + self.caption_height + 8

    def plot_height(self, natural: float) -> float:
        """Return the pixels left for the plot, where it would like `natural`."""
        if self.height is None:
            return natural
        return max(40.0, self.height - self.top - self.bottom)

    def apply(
        self, figure: go.Figure, look: Theme, result: Result | dict[str, Any], natural: float
    ) -> go.Figure:
        """Set the figure into its frame; of data that are no result, `drawn_from` says whence."""
        figure.update_layout(
            template=TEMPLATES[look.name],
            title={
                "text": "<br>".join(escape(line) for line in self.title_lines),
                # Plotly sets a title of several lines higher than one of a single line.
                "pad": {"t": 14 if len(self.title_lines) < 2 else 24, "l": _EDGE},
            },
            width=self.width,
            height=self.height or math.ceil(natural + self.top + self.bottom),
            margin={"l": self.left, "r": self.right, "t": self.top, "b": self.bottom},
            meta={
                "provenance": result if isinstance(result, dict) else provenance(result),
                "caption": {"text": self.caption, "height": self.caption_height},
            },
        )
        if self.caption:
            figure.add_annotation(
                name="caption",
                text="<br>".join(escape(line) for line in self.caption_lines),
                font={"size": CAPTION_SIZE, "color": look.quiet},
                align="left",
                showarrow=False,
                xref="paper",
                yref="paper",
                x=0,
                y=0,
                xanchor="left",
                yanchor="top",
                xshift=_EDGE - self.left,
                yshift=-self.axis,
            )
        return figure


def provenance(result: Result) -> dict[str, Any]:
    """Return where a result comes from, as plain words and numbers."""
    settings = {name: _plain(value) for name, value in result.settings.items()}
    found = {"result": type(result).__name__, "settings": settings, **asdict(result.provenance)}
    if isinstance(result, Comparison):
        found["explanations"] = {k: provenance(part) for k, part in result.explanations.items()}
    return found


def drawn_from(data: str, figure: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return where a figure of data comes from, which have no provenance of their own."""
    plain = {name: _plain(value) for name, value in settings.items()}
    return {"result": data, "figure": figure, "settings": plain, **asdict(Provenance())}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, np.generic):
        return _plain(value.item())
    return shorten(value, 200)


def sentences(parts: Sequence[str | None]) -> str:
    """Join what a caption says."""
    joined = " · ".join(part for part in parts if part)
    return joined[:1].upper() + joined[1:]
