"""The picture that fits the data, with the reason for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Result
from pellucid.viz.data.bar import bar
from pellucid.viz.data.box import box
from pellucid.viz.data.columns import Column
from pellucid.viz.data.heatmap import heatmap
from pellucid.viz.data.histogram import histogram
from pellucid.viz.data.line import line
from pellucid.viz.data.parallel import parallel_coordinates
from pellucid.viz.data.pictures import as_pictures, pictures
from pellucid.viz.data.scatter import scatter
from pellucid.viz.data.table import Table, is_dataset, is_tensor, read
from pellucid.viz.theme import shorten

_LOOKED = 10_000  # rows from which the kind of a column is told
_COLUMNS = 200
_SERIES = 12
_FEW = 20  # values of a category that has a row each
_CLASSES = 8  # values of a category that has a colour each
_PARALLEL = 12  # columns of numbers that lines can be followed across
_UNLIKE = 20  # times: columns of such different sizes need scales of their own


def auto(
    data: Any,
    *,
    columns: Sequence[str | int] | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw data in the form that fits their kind, and say in the caption why.

    ======================================  ==================================================
    data                                    form
    ======================================  ==================================================
    one column of numbers or dates          `histogram`
    one column of categories                `bar`: rows of each
    two columns of numbers                  `scatter`; `line` where the first one only rises
    dates, or an index of dates, + numbers  `line`
    categories + numbers                    `box`; `bar` where each category has one row
    two columns of categories               `bar`, in groups
    3 to 12 numbers + a few classes         `parallel_coordinates`, coloured by class
    other columns of numbers                `heatmap`: correlations
    pictures                                tiles of one image
    a result of Pellucid                    `pellucid.viz.figure`
    ======================================  ==================================================

    Parameters
    ----------
    data
        An array, a data frame or series, a dict of columns, a Dataset, or a result. Pictures are
        (pictures, rows, columns), (pictures, 1 or 3, rows, columns) or (pictures, rows, columns,
        1 or 3), or bytes of (rows, columns).
    columns
        Names or positions of the columns to look at; None for all.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If there is nothing to draw, or no such column.
    InputTypeError
        If the data are of a type that has no picture.
    """
    frame = {"theme": theme, "title": title, "width": width, "height": height}
    if isinstance(data, Result):
        return _result(data, frame)
    if columns is None and (figure := _pictures(data, frame)) is not None:
        return figure
    table = read(_indexed(data))
    choice = _choose(table, _kinds(table, columns))
    return choice.draw(table.noting(choice.why), **choice.options, **frame)


def _result(result: Result, frame: dict[str, Any]) -> go.Figure:
    # Pictures of results import those of data.
    from pellucid.viz.choose import figure

    drawn = figure(result, theme=frame["theme"])
    changes = {k: frame[k] for k in ("width", "height") if frame[k] is not None}
    if frame["title"] is not None:
        changes["title_text"] = frame["title"]
    return drawn.update_layout(changes)


def _pictures(data: Any, frame: dict[str, Any]) -> go.Figure | None:
    """Draw pictures; None where the data are none."""
    labels = ids = None
    notes: list[str] = []
    array = data.detach().cpu().numpy() if is_tensor(data) else data
    if is_dataset(data):
        array = np.asarray(data.inputs)
        table = read(data)
        target = table.column(len(table.names) - 1)
        labels = [target.said(value) for value in target.values]
        ids, notes = table.ids, list(table.notes)
        if frame["title"] is None and table.title:
            frame = {**frame, "title": f"{table.title}: {len(array):,} pictures"}
    if not isinstance(array, np.ndarray) or (array.ndim < 3 and array.dtype != np.uint8):
        return None
    if array.ndim < 3 and is_dataset(data):
        return None
    stack = as_pictures(array)
    if stack is None:
        return None
    notes.append(f"pictures, since the shape is {array.shape}" if array.ndim > 2 else
                 f"a picture, since they are bytes of shape {array.shape}")  # fmt: skip
    return pictures(stack, labels=labels, ids=ids, notes=notes, **frame)


def _indexed(data: Any) -> Any:
    """Return pandas data with an index of dates as its first column."""
    index = getattr(data, "index", None)
    if type(index).__name__ != "DatetimeIndex":
        return data
    name = str(getattr(index, "name", None) or "time")
    frame = data.to_frame(data.name or "value") if hasattr(data, "to_frame") else data.copy()
    while name in frame.columns:
        name += " (index)"
    frame = frame.reset_index(drop=True)
    frame.insert(0, name, index)
    return frame


# -- what the columns are ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Kinds:
    """Which columns are of what kind, by name."""

    numbers: list[str]
    dates: list[str]
    categories: list[str]
    codes: list[str]  # categories of so many values that they name rows
    looked: dict[str, Column]
    more: int = 0


def _kinds(table: Table, columns: Sequence[str | int] | None) -> _Kinds:
    """Tell the kind of each column, by its first rows."""
    if isinstance(columns, (str, int)):
        columns = [columns]
    places = (
        list(range(len(table.names)))
        if columns is None
        else [table.find(one, "columns") for one in columns]
    )
    if not places:
        raise InputError("columns= names no column")
    head = table if table.count <= _LOOKED else table.chosen(np.arange(_LOOKED))
    found = _Kinds([], [], [], [], {}, max(0, len(places) - _COLUMNS))
    for k in places[:_COLUMNS]:
        column = head.column(k)
        known = column.finite
        if not known.size and len(places) > 1:
            continue
        found.looked[column.name] = column
        if column.kind == "date":
            found.dates.append(column.name)
        elif column.kind == "number":
            found.numbers.append(column.name)
        elif len(np.unique(known)) > max(_FEW, len(known) // 2) and len(places) > 1:
            found.codes.append(column.name)
        else:
            found.categories.append(column.name)
    if not found.looked:
        raise InputError("all columns are empty: every value is missing")
    return found


@dataclass(frozen=True)
class _Choice:
    """The function that draws, what it is given, and why."""

    draw: Any
    options: dict[str, Any]
    why: str


def _choose(table: Table, kinds: _Kinds) -> _Choice:
    choice = _by_kind(table, kinds)
    named = len(kinds.codes)
    if named and kinds.codes[0] not in choice.options.values():
        column = f"{shorten(kinds.codes[0], 30)} names" if named == 1 else f"{named} columns name"
        choice = replace(choice, why=f"{choice.why}; {column} rows, and is left out")
    return choice


def _by_kind(table: Table, kinds: _Kinds) -> _Choice:
    numbers, dates, categories = kinds.numbers, kinds.dates, kinds.categories
    if dates and numbers:
        return _series(kinds)
    if numbers and not categories:
        return _numbers(table, kinds)
    if numbers and len(numbers) == 1:
        return _boxes(table, kinds)
    if numbers:
        return _many(table, kinds)
    if categories or kinds.codes:
        return _categories(kinds)
    return _Choice(histogram, {"x": dates[0]}, "histogram, since there are dates and no numbers")


def _series(kinds: _Kinds) -> _Choice:
    date, numbers = kinds.dates[0], kinds.numbers
    options: dict[str, Any] = {"x": date, "y": numbers[:_SERIES]}
    why = f"lines, since {shorten(date, 30)} holds dates"
    if len(numbers) > _SERIES:
        why += f"; the first {_SERIES} of {len(numbers)} columns of numbers"
    elif len(numbers) == 1:
        options["y"] = numbers[0]
        groups = [c for c in kinds.categories if _count(kinds, c) <= _CLASSES]
        if groups and not _rises(kinds.looked[date].values):
            options["color"] = groups[0]
            why += f" and {shorten(groups[0], 30)} a few categories"
    if len(numbers) > 1 and _unlike([kinds.looked[name] for name in numbers[:_SERIES]]):
        options["scale"] = "standard"
        why += "; the columns are of different sizes, so each is standardized"
    return _Choice(line, options, why)


def _numbers(table: Table, kinds: _Kinds) -> _Choice:
    numbers = kinds.numbers
    if len(numbers) == 1:
        return _Choice(histogram, {"x": numbers[0]}, "histogram, since there is one column of "
                       "numbers")  # fmt: skip
    if len(numbers) == 2:
        options: dict[str, Any] = {"x": numbers[0], "y": numbers[1]}
        if table.count > 2 and _rises(kinds.looked[numbers[0]].values):
            return _Choice(line, options, f"line, since there are two columns of numbers and "
                           f"{shorten(numbers[0], 30)} only rises")  # fmt: skip
        return _Choice(scatter, options, "scatter, since there are two columns of numbers")
    return _correlations(kinds)


def _correlations(kinds: _Kinds) -> _Choice:
    numbers = kinds.numbers
    count = len(numbers)
    why = f"correlations, since there are {count} columns of numbers"
    options: dict[str, Any] = {"columns": numbers, "order": "similar" if count > 12 else "given"}
    if kinds.more:
        why += f" among the first {_COLUMNS}; {kinds.more:,} further columns not looked at"
    return _Choice(heatmap, options, why)


def _boxes(table: Table, kinds: _Kinds) -> _Choice:
    number, category = kinds.numbers[0], kinds.categories[0]
    options: dict[str, Any] = {"x": category, "y": number}
    count = _count(kinds, category)
    if count == table.count:
        return _Choice(bar, options, "bars, since each category has one number")
    why = f"boxes, since {shorten(category, 30)} is of categories and {shorten(number, 30)} of "
    why += "numbers"
    others = [c for c in kinds.categories[1:] if _count(kinds, c) <= _CLASSES // 2]
    if others and count <= _CLASSES:
        options["color"] = others[0]
    return _Choice(box, options, why)


def _many(table: Table, kinds: _Kinds) -> _Choice:
    few = [c for c in kinds.categories if 1 < _count(kinds, c) <= _CLASSES]
    numbers = kinds.numbers
    if few and len(numbers) == 2:
        options: dict[str, Any] = {"x": numbers[0], "y": numbers[1], "color": few[-1]}
        return _Choice(scatter, options, "scatter, since there are two columns of numbers; the "
                       f"colours are the categories of {shorten(few[-1], 30)}")  # fmt: skip
    if few and len(numbers) <= _PARALLEL:
        options = {"columns": numbers, "color": few[-1]}
        return _Choice(parallel_coordinates, options, "parallel coordinates, since there are "
                       f"{len(numbers)} columns of numbers and the few categories of "
                       f"{shorten(few[-1], 30)}")  # fmt: skip
    if len(numbers) == 2:
        return _numbers(table, kinds)
    return _correlations(kinds)


def _categories(kinds: _Kinds) -> _Choice:
    first = (kinds.categories or kinds.codes)[0]
    options: dict[str, Any] = {"x": first}
    why = f"bars, since {shorten(first, 30)} is of categories"
    others = [c for c in kinds.categories if c != first and _count(kinds, c) <= _CLASSES]
    if others:
        options["color"] = others[0]
        why += f", and so is {shorten(others[0], 30)}"
    return _Choice(bar, options, why)


def _count(kinds: _Kinds, name: str) -> int:
    return len(np.unique(kinds.looked[name].finite))


def _rises(values: np.ndarray) -> bool:
    """Whether values only rise, as a position or a time does."""
    return len(values) > 1 and bool((np.diff(values) > 0).all())


def _unlike(columns: list[Column]) -> bool:
    """Whether columns are of such different sizes that one axis would flatten some."""
    spreads = [float(np.ptp(column.finite)) for column in columns if column.finite.size]
    spreads = [spread for spread in spreads if spread > 0]
    return len(spreads) > 1 and max(spreads) > _UNLIKE * min(spreads)
