"""The store: a run in a folder, written by appending, read while it grows.

A run is a folder. Every process that records into it has a file of its own there, to which whole
lines are appended, and a second one for its arrays::

    runs/first/events/<host>-<process>-<random>.jsonl    lines, in UTF-8
    runs/first/events/<host>-<process>-<random>.bin      arrays, one behind the other

A line is a JSON object; ``kind`` says what it holds. The first one describes the process::

    {"kind": "start", "format": 1, "name": "first", "model": "Net", "rank": 0, "step": 0,
     "step_unit": "step", "layers": ["conv1", "fc"], "time": 1760000000.0, ...}

Metrics come for several steps at once, layers' statistics and histograms for one::

    {"kind": "metrics", "steps": [0, 1], "seconds": [0.1, 0.2], "values": {"loss": [2.3, 2.2]}}
    {"kind": "columns", "id": 0, "names": [["conv1", "weight.mean"], ["fc", "weight.mean"]]}
    {"kind": "layers", "step": 0, "columns": 0, "values": A}
    {"kind": "columns", "id": 1, "names": [["conv1", "weight"], ["fc", "weight"]]}
    {"kind": "histograms", "step": 0, "columns": 1, "lengths": [87, 91], "bins": A, "counts": A}
    {"kind": "watched", "name": "prediction", "step": 0, "sample_ids": [3, 8], "values": A}
    {"kind": "event", "step": 7, "event": "not finite", "layer": "fc", "text": "..."}

``seconds`` count from ``time``, which counts from 1970. A ``layers`` line holds one value for each
name of the ``columns`` line with that id, and a ``histograms`` line one histogram: it says which of
the fixed bins (see `octaves`) are not empty, and how many values each of them holds, all of them
one behind the other. ``A`` points into the side file::

    {"offset": 4096, "shape": [2, 10], "dtype": "<f4"}

Numbers that JSON has no word for are the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``.

An array is written before the line that points at it, and lines are written in one call to a file
opened for appending. So whoever kills a writer leaves at most the beginning of a line, which has
no line end and is not read; a reader remembers how far it came and reads on from there. Nothing is
locked, and no file has two writers: it works over network file systems too. A line whose array is
not there yet is tried again later. Of two values for the same metric and step the later process's
counts, so that a training may be taken up again in the same folder. A process of rank 1 and above
has its rank behind its names, as in ``"loss/rank1"``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.errors import FileError, MissingFileError
from pellucid.files import as_path
from pellucid.interpret.results import Event, Run
from pellucid.interpret.training.recording.merging import Part, merged
from pellucid.interpret.training.recording.writer import FOLDER, FORMAT

_HEAD = 200  # bytes by which a file is known again: its first line holds the time and a random name


class Follower:
    """Reads a run's folder, and whatever is added to it afterwards.

    Parameters
    ----------
    path
        The run's folder. It may be empty as yet.

    Attributes
    ----------
    skipped
        How many lines could not be understood.
    waiting
        How many lines point at arrays that are not there (yet).

    Raises
    ------
    MissingFileError
        If there is no such folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._folder = as_path(path)
        if not self._folder.is_dir():
            raise MissingFileError(f"there is no run in {self._folder}: it is not a folder")
        self._files: dict[Path, _File] = {}
        self._run: Run | None = None
        self.refresh()

    @property
    def skipped(self) -> int:
        """How many lines could not be understood."""
        return sum(file.skipped for file in self._files.values())

    @property
    def waiting(self) -> int:
        """How many lines point at arrays that are not there (yet)."""
        return sum(len(file.waiting) for file in self._files.values())

    @property
    def files(self) -> int:
        """How many processes have written."""
        return len(self._files)

    @property
    def run(self) -> Run:
        """All that was read so far."""
        if self._run is None:
            self._run = merged(
                [file.part for file in self._files.values()], self._folder.resolve().name
            )
        return self._run

    def refresh(self) -> bool:
        """Read what is new, and only that; return whether there was anything.

        Raises
        ------
        FileError
            If a newer version of Pellucid wrote a file.
        """
        found = sorted((self._folder / FOLDER).glob("*.jsonl"))
        gone = [path for path in self._files if path not in found]
        for path in gone:
            del self._files[path]
        changed = bool(gone)
        for path in found:
            file = self._files.setdefault(path, _File(path))
            changed = file.refresh() or changed
        if changed:
            self._run = None
        return changed


def read_store(path: str | os.PathLike[str]) -> Run:
    """Read what a `Recorder` wrote, also while it is still writing.

    Parameters
    ----------
    path
        The run's folder.

    Returns
    -------
    Run
        Everything that was written so far.

    Raises
    ------
    MissingFileError
        If there is no such folder, or no record in it.
    FileError
        If what is there is no record of ours, or one of a newer version.
    """
    follower = Follower(path)
    if not follower.files:
        raise MissingFileError(
            f"there is no record in {as_path(path)}: it has no {FOLDER}/*.jsonl; a Recorder makes "
            "them"
        )
    run = follower.run
    if follower.skipped and not (run.metrics or run.layers or run.events):
        raise FileError(
            f"the files in {as_path(path) / FOLDER} are no record of Pellucid's: none of their "
            f"{follower.skipped} lines could be understood"
        )
    return run


class _File:
    """One process's file: how far it was read, and what was found."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.forget()

    def forget(self) -> None:
        self.part = Part()
        self.skipped = 0
        self.waiting: list[dict[str, Any]] = []
        self._offset = 0
        self._head = b""

    def refresh(self) -> bool:
        """Read on from where the last reading ended."""
        try:
            with self.path.open("rb") as file:
                head = file.read(len(self._head))
                size = file.seek(0, os.SEEK_END)
                # It is another file by now, or was cut: then nothing of what was read holds.
                changed = size < self._offset or head != self._head
                if changed:
                    self.forget()
                file.seek(self._offset)
                new = file.read()
                if not self._head:
                    file.seek(0)
                    self._head = file.read(_HEAD)
        except OSError:  # taken away, or out of reach for a moment
            return False
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        waiting, self.waiting = self.waiting, []
        before = len(waiting)
        for record in waiting:
            self._take(record)
        for line in whole.splitlines():
            if line.strip():
                self._parse(line)
        return changed or bool(whole) or len(self.waiting) != before

    def _parse(self, line: bytes) -> None:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            self.skipped += 1
            return
        if isinstance(record, dict):
            self._take(record)
        else:
            self.skipped += 1

    def _take(self, record: dict[str, Any]) -> None:
        if record.get("kind") == "start" and _newer(record.get("format")):
            raise FileError(
                f"{self.path} was written in format {record['format']}, by a newer version of "
                f"Pellucid; this one reads format {FORMAT}. Upgrade Pellucid"
            )
        try:
            if not _TAKE[record["kind"]](self, record):
                self.waiting.append(record)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError):
            self.skipped += 1

    def _start(self, record: dict[str, Any]) -> bool:
        layers = tuple(_text(layer) for layer in record["layers"])
        step, time = _number(record["step"]), _number(record["time"])
        rank = int(record["rank"])
        if rank < 0:
            raise ValueError(rank)
        self.part.begin(
            name=_text(record["name"]),
            step_unit=_text(record["step_unit"]),
            layers=layers,
            rank=rank,
            step=step,
            time=time,
        )
        return True

    def _metrics(self, record: dict[str, Any]) -> bool:
        steps = _numbers(record["steps"])
        seconds = _numbers(record["seconds"]) if "seconds" in record else []
        values = {_text(name): _numbers(each) for name, each in record["values"].items()}
        if any(len(each) != len(steps) for each in (*values.values(), seconds or steps)):
            raise ValueError("one value for each step")
        self.part.add_metrics(steps, values, seconds)
        return True

    def _columns(self, record: dict[str, Any]) -> bool:
        names = tuple((_text(layer), _text(name)) for layer, name in record["names"])
        self.part.columns[int(record["id"])] = names
        return True

    def _layers(self, record: dict[str, Any]) -> bool:
        names, step = self.part.columns[int(record["columns"])], _number(record["step"])
        values = self._array(record["values"])
        if values is None:
            return False
        if values.shape != (len(names),):
            raise ValueError(values.shape)
        self.part.add_layers(step, names, values)
        return True

    def _histograms(self, record: dict[str, Any]) -> bool:
        names = [f"{layer}/{name}" for layer, name in self.part.columns[int(record["columns"])]]
        lengths = [int(length) for length in record["lengths"]]
        step = _number(record["step"])
        bins, counts = self._array(record["bins"]), self._array(record["counts"])
        if bins is None or counts is None:
            return False
        if (
            len(names) != len(lengths)
            or min(lengths, default=0) < 0
            or not bins.shape == counts.shape == (sum(lengths),)
            or bins.dtype.kind + counts.dtype.kind not in ("uu", "ii", "iu", "ui")
        ):
            raise ValueError("the histograms' lengths do not fit")
        self.part.add_histograms(step, names, lengths, bins, counts)
        return True

    def _watched(self, record: dict[str, Any]) -> bool:
        name, step = _text(record["name"]), _number(record["step"])
        ids = record.get("sample_ids")
        values = self._array(record["values"])
        if values is None:
            return False
        if values.ndim == 0 or (ids is not None and len(ids) != len(values)):
            raise ValueError("one id for each sample")
        self.part.add_watched(step, name, values, None if ids is None else np.asarray(ids))
        return True

    def _event(self, record: dict[str, Any]) -> bool:
        layer = record.get("layer")
        self.part.events.append(
            Event(
                step=_number(record["step"]),
                kind=_text(record["event"]),
                layer=None if layer is None else _text(layer),
                text=_text(record["text"]),
            )
        )
        return True

    def _array(self, reference: dict[str, Any]) -> np.ndarray | None:
        """Return the array that a line points at; None if it is not there (yet)."""
        shape, offset = tuple(reference["shape"]), reference["offset"]
        dtype = np.dtype(_text(reference["dtype"]))
        if dtype.kind not in "fiu" or not all(type(n) is int and n >= 0 for n in (*shape, offset)):
            raise ValueError(reference)
        count = int(np.prod(shape, dtype=object))
        try:
            with self.path.with_suffix(".bin").open("rb") as file:
                if file.seek(0, os.SEEK_END) < offset + count * dtype.itemsize:
                    return None
                file.seek(offset)
                content = file.read(count * dtype.itemsize)
        except OSError:
            return None
        if len(content) < count * dtype.itemsize:
            return None
        return np.frombuffer(content, dtype).reshape(shape)


_TAKE = {
    "start": _File._start,
    "metrics": _File._metrics,
    "columns": _File._columns,
    "layers": _File._layers,
    "histograms": _File._histograms,
    "watched": _File._watched,
    "event": _File._event,
}


def _newer(version: Any) -> bool:
    return isinstance(version, int) and version > FORMAT


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _number(value: Any) -> float:
    if isinstance(value, str) and value not in ("NaN", "Infinity", "-Infinity"):
        raise ValueError(value)
    return float(value)


def _numbers(values: Any) -> list[float]:
    if not isinstance(values, list):
        raise TypeError(values)
    return [_number(value) for value in values]
