"""What colours the points of a map: classes, or numbers between two ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import Predictions, Projection
from pellucid.viz.theme import Theme, compact, escape, number, shorten

TRUST = ("preservation", "trustworthiness", "continuity", "moved", "purity", "map_purity")
PREDICTED = ("prediction", "error", "confidence")
_CLASSES = 30  # integers with more values than this are numbers, not classes
_GROUPS = 40  # beyond, the rare ones are joined
_SYMBOLS = (
    "circle", "square", "diamond", "cross", "triangle-up", "x", "star", "triangle-down",
)  # fmt: skip
_SYMBOLS_3D = ("circle", "square", "diamond", "cross", "x", "circle-open", "square-open",
               "diamond-open")  # fmt: skip
_TITLES = {
    "preservation": ("neighbours kept", "share"),
    "trustworthiness": ("trustworthiness", "trust"),
    "continuity": ("continuity", "trust"),
    "moved": ("moved by other seeds (extents)", "magnitude"),
    "purity": ("neighbours of its label, among the features", "share"),
    "map_purity": ("neighbours of its label, on the map", "share"),
}
_FORMATS = {"share": ".0%", "trust": ".2f"}


@dataclass(frozen=True)
class Colors:
    """What a colour stands for at each point: a number, or one of some names.

    Attributes
    ----------
    title
        What is shown.
    numbers
        One for each point, NaN where it is not known; None for names.
    names, codes
        The names, and which each point has; -1 where it is not known.
    form
        Of numbers: ``"share"`` from 0 to 1, ``"trust"`` up to 1, ``"magnitude"`` from 0,
        ``"signed"`` around 0, ``"plain"``. Of names: ``"right"`` for right and wrong, or
        ``"plain"``.
    """

    title: str
    numbers: np.ndarray | None = None
    names: tuple[str, ...] = ()
    codes: np.ndarray | None = None
    form: str = "plain"

    @staticmethod
    def joined(parts: Sequence[Colors]) -> Colors:
        """Return the colours of several maps as of one, so that all mean the same."""
        first = parts[0]
        if all(part.numbers is not None for part in parts):
            numbers = np.concatenate([part.numbers for part in parts if part.numbers is not None])
            return replace(first, numbers=numbers)
        if any(part.numbers is not None for part in parts):
            raise InputError("some of the maps are coloured by numbers and some by names")
        names = tuple(dict.fromkeys(name for part in parts for name in part.names))
        codes = []
        for part in parts:
            # The last entry is where -1, not known, points to.
            to = np.array([*(names.index(name) for name in part.names), -1])
            assert part.codes is not None
            codes.append(to[part.codes])
        return replace(first, names=names, codes=np.concatenate(codes))


def colors_of(projection: Projection, color: Any, predictions: Predictions | None) -> Colors:
    """Return what colours the points, checked."""
    if predictions is not None:
        _check_predictions(projection, predictions)
    if color is None:
        color = "preservation" if projection.labels is None else "label"
        if predictions is not None:
            color = "prediction" if predictions.truth is None else "error"
    if not isinstance(color, str):
        return _given(color, len(projection))
    if color in TRUST:
        title, form = _TITLES[color]
        values = getattr(projection, color)
        if values is None:
            how = {"moved": "seeds=1 or more, by UMAP or t-SNE"}.get(color, "pellucid.project")
            how += " and labels" if color.endswith("purity") else ""
            raise InputError(f"the projection has no {color!r}; make it with {how}")
        return Colors(title, numbers=np.asarray(values, dtype=np.float64), form=form)
    if color in PREDICTED:
        if predictions is None:
            raise InputError(
                f"color={color!r} needs predictions=, the result of pellucid.predict for the same "
                "samples"
            )
        return _predicted(predictions, color)
    if color != "label":
        raise InputError(
            f"there is no color {color!r}; give 'label', "
            + ", ".join(repr(name) for name in (*TRUST, *PREDICTED))
            + ", or one value for each point"
        )
    if projection.labels is None:
        raise InputError(
            "the projection has no labels; give color='preservation' or one value for each "
            "point, or project with labels"
        )
    return classes("label", projection.labels, projection.class_names)


def classes(title: str, index: np.ndarray, names: tuple[str, ...] | None) -> Colors:
    """Return class indices as colours; whole numbers of many values as numbers."""
    if names is None:
        found, codes = np.unique(index, return_inverse=True)
        if index.dtype.kind in "iu" and len(found) > _CLASSES:
            return Colors(title, numbers=index.astype(np.float64))
        return Colors(title, names=tuple(map(str, found.tolist())), codes=codes)
    known = (index >= 0) & (index < len(names))
    strange = np.unique(index[~known & (index != -1)])
    codes = np.where(known, index, -1)
    for k, value in enumerate(strange.tolist(), start=len(names)):
        codes[index == value] = k
    return Colors(title, names=(*names, *(f"class {v}" for v in strange.tolist())), codes=codes)


def _given(color: Any, count: int) -> Colors:
    if isinstance(color, Predictions):
        raise InputTypeError(
            "color takes one value for each point; give the Predictions as predictions=, with "
            "color='prediction', 'error' or 'confidence'"
        )
    found = np.asarray(color)
    if found.shape != (count,):
        raise InputError(
            f"color has shape {found.shape}, but needs one value for each of the {count} points"
        )
    if found.dtype.kind in "iu":
        return classes("color", found, None)
    if found.dtype.kind == "f":
        return Colors("color", numbers=found.astype(np.float64))
    if found.dtype.kind not in "OUSTb":
        raise InputTypeError(f"color is of {found.dtype}; give numbers, names or booleans")
    missing = np.array([value is None or value != value for value in found.tolist()], dtype=bool)  # noqa: PLR0124
    names, known = np.unique(found[~missing].astype(str), return_inverse=True)
    codes = np.full(count, -1)
    codes[~missing] = known
    return Colors("color", names=tuple(names.tolist()), codes=codes)


def _check_predictions(projection: Projection, predictions: Predictions) -> None:
    if not isinstance(predictions, Predictions):
        raise InputTypeError(
            f"predictions is the result of pellucid.predict; got a {type(predictions).__name__}"
        )
    if len(predictions) != len(projection):
        raise InputError(
            f"there are predictions of {len(predictions):,} samples for a map of "
            f"{len(projection):,}"
        )
    ours, theirs = projection.sample_ids, predictions.sample_ids
    if ours is not None and theirs is not None and not np.array_equal(ours, theirs):
        raise InputError(
            "the predictions are of other samples than the map, or in another order: their "
            "sample_ids differ"
        )


def _predicted(predictions: Predictions, color: str) -> Colors:
    if predictions.kind == "classification":
        if color == "prediction":
            names = tuple(predictions.class_name(k) for k in range(predictions.scores.shape[1]))
            return classes("predicted", predictions.predicted, names)
        if color == "confidence":
            best = predictions.scores.max(axis=1).astype(np.float64)
            share = predictions.units == "probability"
            return Colors(
                f"highest {predictions.units}",
                numbers=np.where(predictions.finite, best, np.nan),
                form="share" if share else "plain",
            )
    elif color == "confidence":
        raise InputError("these predictions are a regression, whose values have no confidence")
    elif predictions.scores.ndim == 2 and predictions.scores.shape[1] > 1:
        raise InputError(
            f"the predictions have {predictions.scores.shape[1]} outputs; give one value for each "
            "point, such as color=predictions.scores[:, 0]"
        )
    scores = predictions.scores.reshape(len(predictions), -1)[:, 0].astype(np.float64)
    if color == "prediction":
        return Colors("predicted", numbers=scores)
    if predictions.truth is None:
        raise InputError("the predictions hold no truth, so there is no error to colour by")
    if predictions.kind == "regression":
        truth = predictions.truth.reshape(len(predictions), -1)[:, 0]
        return Colors("prediction \N{MINUS SIGN} truth", numbers=scores - truth, form="signed")
    wrong = (predictions.predicted != predictions.truth).astype(int)
    codes = np.where(predictions.finite, wrong, -1)
    return Colors("prediction", names=("right", "wrong"), codes=codes, form="right")


# -- how it looks ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """Points that look alike.

    Attributes
    ----------
    name
        For the legend, escaped; None where a colour bar says what the colours are.
    key
        The same for what is alike in other panels.
    rows
        Positions of the points.
    marker
        How they look.
    """

    name: str | None
    key: str
    rows: np.ndarray
    marker: dict[str, Any]


@dataclass(frozen=True)
class Paint:
    """Colours and symbols for `Colors`.

    Attributes
    ----------
    colors
        What is shown.
    ends
        Of the colour scale.
    notes
        What the caption says of it.
    """

    colors: Colors
    look: Theme
    ends: tuple[float, float] = (0.0, 1.0)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, colors: Colors, look: Theme) -> Paint:
        """Choose how colours look: the ends of the scale, and at most some 40 names."""
        if colors.numbers is None:
            return cls._named(colors, look)
        finite = colors.numbers[np.isfinite(colors.numbers)]
        notes = []
        if finite.size < len(colors.numbers):
            notes.append(f"grey: {len(colors.numbers) - finite.size:,} points without a value")
        low, high = _ends(finite, colors.form)
        beyond = int(((finite < low) | (finite > high)).sum())
        if beyond:
            notes.append(f"colours go from {number(low)} to {number(high)} ({beyond:,} beyond)")
        return cls(colors, look, (low, high), tuple(notes))

    @classmethod
    def _named(cls, colors: Colors, look: Theme) -> Paint:
        assert colors.codes is not None
        notes = []
        unknown = int((colors.codes < 0).sum())
        if unknown:
            notes.append(f"grey: {unknown:,} points without a {colors.title}")
        counts = np.bincount(colors.codes[colors.codes >= 0], minlength=len(colors.names))
        if (counts > 0).sum() > _GROUPS:
            kept = np.sort(np.argsort(-counts, kind="stable")[: _GROUPS - 1])
            others = int((counts > 0).sum()) - len(kept)
            to = np.full(len(colors.names) + 1, -2)
            to[kept], to[-1] = np.arange(len(kept)), -1
            names = tuple(colors.names[k] for k in kept)
            notes.append(f"{len(kept)} most frequent names; {others} others grey")
            colors = replace(colors, names=names, codes=to[colors.codes])
        return cls(colors, look, notes=tuple(notes))

    @property
    def numeric(self) -> bool:
        """Whether a colour bar says what the colours are."""
        return self.colors.numbers is not None

    def shares(self, rows: np.ndarray, dimensions: int = 2) -> list[Share]:
        """Return some points by how they look."""
        colors, look = self.colors, self.look
        grey = {"color": look.missing, "symbol": "circle-open"}
        if colors.numbers is not None:
            values = colors.numbers[rows]
            known = np.isfinite(values)
            marker = {"color": compact(values[known]), "coloraxis": "coloraxis"}
            found = [Share(None, "known", rows[known], marker)]
            if not known.all():
                found.append(Share("no value", "missing", rows[~known], grey))
            return found
        assert colors.codes is not None
        codes = colors.codes[rows]
        found = [
            Share(escape(shorten(name, 20)), str(k), rows[codes == k], self._style(k, dimensions))
            for k, name in enumerate(colors.names)
        ]
        found.append(Share("others", "others", rows[codes == -2], grey))
        found.append(Share("not known", "missing", rows[codes == -1], grey))
        return [share for share in found if len(share.rows)]

    def _style(self, k: int, dimensions: int) -> dict[str, Any]:
        classes = self.look.classes
        if self.colors.form == "right":
            color = (self.look.neutral, self.look.positive)[k]
            return {"color": color, "symbol": ("circle", "x")[k]}
        symbols = _SYMBOLS if dimensions == 2 else _SYMBOLS_3D
        # A symbol of its own for each colour, and another one when the colours start again.
        return {
            "color": classes[k % len(classes)],
            "symbol": symbols[(k + k // len(classes)) % len(symbols)],
        }

    def hover(self, share: Share) -> str | None:
        """Return the line of a hover text that says what the colour stands for."""
        title = escape(shorten(self.colors.title, 40))
        if share.name is None:
            measured = self.colors.form in ("share", "trust") and self.colors.title in (
                _TITLES["preservation"][0], *(_TITLES[name][0] for name in TRUST[1:3]),
            )  # fmt: skip
            # What the table of every point says already.
            return None if measured else f"{title}: %{{marker.color:.4g}}"
        if share.key in ("missing", "others"):
            return f"{title}: {'not known' if share.key == 'missing' else 'another'}"
        return f"{title}: {escape(shorten(self.colors.names[int(share.key)], 80))}"

    def axis(self, place: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the colour axis, its bar at the right, or where `place` sets it."""
        low, high = self.ends
        signed = self.colors.form == "signed"
        bar: dict[str, Any] = {
            "title": {"text": escape(shorten(self.colors.title, 40)), "side": "right"},
            "thickness": 10,
            "outlinewidth": 0,
            "nticks": 6,
            **(place or {}),
        }
        if self.colors.form in _FORMATS:
            bar["tickformat"] = _FORMATS[self.colors.form]
        return {
            "cmin": low,
            "cmax": high,
            "colorscale": self.look.diverging if signed else self.look.points,
            "colorbar": bar,
        }


def _ends(finite: np.ndarray, form: str) -> tuple[float, float]:
    """Return where the colours of finite numbers begin and end."""
    if form == "share":
        return 0.0, 1.0
    if not finite.size:
        return 0.0, 1.0
    if form == "trust":
        # Most are near 1: from 0 on, all would have one colour.
        return min(0.9, max(0.0, math.floor(20 * float(np.percentile(finite, 1))) / 20)), 1.0
    if form in ("signed", "magnitude"):
        top = float(np.percentile(np.abs(finite), 99)) or float(np.abs(finite).max()) or 1.0
        return (-top if form == "signed" else 0.0), top
    low, high = float(finite.min()), float(finite.max())
    inner = [float(end) for end in np.percentile(finite, [1, 99])]
    if inner[0] < inner[1] and high - low > 3 * (inner[1] - inner[0]):
        low, high = inner
    return (low, high) if low < high else (low - 0.5, high + 0.5)
