"""Data of any kind as a table: arrays, data frames, dicts of columns, datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from pellucid.errors import InputError, InputTypeError
from pellucid.viz.data.columns import Column, convert
from pellucid.viz.theme import shorten

_ACCEPTED = "an array, a data frame, a dict of columns or a Dataset"


@dataclass(frozen=True)
class Table:
    """Columns with their names, converted when they are asked for.

    Attributes
    ----------
    names
        Of the columns.
    count
        How many rows there are.
    get
        Returns a column, as it was given, of some rows.
    ids
        What each row is called; None for its position.
    title
        What the data are called; empty where they have no name.
    notes
        What a caption says about the data before anything else.
    """

    names: tuple[str, ...]
    count: int
    get: Callable[[int, Any], Any]
    ids: np.ndarray | None = None
    title: str = ""
    notes: tuple[str, ...] = ()
    rows: Any = field(default_factory=lambda: slice(None))

    def noting(self, note: str) -> Table:
        """Return the table with one more note for captions."""
        return replace(self, notes=(*self.notes, note))

    def chosen(self, rows: np.ndarray) -> Table:
        """Return some of the rows."""
        ids = rows if self.ids is None else self.ids[rows]
        return replace(self, rows=rows, count=len(rows), ids=ids)

    def column(self, position: int) -> Column:
        """Return a column, converted."""
        return convert(self.names[position], self.get(position, self.rows))

    def find(self, wanted: Any, role: str) -> int:
        """Return the position of a column given by its name or position.

        Raises
        ------
        InputError
            If there is none.
        InputTypeError
            If it is neither a name nor a position.
        """
        if isinstance(wanted, str):
            if wanted in self.names:
                return self.names.index(wanted)
            close = [n for n in self.names if wanted.lower() in n.lower()][:5] or self.names[:8]
            more = ", ..." if len(close) < len(self.names) else ""
            raise InputError(
                f"{role}={wanted!r}: there is no such column; there are "
                f"{', '.join(repr(shorten(n, 40)) for n in close)}{more}"
            )
        if isinstance(wanted, (int, np.integer)) and not isinstance(wanted, bool):
            if -len(self.names) <= wanted < len(self.names):
                return int(wanted) % len(self.names)
            raise InputError(
                f"{role}={wanted}: there is no such column; positions go from 0 to "
                f"{len(self.names) - 1}"
            )
        raise InputTypeError(
            f"{role} is a column's name or position; got a {type(wanted).__name__}"
        )

    def optional(self, wanted: Any, role: str) -> Column | None:
        """Return a column; None where none was asked for."""
        return None if wanted is None else self.column(self.find(wanted, role))

    def required(self, wanted: Any, role: str, default: int = 0) -> Column:
        """Return a column; the one at position `default` where none was asked for."""
        if wanted is None and default >= len(self.names):
            raise InputError(
                f"the data have {len(self.names)} column{'s' if len(self.names) > 1 else ''}; "
                f"{role}= needs one more"
            )
        return self.column(default if wanted is None else self.find(wanted, role))


def read(data: Any) -> Table:
    """Return data as a table.

    Parameters
    ----------
    data
        An array of shape (rows,) or (rows, columns), a data frame or a series of pandas, Polars or
        another library that narwhals knows, a dict of columns, a Dataset, or a Table.

    Raises
    ------
    InputError
        If there are no rows or columns, or the columns differ in length.
    InputTypeError
        If it is none of these.
    """
    table = _read(data)
    if not table.names or not table.count:
        raise InputError(f"the data are empty: {table.count} rows, {len(table.names)} columns")
    return table


def is_dataset(data: Any) -> bool:
    """Whether data are a Dataset, or look like one."""
    parts = ("inputs", "targets", "feature_names", "class_names")
    return all(hasattr(data, part) for part in parts)


def is_tensor(data: Any) -> bool:
    """Whether data are a tensor of torch, which is not imported here."""
    return all(hasattr(data, part) for part in ("detach", "cpu", "numpy"))


def _read(data: Any) -> Table:
    if isinstance(data, Table):
        return data
    if is_dataset(data):
        return _dataset(data)
    if isinstance(data, Mapping):
        return _columns(data)
    if nw.dependencies.is_into_series(data):
        name = data.name if data.name not in (None, "") else "value"
        index = data.index if nw.dependencies.is_pandas_series(data) else None
        return _columns({name: data}, _ids(index))
    if nw.dependencies.is_into_dataframe(data):
        return _frame(data)
    if hasattr(data, "collect"):
        raise InputTypeError(f"a {type(data).__name__} holds no data yet; give it after .collect()")
    return _array(data)


def _array(data: Any) -> Table:
    if is_tensor(data):
        data = data.detach().cpu().numpy()
    if not isinstance(data, (np.ndarray, list, tuple)) and not hasattr(data, "__array__"):
        raise InputTypeError(
            f"data of type {type(data).__name__} have no columns to draw; give {_ACCEPTED}"
        )
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise InputError(
            f"the {type(data).__name__} is ragged: its rows differ in length; give {_ACCEPTED}"
        ) from error
    if array.dtype.names:
        return _columns({name: array[name] for name in array.dtype.names})
    if array.ndim not in (1, 2):
        raise InputError(
            f"an array of data is (rows,) or (rows, columns); got shape {array.shape}. Reshape it "
            "to rows and columns; viz.auto(data) draws pictures of 1 or 3 channels"
        )
    table = array.reshape(len(array), -1) if array.size else array.reshape(0, 0)
    single = array.ndim == 1
    names = ("value",) if single else tuple(f"column {k}" for k in range(table.shape[1]))
    return Table(names, len(table), lambda k, rows: table[rows, k])


def _columns(data: Mapping[Any, Any], ids: np.ndarray | None = None) -> Table:
    """Return a dict of columns as a table."""
    columns: dict[str, Any] = {}
    for key, given in data.items():
        name = str(key)
        if name in columns:
            raise InputError(f"two columns are called {name!r}; rename one")
        columns[name] = _one(name, given)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{shorten(n, 40)!r} {c:,}" for n, c in list(lengths.items())[:6])
        raise InputError(f"the columns differ in length: {said}")
    found = list(columns.values())
    return Table(
        tuple(columns), next(iter(lengths.values()), 0), lambda k, rows: found[k][rows], ids
    )


def _one(name: str, given: Any) -> Any:
    """Return one column of a dict, as a series or array with one axis."""
    if nw.dependencies.is_into_series(given):
        return nw.from_native(given, series_only=True)
    if is_tensor(given):
        given = given.detach().cpu().numpy()
    if isinstance(given, (str, bytes)) or not hasattr(given, "__len__"):
        raise InputTypeError(
            f"column {name!r} is a {type(given).__name__}; a dict of data has one list or array "
            "for each column"
        )
    try:
        array = np.asarray(given)
        # NumPy would make texts of numbers beside texts, and lose what is missing.
        if not isinstance(given, np.ndarray) and array.dtype.kind in "US":
            array = np.array(given, dtype=object)
    except ValueError as error:
        raise InputError(f"the values of column {name!r} differ in length") from error
    if array.ndim != 1:
        raise InputError(f"column {name!r} has shape {array.shape}; a column has one axis")
    return array


def _frame(data: Any) -> Table:
    index = None
    if nw.dependencies.is_pandas_dataframe(data):
        index = data.index
        data = data.set_axis([str(name) for name in data.columns], axis=1)
    names = [str(name) for name in data.columns] if hasattr(data, "columns") else []
    twice = next((name for name, after in zip(sorted(names), sorted(names)[1:], strict=False)
                  if name == after), None)  # fmt: skip
    if twice is not None:
        raise InputError(f"two columns are called {twice!r}; rename one")
    frame = nw.from_native(data, eager_only=True)
    return Table(
        tuple(frame.columns), len(frame), lambda k, rows: frame[frame.columns[k]][rows], _ids(index)
    )


def _ids(index: Any) -> np.ndarray | None:
    """Return what a pandas index calls the rows; None where it only counts them."""
    if index is None or type(index).__name__ in ("RangeIndex", "MultiIndex"):
        return None
    found = np.asarray(index)
    return found if found.dtype.kind in "iu" else found.astype(str)


def _dataset(data: Any) -> Table:
    """Return a Dataset as a table: its features, and its targets in the last column."""
    inputs = np.asarray(data.inputs)
    flat = inputs.reshape(len(inputs), -1)
    names = tuple(data.feature_names or ()) or (
        tuple(f"column {k}" for k in range(flat.shape[1]))
        if inputs.ndim == 2
        else tuple(", ".join(map(str, place)) for place in np.ndindex(inputs.shape[1:]))
    )
    target = "target"
    while target in names:
        target = f"the {target}"
    targets = np.asarray(data.targets)
    levels = data.class_names
    if levels is None and getattr(data, "task", "") == "classification":
        levels = tuple(f"class {k}" for k in range(int(targets.max()) + 1))

    def get(k: int, rows: Any) -> Any:
        if k < flat.shape[1]:
            return flat[rows, k]
        if levels is None:
            return targets[rows]
        codes = targets[rows].astype(np.float64)
        return Column(target, "category", codes, tuple(map(str, levels)), ordered=True)

    done = getattr(data, "preprocessing", "none")
    ids = getattr(data, "sample_ids", None)
    return Table(
        (*names, target),
        len(inputs),
        get,
        None if ids is None else np.asarray(ids),
        title=str(getattr(data, "name", "")),
        notes=() if done in ("", "none") else (f"the data as given: {done}",),
    )
