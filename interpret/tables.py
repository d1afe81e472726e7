"""Tables as numbers and back: data frames and arrays of columns, with texts, categories and gaps.

Points of a perturbation are made of numbers. A column of numbers stays what it is; of any other
column each value gets a number, its code. Back in a table, every column has its own type again.
"""

from __future__ import annotations

import numbers as abstract
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError, InputTypeError

# A missing value: finite, since what is not is taken for a mistake, and a number that no data has.
GAP = -(2.0**1023)
# Whole numbers beyond are not all told apart by float64.
_EXACT = 2.0**53


def is_frame(value: Any) -> bool:
    """Whether a value is a data frame: pandas', Polars', or another that narwhals knows."""
    return bool(nw.dependencies.is_into_dataframe(value))


class Table:
    """How the columns of a table become numbers, and numbers its columns.

    Parameters
    ----------
    inputs
        A data frame, or an array of shape (samples, columns).
    **others
        Further rows of the same columns by what they are called in messages, such as `background`:
        tables, or one row as a sequence, dict or pandas Series.

    Attributes
    ----------
    names
        The columns' names, of a data frame; else None.
    categories
        For each column that is not of numbers, by its position, what its codes stand for.

    Raises
    ------
    InputError, InputTypeError
        If the others do not have the inputs' columns and types, a number is infinite, or a column
        holds what cannot be told apart.
    """

    def __init__(self, inputs: Any, **others: Any) -> None:
        self.names: tuple[str, ...] | None = None
        self._dtype: np.dtype[Any] | None = None
        whole, parts = _frames(inputs, others) if is_frame(inputs) else _arrays(inputs, others)
        if isinstance(whole, np.ndarray):
            self._dtype = whole.dtype
            columns = list(whole.T) if whole.dtype.kind in "OUS" else []
            names = [f"{i}" for i in range(whole.shape[1])]
        else:
            self.names = tuple(whole.columns)
            self._implementation = whole.implementation
            # Names that are no texts, which pandas allows, and narwhals does not.
            self._labels = inputs.columns if nw.dependencies.is_pandas_dataframe(inputs) else None
            columns, names = list(whole.iter_columns()), list(whole.columns)
        read = [_read(column, name) for column, name in zip(columns, names, strict=False)]
        self._columns: list[_Plain | _Known] = [column for column, _ in read]
        # Columns of one type are a single array, which is converted at once.
        self._matrix: _Plain | None = None
        if isinstance(whole, np.ndarray) and not columns:
            self._matrix = _Plain(whole.dtype)
            self._numbers = _gapped(whole)
        else:
            self._numbers = np.stack([found for _, found in read], axis=1)
            floats = {c.dtype if isinstance(c, _Plain) else None for c in self._columns}
            if len(floats) == 1 and isinstance(c := self._columns[0], _Plain):
                self._matrix = c if c.dtype.kind == "f" else None
        self.categories: dict[int, tuple[str, ...]] = {
            i: column.texts
            for i, column in enumerate(self._columns)
            if isinstance(column, _Known) and column.texts is not None
        }
        ends = np.cumsum([0, *parts.values()])
        self._slices = {what: slice(*ends[i : i + 2]) for i, what in enumerate(parts)}
        for what, part in self._slices.items():
            _check_finite(self._numbers[part], what, names)

    def rows(self, what: str = "inputs") -> Tensor:
        """Return one of the tables that it was made of as numbers: (rows, columns), float64."""
        return torch.from_numpy(self._numbers[self._slices[what]].copy())

    def shown(self, numbers: np.ndarray) -> np.ndarray:
        """Return numbers with NaN where a value is missing."""
        return np.where(numbers == GAP, np.nan, numbers)

    def check_numbers(self, given: str, instead: str, *, gaps: bool = False) -> None:
        """Raise an `InputError` unless all columns are of numbers, which one can calculate with.

        Parameters
        ----------
        given
            What calculates with them, to begin the message.
        instead
            What to do, to end it.
        gaps
            Whether missing numbers are refused too.
        """
        names = self.names or tuple(map(str, range(self._numbers.shape[1])))
        if self.categories:
            name = names[next(iter(self.categories))]
            raise InputError(f"{given}, and column {name!r} is not of numbers; {instead}")
        missing = (self._numbers == GAP).any(0)
        if gaps and missing.any():
            name = names[int(missing.argmax())]
            raise InputError(f"{given}, and column {name!r} has missing values; {instead}")

    def table(self, rows: Tensor) -> Any:
        """Return numbers (rows, columns) as a table of the inputs' kind."""
        numbers = rows.detach().cpu().numpy()
        if self._matrix is not None:
            matrix = self._matrix.back(numbers)
            if self.names is None:
                return matrix
            frame = nw.from_numpy(matrix, list(self.names), backend=self._implementation)
            return self._labelled(frame.to_native())
        columns = [column.back(numbers[:, i]) for i, column in enumerate(self._columns)]
        if self.names is None:
            assert self._dtype is not None
            return np.stack(columns, axis=1).astype(self._dtype)
        made = dict(zip(self.names, columns, strict=True))
        return self._labelled(nw.from_dict(made, backend=self._implementation).to_native())

    def _labelled(self, frame: Any) -> Any:
        if self._labels is not None:
            frame.columns = self._labels
        return frame


@dataclass(frozen=True)
class _Plain:
    """A column, or an array, of numbers that any number fits."""

    dtype: np.dtype[Any]

    def back(self, numbers: np.ndarray) -> np.ndarray:
        """Return numbers in this dtype; as float64 where it cannot hold them."""
        shown = np.where(numbers == GAP, np.nan, numbers)
        with np.errstate(invalid="ignore"):
            cast = shown.astype(self.dtype)
        return cast if self.dtype.kind == "f" or (cast == shown).all() else shown


class _Known:
    """A column whose values are looked up among those that it had.

    Attributes
    ----------
    texts
        What codes stand for; None for a column of numbers.
    """

    def __init__(
        self, name: str, column: Any, numbers: np.ndarray, texts: tuple[str, ...] | None = None
    ) -> None:
        self._name, self.texts = name, texts
        self._levels, first = np.unique(numbers, return_index=True)
        self._values = _bare(column)[first]

    def back(self, numbers: np.ndarray) -> Any:
        """Return the values that these numbers stand for."""
        at = np.searchsorted(self._levels, numbers).clip(max=len(self._levels) - 1)
        if (self._levels[at] == numbers).all():
            found = self._values[at]
            return (
                nw.maybe_reset_index(found).to_native() if isinstance(found, nw.Series) else found
            )
        if self.texts is None:
            return np.where(numbers == GAP, np.nan, numbers)
        raise InputError(
            f"column {self._name!r} is not of numbers: there is no value between two others; "
            "compare with samples of the data"
        )


def _bare(column: Any) -> Any:
    """Return a column in the form in which values are taken from it quickest."""
    if isinstance(column, np.ndarray):
        return column
    # pandas aligns series by the labels of their rows, which takes long; but it would make texts of
    # a bare array of objects.
    native = column.to_native()
    return column if native.dtype == object else getattr(native, "array", column)


def _read(column: Any, name: str) -> tuple[_Plain | _Known, np.ndarray]:
    """Return how a column's values become numbers and back, and the numbers."""
    if isinstance(column, np.ndarray):
        import pandas as pd

        gaps, kind = pd.isna(column), nw.Object()
    else:
        gaps, kind = column.is_null().to_numpy(), column.dtype
        if kind.is_numeric() or kind == nw.Boolean:
            numbers = np.full(len(column), GAP)
            numbers[~gaps] = column.drop_nulls().cast(nw.Float64).to_numpy()
            numbers = _gapped(numbers)
            if kind.is_float() or not (np.abs(numbers[~gaps]) > _EXACT).any():
                return _numeric(column, name, numbers), numbers
    values = column.tolist() if isinstance(column, np.ndarray) else column.to_list()
    known = [value for value, gap in zip(values, gaps, strict=True) if not gap]
    if kind == nw.Object and all(isinstance(v, (abstract.Real, np.bool_)) for v in known):
        numbers = np.full(len(values), GAP)
        numbers[~gaps] = known
        return _Known(name, column, numbers), numbers
    try:
        levels = list(dict.fromkeys(known))
    except TypeError as error:
        strange = next(v for v in known if not _is_hashable(v))
        raise InputTypeError(
            f"column {name!r} holds a {type(strange).__name__}; a model of tables takes numbers, "
            "texts, categories or dates"
        ) from error
    if kind in (nw.Categorical, nw.Enum):
        there = set(levels)
        levels = [value for value in column.cat.get_categories().to_list() if value in there]
    else:
        levels = _in_order(levels)
    code = {value: number for number, value in enumerate(levels)}
    numbers = np.array([GAP if g else code[v] for v, g in zip(values, gaps, strict=True)], float)
    return _Known(name, column, numbers, tuple(map(str, levels))), numbers


def _numeric(column: nw.Series[Any], name: str, numbers: np.ndarray) -> _Plain | _Known:
    """Return how numbers become a column of this type, of which there are many for one dtype."""
    dtype = column.drop_nulls().to_numpy().dtype
    if dtype.kind in "fiub":
        plain = _Plain(dtype)
        made = nw.new_series(name, plain.back(numbers), backend=column.implementation)
        same = (made.is_null() == column.is_null()).all()
        if same and _native_type(made) == _native_type(column):
            return plain
    return _Known(name, column, numbers)


def _native_type(column: nw.Series[Any]) -> Any:
    """Return a column's type in its own library, which tells more of them apart."""
    return getattr(column.to_native(), "dtype", column.dtype)


def _gapped(numbers: np.ndarray) -> np.ndarray:
    wide = numbers.astype(float)
    return np.where(np.isnan(wide), GAP, wide)


def _in_order(levels: list[Any]) -> list[Any]:
    try:
        return sorted(levels)
    except TypeError:  # texts beside numbers
        return levels


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _check_finite(numbers: np.ndarray, what: str, names: Sequence[str]) -> None:
    endless = np.argwhere(np.isinf(numbers))
    if len(endless):
        row, column = endless[0]
        raise InputError(
            f"column {names[column]!r} of the {what} is infinite in row {row}; mend or drop it "
            "first"
        )


# -- arrays ----------------------------------------------------------------------------------------


def _arrays(inputs: Any, others: dict[str, Any]) -> tuple[np.ndarray, dict[str, int]]:
    """Return the rows of all tables as one array, and how many there are of each."""
    first = _array(inputs, "inputs")
    found = {"inputs": first}
    for what, other in others.items():
        found[what] = _array(other, what, first.shape[1])
        number = "fiub"
        if (found[what].dtype.kind in number) != (first.dtype.kind in number):
            raise InputTypeError(
                f"the {what} is of dtype {found[what].dtype}, and the inputs are of dtype "
                f"{first.dtype}; give both alike"
            )
    return np.concatenate(list(found.values())), {what: len(part) for what, part in found.items()}


def _array(table: Any, what: str, columns: int | None = None) -> np.ndarray:
    """Return rows as an array (rows, columns); of further rows, a single one may be bare."""
    if isinstance(table, Tensor):
        table = table.detach().cpu()
    array = table.to_numpy() if is_frame(table) else np.asarray(table)
    if array.ndim == 1 and columns is not None:
        array = array[None]
    if array.ndim != 2:
        raise InputError(
            f"a table has shape (samples, columns); got {array.shape} for the {what}. A single "
            "sample needs its first axis too: x[None]"
        )
    if columns is not None and array.shape[1] != columns:
        raise InputError(
            f"the {what} has shape {array.shape}, but the inputs have {columns} columns"
        )
    if array.dtype.kind not in "fiubOUS":
        raise InputTypeError(
            f"the {what} is of dtype {array.dtype}; give an array of numbers or texts, or a data "
            "frame"
        )
    if not array.size:
        raise InputError(f"the {what} is empty: its shape is {array.shape}")
    return array


# -- data frames -----------------------------------------------------------------------------------


def _frames(inputs: Any, others: dict[str, Any]) -> tuple[nw.DataFrame[Any], dict[str, int]]:
    """Return the rows of all tables as one frame, and how many there are of each."""
    first = _frame(inputs, "inputs")
    found = {"inputs": first}
    for what, other in others.items():
        if is_frame(other):
            found[what] = _selected(_frame(other, what), first, what)
        else:
            found[what] = _built(other, first, what)
    mixed = [n for n in first.columns if len({f.schema[n] for f in found.values()}) > 1]
    # Only numbers may differ in their type: they are what all of them fit.
    alike = [f.with_columns(nw.col(n).cast(nw.Float64) for n in mixed) for f in found.values()]
    return nw.concat(alike, how="vertical"), {what: len(part) for what, part in found.items()}


def _frame(table: Any, what: str) -> nw.DataFrame[Any]:
    """Return a data frame as one of narwhals, columns named by texts."""
    if nw.dependencies.is_pandas_dataframe(table):
        table = table.set_axis([str(name) for name in table.columns], axis=1)
    names = list(table.columns)
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise InputError(f"the {what} has two columns {twice!r}; rename one")
    frame: nw.DataFrame[Any] = nw.from_native(table, eager_only=True)
    if not len(frame) or not names:
        raise InputError(f"the {what} is empty: its shape is {frame.shape}")
    return frame


def _selected(rows: nw.DataFrame[Any], frame: nw.DataFrame[Any], what: str) -> nw.DataFrame[Any]:
    """Return further rows with the columns of the first ones, in their order."""
    _check_names(rows.columns, frame.columns, what)
    if rows.implementation != frame.implementation:
        raise InputTypeError(
            f"the {what} is a data frame of {rows.implementation}, and the inputs are one of "
            f"{frame.implementation}; give both alike"
        )
    columns = []
    for name in frame.columns:
        wanted, given = frame[name], rows[name]
        if not _same_type(wanted, given):
            if not given.is_null().all():
                raise InputTypeError(
                    f"column {name!r} is {_described(wanted)} in the inputs, but "
                    f"{_described(given)} in the {what}; convert it"
                )
            given = _nothing(wanted, len(given))
        columns.append(given.alias(name))
    return rows.with_columns(*columns).select(*frame.columns)


def _same_type(wanted: nw.Series[Any], given: nw.Series[Any]) -> bool:
    kinds = wanted.dtype, given.dtype
    if all(kind.is_numeric() or kind == nw.Boolean for kind in kinds):
        return True
    if wanted.dtype in (nw.Categorical, nw.Enum):
        return bool(_native_type(wanted) == _native_type(given))
    return bool(kinds[0] == kinds[1])


def _described(column: nw.Series[Any]) -> str:
    if column.dtype not in (nw.Categorical, nw.Enum):
        return str(column.dtype)
    found = column.cat.get_categories().to_list()
    return f"{type(column.dtype).__name__} of {str(found[:5])[:-1]}{', ...' * (len(found) > 5)}]"


def _nothing(like: nw.Series[Any], rows: int) -> nw.Series[Any]:
    """Return a column of another's type in which every value is missing."""
    some, own = like[np.zeros(rows, dtype=int)].to_frame(), nw.col(like.name)
    return some.select(nw.when(own.is_null()).then(own))[like.name]


def _check_names(given: Sequence[str], wanted: Sequence[str], what: str) -> None:
    missing = [name for name in wanted if name not in given]
    more = [name for name in given if name not in wanted]
    if missing or more:
        raise InputError(
            f"the {what} has other columns than the inputs: "
            + " and ".join(
                [f"{name!r} is missing" for name in missing[:1]]
                + [f"{name!r} is one more" for name in more[:1]]
            )
        )


def _built(other: Any, frame: nw.DataFrame[Any], what: str) -> nw.DataFrame[Any]:
    """Return rows that are no data frame as one of the first ones' columns and types."""
    if hasattr(other, "keys"):  # a dict, or a row of pandas
        named = {str(key): other[key] for key in other.keys()}  # noqa: SIM118 - a Series has them
        _check_names(list(named), frame.columns, what)
        other = [named[name] for name in frame.columns]
    if isinstance(other, (list, tuple)):
        other = np.array(other, dtype=object)  # else numbers beside texts would become texts
    array = _array(other, what, len(frame.columns))
    columns = [_column(array[:, i], frame[name], what) for i, name in enumerate(frame.columns)]
    return nw.from_dict({column.name: nw.maybe_reset_index(column) for column in columns})


def _column(values: np.ndarray, like: nw.Series[Any], what: str) -> nw.Series[Any]:
    """Return values as a column of another's type."""
    import pandas as pd

    kind, gaps = like.dtype, pd.isna(values)
    if kind.is_numeric() or kind == nw.Boolean:
        try:
            numbers = np.where(gaps, np.nan, values).astype(float)
        except (TypeError, ValueError) as error:
            raise InputTypeError(
                f"column {like.name!r} of the {what} holds {values[~gaps][0]!r}, and the inputs' "
                "is of numbers"
            ) from error
        return nw.new_series(like.name, numbers, nw.Float64, backend=like.implementation)
    if gaps.all():
        return _nothing(like, len(values))
    given = [None if gap else value for value, gap in zip(values.tolist(), gaps, strict=True)]
    texts = kind == nw.String and all(value is None or isinstance(value, str) for value in given)
    if texts or kind.is_temporal():
        try:
            return nw.new_series(like.name, given, kind, backend=like.implementation)
        except Exception as error:
            raise InputTypeError(
                f"column {like.name!r} of the {what} holds {values[~gaps][0]!r}, and the inputs' "
                f"is of {kind}"
            ) from error
    where = {value: i for i, value in enumerate(like.to_list())}
    strange = next((value for value in given if value not in where), None)
    if strange is not None:
        raise InputError(
            f"column {like.name!r} of the {what} has {strange!r}, which is not among the inputs' "
            "values; give a data frame with columns of the inputs' types"
        )
    return like[[where[value] for value in given]]
