"""One column of data as numbers, dates or categories, whatever library it came from."""

from __future__ import annotations

import datetime as dt
import numbers
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

import narwhals.stable.v2 as nw
import numpy as np

from pellucid.errors import InputTypeError
from pellucid.viz.theme import number, shorten

Kind = Literal["number", "date", "category"]
# A long integer axis is read digit by digit; other numbers by their first few.
_WHOLE = 1e15


@dataclass(frozen=True)
class Column:
    """A column, ready to be drawn.

    Attributes
    ----------
    name
        Its name, as it was given.
    kind
        ``"number"``, ``"date"`` (milliseconds since 1970, UTC) or ``"category"`` (the position
        of each row's level).
    values
        Float64; NaN where the value is missing.
    levels
        What the positions of a category stand for.
    ordered
        Whether the levels have an order of their own.
    unit
        What the numbers count, after the name on an axis.
    """

    name: str
    kind: Kind
    values: np.ndarray
    levels: tuple[str, ...] = ()
    ordered: bool = False
    unit: str = ""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def missing(self) -> np.ndarray:
        """Whether each row's value is missing."""
        found: np.ndarray = np.isnan(self.values)
        return found

    @property
    def finite(self) -> np.ndarray:
        """The values that are numbers."""
        found: np.ndarray = self.values[np.isfinite(self.values)]
        return found

    @property
    def label(self) -> str:
        """The name and unit, of bounded length; not escaped."""
        return shorten(self.name, 60) + (f" ({self.unit})" if self.unit else "")

    def take(self, rows: np.ndarray) -> Column:
        """Return the column of some of the rows."""
        return replace(self, values=self.values[rows])

    def said(self, value: float) -> str:
        """Return a value in words; not escaped."""
        if np.isnan(value):
            return "missing"
        if self.kind == "category":
            return shorten(self.levels[int(value)], 60)
        if self.kind == "date":
            return date(value)
        return number(value)

    def hover(self, axis: str) -> str:
        """Return the part of a hover template that says the value on an axis."""
        if self.kind == "date":
            return f"%{{{axis}|%Y-%m-%d %H:%M:%S}}"
        known = self.finite
        whole = known.size and np.abs(known).max() < _WHOLE and (known == np.rint(known)).all()
        return f"%{{{axis}:{'.0f' if whole else '.5g'}}}"


def date(milliseconds: float) -> str:
    """Return a time in words, as short as it can be said."""
    said = str(np.datetime64(int(milliseconds), "ms")).replace("T", " ")
    for needless in (".000", ":00", " 00:00"):
        said = said.removesuffix(needless)
    return said


def convert(name: str, given: Any) -> Column:
    """Return a column of a data frame, or an array, as one to draw.

    Raises
    ------
    InputTypeError
        If it holds complex numbers, or something that cannot be read.
    """
    if isinstance(given, Column):
        return given
    if isinstance(given, nw.Series):
        return _series(name, given)
    array = np.asarray(given)
    if array.dtype.kind in "iuf":
        return Column(name, "number", array.astype(np.float64))
    if array.dtype.kind == "b":
        return _boolean(name, array.tolist())
    if array.dtype.kind == "M":
        return Column(name, "date", _milliseconds(array))
    if array.dtype.kind == "m":
        return _duration(name, array)
    if array.dtype.kind in "OUST":
        return _objects(name, array.tolist())
    raise InputTypeError(
        f"column {name!r} is of {array.dtype}, which has no picture; give numbers, dates, "
        "texts or booleans (of complex numbers, their size or angle)"
    )


def _series(name: str, series: nw.Series[Any]) -> Column:
    kind = series.dtype
    if kind.is_numeric():
        return Column(name, "number", np.array(series.cast(nw.Float64).to_numpy(), np.float64))
    if isinstance(kind, (nw.Datetime, nw.Date)):
        if isinstance(kind, nw.Datetime) and kind.time_zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
            values = _milliseconds(series.cast(nw.Datetime("us")).to_numpy())
            return Column(name, "date", values, unit="UTC")
        return Column(name, "date", _milliseconds(series.cast(nw.Datetime("us")).to_numpy()))
    if isinstance(kind, nw.Duration):
        return _duration(name, series.to_numpy())
    found = [None if gap else one for one, gap in zip(series, series.is_null(), strict=True)]
    if isinstance(kind, nw.Boolean):
        return _boolean(name, found)
    if isinstance(kind, (nw.Categorical, nw.Enum)):
        levels = [str(level) for level in series.cat.get_categories().to_list()]
        return _categories(name, found, levels, ordered=isinstance(kind, nw.Enum))
    return _objects(name, found)


def _boolean(name: str, found: list[Any]) -> Column:
    given = [None if one is None else str(bool(one)).lower() for one in found]
    return _categories(name, given, ["false", "true"], ordered=True)


def _duration(name: str, array: np.ndarray) -> Column:
    seconds = array / np.timedelta64(1, "s")
    return Column(name, "number", np.asarray(seconds, dtype=np.float64), unit="seconds")


def _milliseconds(array: np.ndarray) -> np.ndarray:
    micro = array.astype("datetime64[us]")
    found = micro.astype(np.int64) / 1000
    found[np.isnat(micro)] = np.nan
    return np.asarray(found, dtype=np.float64)


def _objects(name: str, found: list[Any]) -> Column:
    """Return a column of Python's own objects: of one kind if they are, else as texts."""
    kinds = {type(one) for one in found} - {type(None)}
    # pandas' own NaN beside texts is a missing text.
    others = kinds - {float}
    if kinds and all(_is(kind, dt.date, np.datetime64) for kind in others) and others:
        times = [np.datetime64("NaT") if _gap(one) else _time(one) for one in found]
        zoned = any(getattr(one, "tzinfo", None) is not None for one in found)
        values = _milliseconds(np.array(times, dtype="datetime64[us]"))
        return Column(name, "date", values, unit="UTC" if zoned else "")
    if kinds and all(_is(kind, bool, np.bool_) for kind in others) and others:
        return _boolean(name, [None if _gap(one) else one for one in found])
    if kinds and all(_is(kind, numbers.Real, Decimal) for kind in kinds):
        real = [np.nan if one is None else float(one) for one in found]
        return Column(name, "number", np.array(real, dtype=np.float64))
    return _categories(name, [None if _gap(one) else one for one in found])


def _is(kind: type, *wanted: type) -> bool:
    return issubclass(kind, wanted)


def _gap(one: Any) -> bool:
    return one is None or (isinstance(one, (float, dt.date, np.datetime64)) and one != one)  # noqa: PLR0124


def _time(one: Any) -> np.datetime64:
    if getattr(one, "tzinfo", None) is not None:
        one = one.astimezone(dt.UTC).replace(tzinfo=None)
    return np.datetime64(one)


def _categories(
    name: str, found: Iterable[Any], levels: list[str] | None = None, *, ordered: bool = False
) -> Column:
    """Return a column of categories; where the levels are not known, in alphabetic order.

    Numbers in a text count as numbers: "day 2" comes before "day 10".
    """
    places: dict[str, int] = {level: k for k, level in enumerate(levels or [])}
    codes = np.array(
        [np.nan if one is None else places.setdefault(_text(one), len(places)) for one in found],
        dtype=np.float64,
    )
    known = list(places)
    if levels is None:
        order = sorted(range(len(known)), key=lambda k: _natural(known[k]))
        rank = np.empty(len(known))
        rank[order] = np.arange(len(known))
        gaps = np.isnan(codes)
        codes[~gaps] = rank[codes[~gaps].astype(int)]
        known = [known[k] for k in order]
    return Column(name, "category", codes, levels=tuple(known), ordered=ordered)


def _natural(text: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"([0-9]+)", text)
    # A part at an odd position is of digits.
    return [(1, int(p), "") if k % 2 else (0, 0, p) for k, p in enumerate(parts)]


def _text(one: Any) -> str:
    return one.decode(errors="replace") if isinstance(one, bytes) else str(one)
