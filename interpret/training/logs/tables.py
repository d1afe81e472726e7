"""Files that other tools log to, as runs: tables (CSV) and JSON.

CSV: Lightning's ``metrics.csv``, Keras' ``CSVLogger``, tables and charts saved from Weights &
Biases, and whatever else has a row of names and rows of numbers. JSON: Hugging Face's
``trainer_state.json``, a Keras history, a list of entries, or one entry a line.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pellucid.errors import FileError, InputError
from pellucid.interpret.results import Run
from pellucid.interpret.training.logs.columns import (
    Column,
    is_chart,
    run_of_columns,
    run_of_lists,
    runs_of_chart,
    step_name,
)

_DELIMITERS = ",;\t"
_ROWS_AT_ONCE = 4096
# Names that pandas gives to the index that it writes beside the data.
_INDEX = ("", "unnamed: 0")
# What a Hugging Face Trainer says once, at the end, of the training as a whole.
_SUMMARY = "train_runtime"
_STATE = ("global_step", "max_steps", "num_train_epochs", "best_metric", "best_global_step")


def header(path: Path) -> tuple[list[str], str]:
    """Return the names in a table's first row, and what stands between them.

    Raises
    ------
    FileError
        If the file cannot be read, or begins with no row of names.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            line = file.readline(1 << 20)
        rows = [next(csv.reader([line], delimiter=d), []) for d in _DELIMITERS]
    except (OSError, csv.Error) as error:
        raise FileError(f"{path} cannot be read: {error}") from error
    widest = max(rows, key=len)
    return [name.strip() for name in widest], _DELIMITERS[rows.index(widest)]


def is_log_table(path: Path) -> bool:
    """Whether a file is a table with a column that counts steps, and others."""
    try:
        names, _ = header(path)
    except FileError:
        return False
    return len(names) > 1 and (is_chart(names) or step_name(names) is not None)


def read_table(path: Path, name: str) -> dict[str, Run]:
    """Read a table, as CSV, of one run, or of a chart of several.

    A last row that is not complete is left out: somebody writes. A first row that stands again
    further down is passed over.

    Parameters
    ----------
    path
        The file. Its cells are separated by commas, semicolons or tabs.
    name
        The run's name, where the table has none.

    Returns
    -------
    dict of Run
        By name.

    Raises
    ------
    FileError
        If it is no such table.
    """
    names, delimiter = header(path)
    if not any(names) or all(_is_number(cell) for cell in names):
        raise FileError(f"{path} is no log: its first row holds no names of columns")
    columns = {_unique(n, names[:i]): Column() for i, n in enumerate(names)}
    longer = 0
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter)
            next(reader)
            complete = _rows(reader, names)
            while rows := list(itertools.islice(complete, _ROWS_AT_ONCE)):
                longer += sum(len(row) > len(names) for row in rows)
                filled = itertools.zip_longest(*rows, fillvalue="")
                for column, cells in zip(columns.values(), filled, strict=False):
                    column.extend(cells)
                for column in columns.values():
                    column.extend([""] * (next(iter(columns.values())).rows - column.rows))
    except (OSError, csv.Error) as error:
        raise FileError(f"{path} cannot be read: {error}") from error
    columns = {key: c for key, c in columns.items() if key.strip().lower() not in _INDEX}
    try:
        if is_chart(list(columns)):
            return runs_of_chart(columns, source="Weights & Biases chart")
        source = "Weights & Biases table" if "_step" in columns else "CSV"
        settings = {"file": path.name, "longer_rows": longer}
        return {name: run_of_columns(columns, name=name, source=source, **settings)}
    except InputError as error:
        raise FileError(f"{path} is no log: {error}") from error


def _rows(reader: Iterator[list[str]], names: list[str]) -> Iterator[list[str]]:
    """Give the rows that hold something; not the last one if it is too short, nor headers."""
    previous: list[str] | None = None
    for row in reader:
        if not row or (row[0].strip() == names[0] and [c.strip() for c in row] == names):
            continue
        if previous is not None:
            yield previous
        previous = row
    if previous is not None and len(previous) >= len(names):
        yield previous


def read_json(path: Path, name: str) -> Run:
    """Read a log in JSON: see `run_of_json` for what it may hold, and one entry a line.

    Raises
    ------
    FileError
        If it is no such log.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise FileError(f"{path} is no log: it is nested too deeply") from error
    except ValueError as error:
        content = _lines(text)
        if content is None:
            raise FileError(f"{path} is not valid JSON: {error}") from error
    try:
        return run_of_json(content, name=name)
    except InputError as error:
        raise FileError(f"{path} is no log: {error}") from error


def run_of_json(content: Any, *, name: str, source: str = "JSON") -> Run:
    """Return the run that a value of plain lists and dicts describes.

    Parameters
    ----------
    content
        A Hugging Face trainer state, or its ``log_history``: a list of dicts, one for each entry;
        or a dict of lists, one for each metric, which may stand in dicts of their own.
    name, source
        The run's name, and what the value is.

    Raises
    ------
    InputError
        If it is none of these, or holds no numbers.
    """
    if isinstance(content, Mapping):
        history = content.get("log_history")
        if isinstance(history, Sequence) and not isinstance(history, str):
            state = {
                key: content[key] for key in _STATE if isinstance(content.get(key), int | float)
            }
            return run_of_entries(history, name=name, source="Hugging Face trainer state", **state)
        lists = dict(_flat(content))
        if not lists:
            raise InputError(f"{source} holds no lists of numbers; its keys are {[*content][:12]}")
        return run_of_lists(lists, name=name, source=source)
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        return run_of_entries(content, name=name, source=source)
    raise InputError(f"{source} holds {type(content).__name__} instead of lists or dicts")


def run_of_entries(entries: Sequence[Any], *, name: str, source: str, **settings: Any) -> Run:
    """Return the run of a list of dicts, such as a Hugging Face ``log_history``.

    What a Trainer says at its end of the training as a whole is in the run's settings.

    Raises
    ------
    InputError
        If they are no dicts, or hold no numbers.
    """
    if not all(isinstance(entry, Mapping) for entry in entries):
        raise InputError(f"{source} holds a list that is not one of dicts")
    logged = [entry for entry in entries if _SUMMARY not in entry] or list(entries)
    summary = {
        str(key): value
        for entry in entries
        if _SUMMARY in entry
        for key, value in entry.items()
        if isinstance(value, int | float)
    }
    keys = list(dict.fromkeys(key for entry in logged for key in entry))
    if not keys:
        raise InputError(f"{source} holds no entries")
    columns = {str(key): Column(entry.get(key) for entry in logged) for key in keys}
    return run_of_columns(columns, name=name, source=source, summary=summary, **settings)


def _lines(text: str) -> list[Any] | None:
    """Return the entries of a text with one in each line, or None if it is no such text."""
    *lines, last = text.split("\n")
    entries = []
    try:
        for line in lines:
            if line.strip():
                entries.append(json.loads(line))
    except (ValueError, RecursionError):
        return None
    with contextlib.suppress(ValueError, RecursionError):  # somebody writes
        entries += [json.loads(last)] if last.strip() else []
    return entries if entries and all(isinstance(entry, dict) for entry in entries) else None


def _flat(content: Mapping[Any, Any], depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Give the lists in a dict, and in the dicts in it, by the keys on the way to them."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            if depth < 3:
                yield from ((f"{key}/{inner}", found) for inner, found in _flat(value, depth + 1))
        elif hasattr(value, "__len__") and not isinstance(value, str | bytes) and len(value):
            yield str(key), value


def _unique(name: str, before: list[str]) -> str:
    """Return a name that tells a column from those before it that are called the same."""
    return f"{name}.{before.count(name)}" if name in before else name


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
