"""TensorBoard's event files as a `Run`: scalars, histograms and images, of torch and TensorFlow.

Several files in one folder are one run, whoever wrote them: what they hold is merged by step, and
where two values have the same step, the one that was written later stands. A restart (torch's
``purge_step``) takes back what was written before it at its step and beyond, as in TensorBoard.
"""

from __future__ import annotations

import math
import os
import struct
import warnings
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.errors import FileError, MissingFileError
from pellucid.files import as_path
from pellucid.interpret.results import Histograms, Pictures, Run
from pellucid.interpret.training.logs import protobuf
from pellucid.interpret.training.logs.bins import Bins, bins_of_proto, bins_of_rows
from pellucid.interpret.training.logs.protobuf import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    MalformedError,
)
from pellucid.interpret.training.logs.records import Condition, read_records
from pellucid.interpret.training.logs.series import Series, Standing

# What an event consists of beside its summary; each is passed over, and counted.
_OTHER_EVENTS = {4: "graphs", 6: "log messages", 8: "run metadata", 9: "graphs"}
_RESTART, _SCALAR_CLASS = 1, 1
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
_VALUES = {(2, FIXED32), (4, BYTES), (5, BYTES), (6, BYTES), (8, BYTES)}
_FLOAT, _DOUBLE = struct.Struct("<f").unpack_from, struct.Struct("<d").unpack_from
_NONE = np.zeros(0)
# How many ways of placing a scalar's value in its record are remembered.
_FRAMES = 4


def is_event_file(path: Path) -> bool:
    """Whether a file is called as TensorBoard's are."""
    return "tfevents" in path.name


def read_tensorboard(path: str | os.PathLike[str], *, name: str | None = None) -> Run:
    """Read an event file, or all event files that stand in one folder, as one run.

    Parameters
    ----------
    path
        A file, or a folder. Folders inside it are runs of their own: see
        `pellucid.interpret.training.reading.read_runs`.
    name
        The run's name; the folder's by default.

    Returns
    -------
    Run
        Scalars by tag in `metrics`, histograms in `histograms`, encoded images in `pictures`, and
        the times of writing in `clock`. Its settings say which files were read, what was passed
        over and what is damaged.

    Warns
    -----
    UserWarning
        If a file is damaged. What can be read of it, is. A last record that is not complete is
        nothing to warn of: somebody writes.

    Raises
    ------
    MissingFileError
        If there is no such file, or no event file in the folder.
    FileError
        If a file is no event file, or cannot be read.
    """
    source = as_path(path)
    if source.is_dir():
        files = sorted(p for p in source.iterdir() if is_event_file(p) and p.is_file())
        if not files:
            raise MissingFileError(f"there is no TensorBoard event file in {source}")
    else:
        files = [source]
    gathered = _Gathered()
    conditions = {}
    for file in files:
        conditions[file] = condition = Condition()
        before = gathered.read
        gathered.files.append(before + 1)
        for record in read_records(file, condition):
            gathered.add(record)
        if gathered.read == before and condition.problems:
            if len(files) == 1:
                raise FileError(f"{file} is not a TensorBoard event file: {condition.problems[0]}")
            condition.problems = [f"is no event file: {condition.problems[0]}"]
    folder = source if source.is_dir() else source.parent
    return _run(gathered, conditions, name or folder.resolve().name or "run")


class _Gathered:
    """What the records hold, by tag.

    Most records are scalars, and those of one tag differ in nothing but time, step and value. So
    where a record was read field by field and found to hold one scalar, what stands before and
    behind its value is remembered: other records with the same bytes there have the same fields.
    """

    def __init__(self) -> None:
        self.scalars: dict[str, Series] = {}
        self.histograms: dict[str, Series] = {}
        self.pictures: dict[str, Series] = {}
        self.restarts: list[tuple[int, int]] = []
        self.skipped: Counter[str] = Counter()
        self.files: list[int] = []
        self.read = 0
        self.start = float("inf")
        self._plugins: dict[str, str] = {}
        self._known: dict[tuple[bytes, bytes], Series] = {}
        # Size of the value and of what stands behind it, and what reads it.
        self._frames: dict[tuple[int, int], Callable[[bytes, int], tuple[float]]] = {}

    def add(self, record: bytes) -> None:
        """Take in one record."""
        self.read += 1
        try:
            step, time, position = _head(record)
            for (size, behind), unpack in self._frames.items():
                at = len(record) - behind - size
                if at > position:
                    series = self._known.get((record[position:at], record[at + size :]))
                    if series is not None:
                        series.add(step, time, self.read, unpack(record, at)[0])
                        return
            self._add_event(record, position, step, time)
        except ValueError:  # `MalformedError`, or bins that are none
            self.skipped["malformed"] += 1

    def _add_event(self, record: bytes, position: int, step: int, time: float) -> None:
        """Take in a record, field by field, from a position on."""
        whole, values = True, []
        for number, kind, begin, end in protobuf.fields(record, position, len(record)):
            if number == 1 and kind == FIXED64:
                whole, time = False, _DOUBLE(record, begin)[0]
            elif number == 2 and kind == VARINT:
                whole, step = False, protobuf.signed(begin)
            elif number == 5 and kind == BYTES:
                values += [
                    (first, last)
                    for inner, sort, first, last in protobuf.fields(record, begin, end)
                    if inner == 1 and sort == BYTES
                ]
            elif number == 7 and kind == BYTES:
                for inner, _, status, _ in protobuf.fields(record, begin, end):
                    if inner == 1 and status == _RESTART:
                        self.restarts.append((self.read, step))
            elif number in _OTHER_EVENTS:
                self.skipped[_OTHER_EVENTS[number]] += 1
        if math.isfinite(time):
            self.start = min(self.start, time)
        for first, last in values:
            found = self._add_value(record, first, last, step, time)
            if found is not None and whole and len(values) == 1:
                series, (at, after) = found
                frame = (after - at, len(record) - after)
                if frame in self._frames or len(self._frames) < _FRAMES:
                    self._frames[frame] = _FLOAT if frame[0] == 4 else _DOUBLE
                    self._known[record[position:at], record[after:]] = series

    def _add_value(
        self, record: bytes, begin: int, end: int, step: int, time: float
    ) -> tuple[Series, tuple[int, int]] | None:
        """Take in one value; of a scalar return its series, and where it stands as a float."""
        tag = node = ""
        held, first, last = 0, 0, 0
        plugin: str | None = None
        for number, kind, start, stop in protobuf.fields(record, begin, end):
            if number == 1 and kind == BYTES:
                tag = protobuf.text(record, start, stop)
            elif number == 7 and kind == BYTES:
                node = protobuf.text(record, start, stop)
            elif number == 9 and kind == BYTES:
                plugin = _plugin(record, start, stop)
            elif (number, kind) in _VALUES:
                held, first, last = number, start, stop
        tag = tag or node
        if plugin is not None:
            self._plugins.setdefault(tag, plugin)  # only the first value of a tag need have it
        plugin = self._plugins.get(tag, "")
        at = (step, time, self.read)
        if held == 2:
            series = self.scalars.setdefault(tag, Series(array("d")))
            series.add(*at, _FLOAT(record, first)[0])
            return series, (first, last)
        if held == 8 and plugin == "scalars":
            tensor = protobuf.tensor(record, first, last)
            if tensor.values is None or tensor.values.size != 1:
                raise MalformedError("a scalar is no number")
            series = self.scalars.setdefault(tag, Series(array("d")))
            series.add(*at, float(tensor.values.reshape(-1)[0]))
            return None if tensor.place is None else (series, tensor.place)
        if held == 5 or (held == 8 and plugin == "histograms"):
            read = _proto_bins if held == 5 else _tensor_bins
            bins = read(record, first, last)
            if bins is None:
                self.skipped["empty histograms"] += 1
            else:
                self.histograms.setdefault(tag, Series([])).add(*at, bins)
        elif held == 4 or (held == 8 and plugin == "images"):
            images = (_image if held == 4 else _tensor_images)(record, first, last)
            if all(image.startswith(_PICTURES) for image in images):
                arrays = tuple(np.frombuffer(image, np.uint8) for image in images)
                self.pictures.setdefault(tag, Series([])).add(*at, arrays)
            else:
                self.skipped["pictures that are no PNG, JPEG or GIF"] += 1
        else:
            self.skipped[{6: "audio"}.get(held, plugin or "values of no known kind")] += 1
        return None


def _head(record: bytes) -> tuple[int, float, int]:
    """Return step and time of an event, and where the rest begins: writers put them first."""
    if len(record) < 10 or record[0] != 0x09:
        return 0, float("nan"), 0
    time = _DOUBLE(record, 1)[0]
    if record[9] != 0x10:
        return 0, time, 9
    if len(record) > 11 and record[11] < 0x80 <= record[10]:  # two bytes: most steps
        return record[10] & 0x7F | record[11] << 7, time, 12
    step, position = protobuf.varint(record, 10, len(record))
    return protobuf.signed(step), time, position


def _plugin(record: bytes, begin: int, end: int) -> str:
    """Return the name of the plugin that a SummaryMetadata names."""
    name, scalar = "", False
    for number, kind, first, last in protobuf.fields(record, begin, end):
        if number == 1 and kind == BYTES:
            for inner, sort, start, stop in protobuf.fields(record, first, last):
                if inner == 1 and sort == BYTES:
                    name = protobuf.text(record, start, stop)
        elif number == 4 and kind == VARINT:
            scalar = first == _SCALAR_CLASS
    return "scalars" if scalar else name


def _proto_bins(record: bytes, begin: int, end: int) -> Bins | None:
    numbers: dict[int, list[np.ndarray]] = {1: [], 2: [], 6: [], 7: []}
    for number, kind, first, last in protobuf.fields(record, begin, end):
        if number in numbers and kind in (BYTES, FIXED64):
            numbers[number].append(protobuf.packed(record, first, last, "<f8"))
    low, high, limits, counts = (np.concatenate([_NONE, *numbers[n]]) for n in (1, 2, 6, 7))
    # A field that is not written is zero.
    least, most = (float(x[-1]) if x.size else 0.0 for x in (low, high))
    return bins_of_proto(least, most, limits, counts)


def _tensor_bins(record: bytes, begin: int, end: int) -> Bins | None:
    tensor = protobuf.tensor(record, begin, end)
    if tensor.values is None:
        raise MalformedError("a histogram holds texts")
    return bins_of_rows(tensor.values)


def _image(record: bytes, begin: int, end: int) -> list[bytes]:
    found = [b""]
    for number, kind, first, last in protobuf.fields(record, begin, end):
        if number == 4 and kind == BYTES:
            found = [record[first:last]]
    return found


def _tensor_images(record: bytes, begin: int, end: int) -> list[bytes]:
    # Width and height come first, as texts.
    return list(protobuf.tensor(record, begin, end).texts[2:])


def _run(gathered: _Gathered, conditions: dict[Path, Condition], name: str) -> Run:
    standing = Standing(gathered.restarts, gathered.files, gathered.start)
    metrics = {
        tag: (steps, np.array(series.values, dtype=np.float64)[kept])
        for tag, series in gathered.scalars.items()
        for steps, kept in [standing.add(tag, series)]
    }
    histograms = {}
    for tag, series in gathered.histograms.items():
        steps, kept = standing.add(tag, series)
        bins = [series.values[i] for i in kept]
        histograms[tag] = Histograms(steps, tuple(b[0] for b in bins), tuple(b[1] for b in bins))
    pictures = {}
    for tag, series in gathered.pictures.items():
        steps, kept = standing.add(tag, series)
        chosen = [series.values[i] for i in kept]
        several = max(map(len, chosen), default=0) > 1
        for n in range(max(map(len, chosen), default=0)):
            has = [len(images) > n for images in chosen]
            pictures[f"{tag}/{n}" if several else tag] = Pictures(
                steps[has], tuple(images[n] for images in chosen if len(images) > n)
            )
    settings: dict[str, Any] = {
        "source": "TensorBoard",
        "files": [file.name for file in conditions],
        "skipped": dict(gathered.skipped),
        "replaced": standing.replaced,
        "taken_back": standing.taken_back,
        "numbered": standing.numbered,
        "torn": [file.name for file, condition in conditions.items() if condition.torn],
        "problems": [f"{file.name}: {p}" for file, c in conditions.items() for p in c.problems],
    }
    if gathered.skipped["malformed"]:
        settings["problems"].append(
            f"{gathered.skipped['malformed']} of {gathered.read} events are malformed"
        )
    if settings["problems"]:
        where = next(iter(conditions)).parent
        warnings.warn(f"in {where}: " + "; ".join(settings["problems"]), stacklevel=4)
    return Run(
        metrics={tag: track for tag, track in metrics.items() if len(track[0])},
        histograms={tag: found for tag, found in histograms.items() if len(found)},
        pictures=pictures,
        events=standing.events(),
        clock=standing.clock(),
        name=name,
        settings=settings,
    )
