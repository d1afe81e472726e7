"""How the losses of a landscape become heights and colours: by logarithms, and clipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results import Landscape
from pellucid.viz.theme import escape, number, percent, shorten

_LINES = 14  # of equal loss
_EXPLODES = 8.0  # times the spread of most points that the highest is above the lowest
_UNLIKE = 100.0  # times the lowest loss that half of them are above
_MOST = 90  # percentile that stands for most points


@dataclass(frozen=True)
class Heights:
    """How losses become heights and colours.

    Attributes
    ----------
    values
        As they are drawn: NaN where there is nothing to draw.
    low, high
        Where colours and heights end.
    log
        Whether they are logarithms.
    note
        What a caption says of it.
    """

    values: np.ndarray
    low: float
    high: float
    log: bool
    note: str | None

    @classmethod
    def of(cls, result: Landscape, log: bool, clip: bool) -> Heights:
        """Return the scale of a landscape."""
        losses = np.asarray(result.losses, dtype=np.float64)
        finite = np.isfinite(losses)
        if not finite.any():
            raise InputError("no loss of the landscape is finite: there is nothing to draw")
        drawn = finite & (losses > 0) if log else finite
        if not drawn.any():
            raise InputError("no loss is above zero, so none has a logarithm; leave log out")
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(drawn, np.log10(losses) if log else losses, np.nan)
        known = values[drawn]
        low, top = float(known.min()), float(known.max())
        high = float(np.percentile(known, _MOST))
        explodes = clip and high > low and top - low > _EXPLODES * (high - low)
        missing = int((~finite).sum())
        hidden = int((finite & ~drawn).sum())
        notes = [
            f"clipped at {number(10**high if log else high)}: {percent((known > high).mean())} of "
            f"the points reach up to {number(10**top if log else top)}"
            if explodes
            else None,
            "log=True tells low losses apart"
            if not log and low > 0 and float(np.median(known)) > _UNLIKE * low
            else None,
            f"{missing} points are not finite (without colour)" if missing else None,
            f"{hidden} points ≤ 0 have no logarithm (without colour)" if hidden else None,
        ]
        return cls(
            values, low, high if explodes else top, log, "; ".join(n for n in notes if n) or None
        )

    @property
    def clipped(self) -> np.ndarray:
        """Values no higher than the range."""
        return np.asarray(np.minimum(self.values, self.high))

    @property
    def step(self) -> float:
        """A round number, some fourteen of which make the range."""
        rough = (self.high - self.low) / _LINES
        if rough <= 0:
            return 1.0
        power = 10.0 ** np.floor(np.log10(rough))
        return float(next(k * power for k in (1, 2, 2.5, 5, 10) if k * power >= 0.99 * rough))

    def at(self, loss: float) -> float:
        """Return where a loss is drawn."""
        if self.log:
            return float(np.log10(loss)) if loss > 0 else float("nan")
        return loss

    def axis(self, result: Landscape) -> dict[str, Any]:
        """Return title and ticks of an axis or colour bar of losses."""
        if not self.log:
            return {"title": {"text": escape(shorten(result.loss, 40))}, "nticks": 8}
        ticks = _decades(self.low, self.high)
        return {
            "title": {"text": f"{escape(shorten(result.loss, 40))} (logarithmic)"},
            "tickvals": np.log10(ticks),
            "ticktext": [number(tick) for tick in ticks],
        }


def _decades(low: float, high: float) -> np.ndarray:
    """Return round numbers between two powers of ten: at least two, if possible."""
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        powers = np.arange(np.floor(low), np.ceil(high) + 1)
        found = np.array([step * 10.0**power for power in powers for step in steps])
        inside = found[(np.log10(found) >= low - 1e-9) & (np.log10(found) <= high + 1e-9)]
        if len(inside) >= 3:
            return np.asarray(inside[:: max(1, len(inside) // 8)])
    return np.array([10**low, 10**high])
