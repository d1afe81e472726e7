"""What figures of many samples share: which are drawn, where dots stand, what they say."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from typing import Any

import numpy as np

from pellucid.interpret.results import Explanation
from pellucid.viz.attributions import words
from pellucid.viz.theme import Theme, compact, escape, shorten

OWN = "each one's class"  # where samples are explained for different classes
BAR = 46  # pixels of a colour bar below a plot, with its title and ticks
_LEVELS = 64  # dots stand on at most so many lines


def left_out(shown: int, count: int) -> str | None:
    """Return how many samples are drawn, in words; None for all."""
    return f"{shown:,} of {count:,} samples drawn, evenly chosen" if shown < count else None


def swarm(at: np.ndarray, size: float) -> np.ndarray:
    """Return the line on which each dot stands, so that none lies on another.

    Parameters
    ----------
    at
        Where the dots are, in pixels.
    size
        A dot's diameter, in pixels: also the distance between two lines.

    Returns
    -------
    numpy.ndarray
        Whole numbers around 0; more where the dots are dense.
    """
    lines = np.zeros(len(at), dtype=int)
    taken: list[list[float]] = []  # where dots stand on each line, in order
    # From left to right, every dense place would lean to one side.
    for i in np.random.default_rng(0).permutation(len(at)):
        here = float(at[i])
        k = next((k for k, line in enumerate(taken) if _free(line, here, size)), len(taken))
        if k == _LEVELS:
            k = int(i) % _LEVELS
        elif k == len(taken):
            taken.append([])
        bisect.insort(taken[k], here)
        lines[i] = k
    return np.where(lines % 2, (lines + 1) // 2, -(lines // 2))


def _free(line: list[float], at: float, size: float) -> bool:
    k = bisect.bisect(line, at)
    left = k == 0 or at - line[k - 1] >= size
    return left and (k == len(line) or line[k] - at >= size)


def identity(
    explanation: Explanation, rows: np.ndarray, *more: np.ndarray
) -> tuple[dict[str, Any], str]:
    """Return which sample each dot is, with further numbers, and the head of its hover text.

    Returns
    -------
    dict, str
        The trace's ``customdata``, of ids and `more`, with ``text`` where ids are texts; and the
        first line of its hover template.
    """
    ids = [words.sample_id(explanation, int(i)) for i in rows]
    if all(isinstance(one, int) and abs(one) < 2**53 for one in ids):
        data = np.column_stack([np.array(ids, dtype=np.float64), *more])
        return {"customdata": data}, "<b>Sample %{customdata[0]:.0f}</b><br>"
    found = np.empty((len(ids), 1 + len(more)), dtype=object)
    found[:, 0] = [str(one) for one in ids]
    for k, numbers in enumerate(more, start=1):
        found[:, k] = np.asarray(numbers)
    text = [escape(shorten(one, 80)) for one in ids]
    return {"customdata": found, "text": text}, "<b>Sample %{text}</b><br>"


def of_all(explanation: Explanation, rows: Iterable[int]) -> str:
    """Return the target that samples share, or that each has its own."""
    targets = {words.target(explanation, int(i)) for i in rows}
    return targets.pop() if len(targets) == 1 else OWN


def unit(explanation: Explanation) -> str:
    """Return what one value is called."""
    return "contribution" if words.complete(explanation) else "attribution"


def positions(values: np.ndarray) -> np.ndarray:
    """Return where values lie between low (0) and high (1), for colours; NaN stays.

    Low and high are the 5th and 95th percentile: one outlier must not make all others alike.
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return np.full(len(values), np.nan)
    low, high = np.percentile(known, [5, 95])
    if low == high:
        low, high = known.min(), known.max()
    if low == high:
        return np.where(np.isfinite(values), 0.5, np.nan)
    found: np.ndarray = np.clip((values - low) / (high - low), 0, 1)
    return found


def color_bar(
    look: Theme, title: str, plot: float, below: float, ends: tuple[float, float] | None = None
) -> dict[str, Any]:
    """Return a colour axis with its bar below the plot: from low to high, or between two numbers.

    Parameters
    ----------
    plot, below
        Pixels of the plot's height, and from there to the bar; the bar takes `BAR`.
    """
    bar: dict[str, Any] = {
        "orientation": "h",
        "title": {"text": escape(shorten(title, 60)), "side": "top", "font": {"size": 12}},
        "thickness": 8,
        "len": 0.6,
        "outlinewidth": 0,
        "x": 0.5,
        "xanchor": "center",
        "y": -below / plot,
        "yanchor": "top",
        "ypad": 0,
        "nticks": 5,
    }
    if ends is None:
        ends = (0.0, 1.0)
        bar |= {"tickvals": np.array(ends), "ticktext": ["low", "high"]}
    return {"cmin": ends[0], "cmax": ends[1], "colorscale": look.points, "colorbar": bar}


def typed(values: Any) -> np.ndarray:
    """Return coordinates as Plotly sends them short, and NaN for what is not finite."""
    real = np.asarray(values, dtype=np.float64)
    return compact(np.where(np.isfinite(real), real, np.nan))
