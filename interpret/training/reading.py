"""`read_run`: what any tool recorded of a training, as a `Run`."""

from __future__ import annotations

import dataclasses
import os
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.errors import FileError, InputError, MissingFileError
from pellucid.files import as_path
from pellucid.interpret.results import Run, load
from pellucid.interpret.training.logs.histories import run_of_object
from pellucid.interpret.training.logs.records import looks_like_records
from pellucid.interpret.training.logs.tables import is_log_table, read_json, read_table
from pellucid.interpret.training.logs.tensorboard import is_event_file, read_tensorboard

_STATE, _STORE = "trainer_state.json", "events"
_TABLES = {".csv", ".tsv", ".log"}
# Files that are called the same in each run.
_FOLDER_SAYS = {_STATE, "metrics.csv", "training.log", "log.csv", "history.json"}
_KNOWN = (
    "what can be read: a Recorder's folder, TensorBoard event files, Lightning's metrics.csv, "
    "Hugging Face's trainer_state.json, a Keras CSVLogger's file, a CSV export of Weights & "
    "Biases, any table with a column 'step' or 'epoch', and JSON of lists by metric"
)
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
# A tree of more folders is not one of runs.
_MOST_FOLDERS = 50_000


@dataclass(frozen=True)
class _Find:
    """Something that can be read.

    Attributes
    ----------
    path
        The file or folder that it is.
    read
        Reads it, given a name, as runs by name: a chart holds several.
    """

    path: Path
    read: Callable[[str], dict[str, Run]]


def read_run(source: Any, *, name: str | None = None) -> Run:
    """Read what was recorded of one training, by whatever tool.

    Parameters
    ----------
    source
        The path of a file or a folder: what a `Recorder` wrote, TensorBoard event files (all those
        of one folder are one run), Lightning's ``metrics.csv``, Hugging Face's
        ``trainer_state.json``, a Keras ``CSVLogger``'s file, a table or a chart of Weights &
        Biases as CSV, any other table that has a column of steps or epochs, or JSON. Or an object:
        a data frame, a dict of arrays or lists, a Keras ``History``, a Hugging Face ``Trainer``, a
        fitted estimator with its losses. It is known by what it holds; nothing is executed.
    name
        The run's name; by default the folder's, or the file's.

    Returns
    -------
    Run
        With what was passed over, and what is damaged, in its settings.

    Warns
    -----
    UserWarning
        If a part of it is damaged, and was left out.

    Raises
    ------
    MissingFileError
        If there is no such file or folder.
    FileError
        If it is nothing that can be read, or damaged as a whole.
    InputError
        If it holds several runs: `read_runs` reads them all.
    InputTypeError
        If the object is none of those above.
    """
    if isinstance(source, Run):
        return source if name is None else dataclasses.replace(source, name=name)
    if not isinstance(source, str | os.PathLike):
        return run_of_object(source, name=name)
    path = as_path(source)
    below = _finds(path)
    # A folder that is a run may hold others, as TensorBoard's may: it was asked for itself.
    finds = below.get(".") or [find for found in below.values() for find in found]
    if len(finds) > 1:
        raise InputError(_several(path, [f.path.relative_to(path).as_posix() for f in finds]))
    runs = finds[0].read(name or _name(finds[0].path))
    if len(runs) > 1:
        raise InputError(_several(path, list(runs)))
    (run,) = runs.values()
    return run if name is None else dataclasses.replace(run, name=name)


def read_runs(folder: str | os.PathLike[str]) -> dict[str, Run]:
    """Read all runs that stand in a folder and in those below it.

    As in TensorBoard, each folder that holds event files is a run; so is each that a `Recorder`
    wrote, a table, and a trainer's state. Of several checkpoints of one Trainer the last is read,
    which holds what the others do.

    Parameters
    ----------
    folder
        The path of a folder, or of a file that holds several runs, such as a chart of Weights &
        Biases saved as CSV.

    Returns
    -------
    dict of Run
        By place below the folder, ``"."`` for the folder's own, in alphabetical order.

    Warns
    -----
    UserWarning
        If a run cannot be read, and was left out; or a part of one.

    Raises
    ------
    MissingFileError
        If there is no such folder.
    FileError
        If it holds no run that can be read.
    """
    path = as_path(folder)
    found: dict[str, Run] = {}
    failed: list[FileError] = []
    for key, finds in _finds(path).items():
        for find in finds:
            at = key
            if len(finds) > 1 and find.path != path / key:
                at = find.path.relative_to(path).as_posix()
            try:
                runs = find.read(_name(find.path))
            except FileError as error:
                failed.append(error)
                continue
            if len(runs) == 1:
                found[at] = next(iter(runs.values()))
            else:
                found |= {run if at == "." else f"{at}/{run}": own for run, own in runs.items()}
    if failed and not found:
        raise failed[0]
    if failed:
        warnings.warn(
            f"{len(failed)} runs in {path} were left out, since they cannot be read: {failed[0]}",
            stacklevel=2,
        )
    return found


def _finds(path: Path) -> dict[str, list[_Find]]:
    """Return what can be read in a folder and those below it, by folder; or the file given."""
    if not os.path.lexists(path):
        raise MissingFileError(f"there is no file or folder {path}")
    if not path.is_dir():
        return {".": [_file(path)]}
    finds: dict[str, list[_Find]] = {}
    for folders, (here, below, files) in enumerate(os.walk(path)):
        if folders > _MOST_FOLDERS:
            raise InputError(
                f"{path} holds more than {_MOST_FOLDERS} folders; give the one that the runs are in"
            )
        folder = Path(here)
        below.sort()
        found = list(_held(folder, below, sorted(files)))
        if found:
            finds[folder.relative_to(path).as_posix()] = found
        taken = {find.path.name for find in found if find.path.parent == folder}
        below[:] = [b for b in below if not b.startswith(".") and b != _STORE and b not in taken]
    if not finds:
        raise FileError(f"there is no record of a training in {path}, {_seen(path)}; {_KNOWN}")
    return finds


def _held(folder: Path, below: list[str], files: list[str]) -> Iterator[_Find]:
    """Give what can be read of one folder: as a rule one thing, or none."""
    if _STORE in below and next((folder / _STORE).glob("*.jsonl"), None) is not None:
        yield _Find(folder, lambda name: {name: _stored(folder, name)})
    if any("tfevents" in name for name in files):
        yield _Find(folder, lambda name: {name: read_tensorboard(folder, name=name)})
    state = folder / _STATE
    steps = {int(found[1]): b for b in below if (found := _CHECKPOINT.fullmatch(b))}
    if _STATE not in files and steps:
        state = folder / steps[max(steps)] / _STATE
    if _STATE in files or state.is_file():
        yield _Find(state, lambda name: {name: read_json(state, name)})
        below[:] = [b for b in below if not _CHECKPOINT.fullmatch(b)]
    for file in files:
        if Path(file).suffix.lower() in _TABLES and is_log_table(folder / file):
            yield _file(folder / file)


def _file(path: Path) -> _Find:
    """Return how to read a file, by what it begins with.

    Raises
    ------
    FileError
        If it cannot be opened, or is nothing that can be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        records = looks_like_records(head)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
    if records or is_event_file(path):
        return _Find(path, lambda name: {name: read_tensorboard(path, name=name)})
    if path.suffix == ".safetensors":
        return _Find(path, lambda name: {name: _loaded(path)})
    if path.suffix == ".jsonl" and path.parent.name == _STORE:
        return _Find(path, lambda name: {name: _stored(path.parent.parent, name)})
    if b"\0" in head:
        raise FileError(f"{path} is no record of a training; {_KNOWN}")
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return _Find(path, lambda name: {name: read_json(path, name)})
    return _Find(path, lambda name: read_table(path, name))


def _stored(folder: Path, name: str) -> Run:
    from pellucid.interpret.training.recording.store import read_store

    return dataclasses.replace(read_store(folder), name=name)


def _loaded(path: Path) -> Run:
    run = load(path)
    if not isinstance(run, Run):
        raise FileError(f"{path} holds a {type(run).__name__}, not a Run")
    return run


def _name(path: Path) -> str:
    """Return what to call the run of a file or folder."""
    path = path.resolve()
    telling = path if path.is_dir() else path.parent if path.name in _FOLDER_SAYS else path
    return (telling.stem if telling.is_file() else telling.name) or "run"


def _several(path: Path, keys: list[str]) -> str:
    more = f" and {len(keys) - 8} more" if len(keys) > 8 else ""
    return (
        f"{path} holds {len(keys)} runs: {', '.join(keys[:8])}{more}. Give the path of one of "
        "them, or read them all with read_runs"
    )


def _seen(folder: Path) -> str:
    """Return what stands in a folder, in words."""
    names = sorted(os.listdir(folder))  # noqa: PTH208 - the names are what is wanted
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"which holds {', '.join(names[:8])}{more}" if names else "which is empty"
