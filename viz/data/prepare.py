"""What is done to data before they are drawn, each step with the words for a caption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.viz.data.columns import Column
from pellucid.viz.data.table import Table
from pellucid.viz.theme import Theme, escape, number, sentences, shorten

SCALES = ("standard", "minmax", "log")
AGGREGATES = ("mean", "median", "count", "sum")
MISSING = ("drop", "show")


def check_option(value: Any, name: str, known: tuple[str, ...], *, none: bool = False) -> None:
    """Raise unless an option has one of its values."""
    if not (none and value is None) and value not in known:
        said = ", ".join(map(repr, known)) + (" or None" if none else "")
        raise InputError(f"{name} is {said}; got {value!r}")


def numeric(column: Column, role: str) -> Column:
    """Return a column of numbers; raise for any other.

    Raises
    ------
    InputError
        If it holds dates or categories.
    """
    if column.kind == "number":
        return column
    if column.kind == "date":
        raise InputError(f"{role}: column {column.name!r} holds dates, where numbers are needed")
    examples = ", ".join(repr(shorten(level, 20)) for level in column.levels[:3])
    raise InputError(
        f"{role}: column {column.name!r} holds categories or texts ({examples}), where numbers "
        "are needed; choose another, or convert it"
    )


# -- cleaning ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """The rows that are drawn, and what was said on the way to them.

    Attributes
    ----------
    columns
        By what they are used for; those not asked for are not there.
    ids
        What each row is called.
    notes
        For the caption.
    """

    columns: dict[str, Column]
    ids: np.ndarray
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def get(self, role: str) -> Column | None:
        """Return a column by what it is used for."""
        return self.columns.get(role)

    def take(self, rows: np.ndarray) -> Rows:
        """Return some of the rows."""
        columns = {role: column.take(rows) for role, column in self.columns.items()}
        return replace(self, columns=columns, ids=self.ids[rows])

    def swap(self, role: str, column: Column, *notes: str | None) -> Rows:
        """Return the rows with another column in place of one."""
        said = tuple(note for note in notes if note)
        return replace(self, columns={**self.columns, role: column}, notes=(*self.notes, *said))


def clean(
    columns: Mapping[str, Column | None],
    ids: np.ndarray | None,
    *,
    missing: str,
    positive: tuple[str, ...] = (),
) -> Rows:
    """Leave out the rows that have no place in a picture, and say how many.

    Parameters
    ----------
    columns
        By what they are used for.
    ids
        What each row is called; None for its position.
    missing
        ``"drop"`` leaves out rows with a missing value in one of the columns; ``"show"`` keeps
        them. Infinite values have no place in either.
    positive
        The columns that are drawn on a logarithmic axis.

    Raises
    ------
    InputError
        If `missing` is something else, or no row is left.
    """
    check_option(missing, "missing", MISSING)
    used = {role: column for role, column in columns.items() if column is not None}
    distinct = {id(column): column for column in used.values()}.values()
    count = len(next(iter(used.values())))
    kept = np.ones(count, dtype=bool)
    notes: list[str] = []
    if missing == "drop":
        gaps = {column.name: column.missing for column in distinct}
        _leave_out(kept, gaps, "rows dropped for a missing value", notes)
    endless = {c.name: np.isinf(c.values) for c in distinct}
    _leave_out(kept, endless, "rows dropped for an infinite value", notes)
    below = {c.name: c.values <= 0 for role, c in used.items() if role in positive}
    _leave_out(kept, below, "rows dropped for a value ≤ 0, which has no logarithm", notes)
    if not kept.any():
        names = ", ".join(repr(shorten(column.name, 40)) for column in distinct)
        raise InputError(
            f"none of the {count:,} rows can be drawn: {'; '.join(notes)} (of {names})"
        )
    named = np.arange(count) if ids is None else ids
    rows = Rows(used, named, tuple(notes))
    return rows if kept.all() else rows.take(np.flatnonzero(kept))


def _leave_out(
    kept: np.ndarray, broken: Mapping[str, np.ndarray], what: str, notes: list[str]
) -> None:
    """Strike rows out, and say how many were."""
    before = int(kept.sum())
    per = {name: int((bad & kept).sum()) for name, bad in broken.items()}
    for bad in broken.values():
        kept &= ~bad
    lost = before - int(kept.sum())
    if not lost:
        return
    guilty = sorted((name for name in per if per[name]), key=lambda name: -per[name])
    said = ", ".join(f"{shorten(name, 30)} {per[name]:,}" for name in guilty[:4])
    more = ", ..." if len(guilty) > 4 else ""
    notes.append(f"{lost:,} of {len(kept):,} {what} ({said}{more})")


# -- scaling -----------------------------------------------------------------------------------


def rescale(column: Column, how: str | None) -> tuple[Column, str | None]:
    """Return a column of numbers on another scale, and what a caption says of it.

    ``"log"`` changes the axis, not the values; dates and categories stay as they are.
    """
    check_option(how, "scale", SCALES, none=True)
    known = column.finite
    if how in (None, "log") or column.kind != "number" or not known.size:
        return column, None
    # In units of the largest, squares of huge numbers stay finite, and those of tiny ones not zero.
    size = float(np.abs(known).max()) or 1.0
    parts = column.values / size
    name = shorten(column.name, 30)
    low, high = float(known.min()) / size, float(known.max()) / size
    if low == high:
        return replace(column, values=parts * 0), f"{name} is constant: 0 on this scale"
    if how == "standard":
        mean, deviation = float((known / size).mean()), float((known / size).std())
        said = f"{name}: mean {number(mean * size)}, standard deviation {number(deviation * size)}"
        moved = replace(column, values=(parts - mean) / deviation, unit="standard deviations")
        return moved, said
    said = f"{name}: 0 is {number(low * size)}, 1 is {number(high * size)}"
    return replace(column, values=(parts - low) / (high - low), unit="0 lowest, 1 highest"), said


def scale_note(how: str | None) -> str | None:
    """Return what a scale does, in words."""
    return {
        "standard": "standardized: minus the mean, over the standard deviation",
        "minmax": "scaled to 0 (lowest) to 1 (highest)",
        "log": "logarithmic axis",
    }.get(how or "")


# -- grouping ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Groups:
    """Rows by what they share.

    Attributes
    ----------
    title
        What they share.
    codes
        Of each row: the position of its group.
    labels
        Of the groups; not escaped.
    colors
        Of the groups; the missing and the rest are grey.
    """

    title: str
    codes: np.ndarray
    labels: tuple[str, ...]
    colors: tuple[str, ...]

    def members(self) -> list[np.ndarray]:
        """Return the rows of each group."""
        order = np.argsort(self.codes, kind="stable")
        ends = np.searchsorted(self.codes[order], np.arange(len(self.labels) + 1))
        return [order[a:b] for a, b in pairwise(ends)]


def grouped(column: Column | None, look: Theme, most: int = 8) -> tuple[Groups | None, str | None]:
    """Return rows by the values of a column, and what a caption says of it.

    Of many categories the most frequent are kept apart; numbers and dates of many values are
    divided at their quartiles.
    """
    if column is None:
        return None, None
    codes = np.full(len(column), -1)
    known = ~column.missing
    values = column.values[known]
    found, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    note = None
    rest = 0
    if column.kind != "category" and len(found) > most:
        inner = np.unique(np.percentile(values, [25, 50, 75], method="lower"))
        codes[known] = np.searchsorted(inner, values)
        present, again = np.unique(codes[known], return_inverse=True)
        codes[known] = again
        labels = []
        for k in range(len(present)):
            part = values[again == k]
            low, high = column.said(part.min()), column.said(part.max())
            labels.append(low if low == high else f"{low} to {high}")
        note = f"{shorten(column.name, 40)} is divided at its quartiles"
    elif len(found) > most:
        first = np.sort(np.argsort(-counts, kind="stable")[: most - 1])
        place = np.full(len(found), most - 1)
        place[first] = np.arange(most - 1)
        codes[known] = place[inverse]
        labels = [column.said(found[k]) for k in first]
        rest = len(found) - len(first)
        labels.append(f"{rest} others")
        note = f"{shorten(column.name, 40)}: the {most - 1} most frequent of {len(found)}"
    else:
        codes[known] = inverse
        labels = [column.said(value) for value in found]
    colors = [look.classes[k % len(look.classes)] for k in range(len(labels))]
    if rest:
        colors[-1] = look.neutral
    if not known.all():
        codes[~known] = len(labels)
        labels.append("missing")
        colors.append(look.missing)
    return Groups(shorten(column.name, 40), codes, tuple(labels), tuple(colors)), note


@dataclass(frozen=True)
class Estimates:
    """One number for each group, and how far it can be trusted.

    Attributes
    ----------
    values
        NaN for a group without values.
    low, high
        Ends of the interval; NaN where there is none.
    counts
        How many values each is of.
    """

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray


def aggregate(values: np.ndarray, codes: np.ndarray, groups: int, how: str) -> Estimates:
    """Merge the values of each group into one.

    Parameters
    ----------
    values
        Numbers; NaN ones are left out. Of a count, only how many there are matters.
    codes
        The group of each value; below 0 for none.
    groups
        How many groups there are.
    how
        ``"mean"`` with two standard errors, ``"median"`` with a 95 % interval from the order of
        the values, ``"sum"``, or ``"count"``.
    """
    check_option(how, "aggregate", AGGREGATES)
    known = ~np.isnan(values) & (codes >= 0)
    values, codes = values[known], codes[known]
    counts = np.bincount(codes, minlength=groups)
    none = np.full(groups, np.nan)
    if how == "count":
        return Estimates(counts.astype(np.float64), none, none, counts)
    filled = counts > 0
    if how == "sum":
        totals = np.bincount(codes, values, groups)
        return Estimates(np.where(filled, totals, np.nan), none, none, counts)
    if how == "median":
        return _medians(values, codes, counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.bincount(codes, values, groups) / counts
        spread = np.bincount(codes, (values - means[codes]) ** 2, groups) / (counts - 1)
        reach = 2 * np.sqrt(spread / counts)
    reach[counts < 2] = np.nan
    return Estimates(means, means - reach, means + reach, counts)


def _medians(values: np.ndarray, codes: np.ndarray, counts: np.ndarray) -> Estimates:
    """Return medians, with the interval between two order statistics (Conover 1999, 3.2)."""
    ordered = values[np.lexsort((values, codes))]
    starts = np.cumsum(counts) - counts
    filled = counts > 0

    def at(rank: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        found = np.full(len(counts), np.nan)
        found[allowed] = ordered[(starts + rank)[allowed]]
        return found

    middle = (at((counts - 1) // 2, filled) + at(counts // 2, filled)) / 2
    reach = 0.98 * np.sqrt(counts)
    first = np.floor(counts / 2 - reach).astype(int) - 1
    last = np.ceil(1 + counts / 2 + reach).astype(int) - 1
    inside = filled & (first >= 0) & (last < counts)
    return Estimates(middle, at(first, inside), at(last, inside), counts)


def interval_note(how: str) -> str | None:
    """Return what the whiskers or bands of an aggregate are, in words."""
    return {
        "mean": "± two standard errors of the mean",
        "median": "95 % interval of the median, from the order of the values",
    }.get(how)


def caption(table: Table, rows: Rows, *more: str | None) -> str:
    """Return a figure's caption: what the data are, what was done to them, what is drawn."""
    said = f"{table.count:,} row{'s' if table.count != 1 else ''}"
    return sentences([*table.notes, said, *rows.notes, *more])


def identity(ids: np.ndarray) -> tuple[dict[str, Any], str]:
    """Return the options of a trace that say which row each point is, and its hover text's head."""
    if ids.dtype.kind in "iu" and (not ids.size or int(np.abs(ids).max()) < 2**31):
        return {"customdata": ids.astype(np.int32)[:, None]}, "<b>row %{customdata[0]}</b><br>"
    text = [escape(shorten(one, 60)) for one in ids]
    custom = ids.astype(str).astype(object)[:, None]
    return {"customdata": custom, "text": text}, "<b>row %{text}</b><br>"
