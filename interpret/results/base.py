"""What every result can do: be sliced, be a table, save itself, show itself, say its origin."""

from __future__ import annotations

import dataclasses
import functools
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import storage
from pellucid.interpret.results.trees import rebuild

if TYPE_CHECKING:
    import pandas as pd

_RECORDED = ("pellucid", "numpy", "torch", "captum", "scikit-learn", "umap-learn")


@functools.cache
def installed_versions() -> Mapping[str, str]:
    """Versions of Python and of the packages that results depend on."""
    versions = {"python": platform.python_version()}
    for name in _RECORDED:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@storage.storable
@dataclass(frozen=True)
class Provenance:
    """Where a result comes from.

    Attributes
    ----------
    model
        The class name of the model, or the name of the function.
    device
        Where it was computed.
    seed
        The seed given, or None where nothing was drawn.
    created
        UTC, ISO 8601, to the second.
    versions
        Of Python, Pellucid and the packages that it computes with.
    """

    model: str = ""
    device: str = "cpu"
    seed: int | None = None
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    versions: dict[str, str] = field(default_factory=lambda: dict(installed_versions()))


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Result:
    """Base of every result.

    A subclass is a frozen dataclass that names the fields which have the sample axis in
    `_sampled`; such fields are sliced together.

    Attributes
    ----------
    settings
        Every setting that the result depends on, as it was used.
    provenance
        Versions, device, model, seed, time.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)

    schema: ClassVar[int] = storage.SCHEMA
    _sampled: ClassVar[tuple[str, ...]] = ()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the result to one file (safetensors, no pickle), whole or not at all.

        Parameters
        ----------
        path
            The file's name; ``.safetensors`` is the customary ending.

        Returns
        -------
        pathlib.Path
            Where it was written. `pellucid.load` reads it back.

        Raises
        ------
        UnwritableError
            If it cannot be written there.
        """
        return storage.save(self, path)

    def to_frame(self) -> pd.DataFrame:
        """Return the result as a table."""
        raise NotImplementedError  # each result has its own table

    def summary(self) -> str:
        """Return what the result says, on one screen."""
        raise NotImplementedError  # each result has its own words

    def _samples(self) -> int:
        """Return the length of the sample axis."""
        raise InputTypeError(f"{type(self).__name__} has no sample axis to slice or to count")

    def _sampled_fields(self) -> tuple[str, ...]:
        """Return the names of the fields that have the sample axis."""
        return self._sampled

    def __len__(self) -> int:
        return self._samples()

    def __bool__(self) -> bool:
        # Without this, `if result` would ask for a length, which not every result has.
        return True

    def __getitem__(self, index: Any) -> Self:
        """Return the chosen samples: an integer, a slice, a mask or a list of positions.

        The sample axis stays, so that one sample is a result like any other.
        """
        n = self._samples()
        positions = chosen_positions(index, n)

        def take(_: str, array: Any) -> Any:
            # A baseline that all rows share has a sample axis of length one: it stays whole.
            if not isinstance(array, np.ndarray) or len(array) != n:
                return array
            return array[positions]

        chosen = {name: rebuild(getattr(self, name), take) for name in self._sampled_fields()}
        return dataclasses.replace(self, **chosen)

    def __repr__(self) -> str:
        return self.summary()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Show the picture in a notebook; without plotly, the summary."""
        bundle: dict[str, Any] = {"text/plain": self.summary()}
        try:
            from pellucid import viz  # the one arrow from numbers to pictures, at this moment only
        except ImportError:
            return bundle
        try:
            figure = viz.figure(self)
        except InputError:
            return bundle  # several inputs or targets have no one picture
        bundle.update(figure._repr_mimebundle_(include, exclude) or {})
        return bundle


def chosen_positions(index: Any, n: int) -> np.ndarray:
    """Turn any way of choosing samples into an array of positions."""
    if isinstance(index, slice):
        return np.arange(n)[index]
    chosen = np.asarray(index)
    if chosen.dtype == bool:
        if chosen.shape != (n,):
            raise InputError(f"the mask has shape {chosen.shape}, but there are {n} samples")
        return np.flatnonzero(chosen)
    if chosen.size == 0:
        return np.zeros(0, dtype=int)
    if chosen.dtype.kind not in "iu" or chosen.ndim > 1:
        raise InputTypeError(
            f"samples are chosen by an integer, a slice, a mask or a list of integers, "
            f"not by {index!r}"
        )
    chosen = np.atleast_1d(chosen)
    outside = chosen[(chosen < -n) | (chosen >= n)]
    if outside.size:
        # IndexError is what ends a `for row in result` loop, so it is what is raised here.
        raise IndexError(f"sample {outside[0]} is out of range: there are {n} samples")
    return chosen % n if n else chosen


def format_table(rows: Sequence[tuple[str, ...]], indent: str = "  ") -> list[str]:
    """Return lines with the columns aligned: the first to the left, the others to the right."""
    if not rows:
        return []
    rows = [tuple(shorten(cell, 60) for cell in row) for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        indent
        + "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def first_rows(rows: Sequence[tuple[str, ...]], what: str, limit: int = 16) -> list[str]:
    """Return the lines of the first rows, and how many more there are."""
    more = len(rows) - limit
    return format_table(rows[:limit]) + ([f"  ... and {more} more {what}"] if more > 0 else [])


def screen(lines: Sequence[str]) -> str:
    """Join lines, each to stay one: names from outside may be long, or hold line breaks."""
    indents = [len(line) - len(line.lstrip(" ")) for line in lines]
    return "\n".join(
        " " * indent + shorten(line[indent:], 110 - indent)
        for indent, line in zip(indents, lines, strict=True)
    )


def shorten(text: str, width: int) -> str:
    """Return a text on one line, of at most `width` characters."""
    line = text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
    return line if len(line) <= width else line[: width - 1] + "…"
