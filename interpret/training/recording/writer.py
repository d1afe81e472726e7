"""Writing a run: whole lines, appended, in one call. `store` describes the files."""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1
FOLDER = "events"
_DUMPS = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_SPELLED = {math.inf: "Infinity", -math.inf: "-Infinity"}


def encode(value: Any) -> Any:
    """Return the value as strict JSON can hold it: NaN and infinities are spelled."""
    if isinstance(value, float):
        return value if math.isfinite(value) else _SPELLED.get(value, "NaN")
    if isinstance(value, Mapping):
        return {str(key): encode(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(one) for one in value]
    if isinstance(value, np.generic):
        return encode(value.item())
    return value


class Writer:
    """One process's files in a run's folder, which only ever grow.

    Lines and arrays wait in memory until `flush` writes them: first the arrays, in one call, then
    the lines that point at them, in one call. Nobody is locked out, and nothing is held back by
    ``fsync``: what `flush` has written survives the process, not a power cut.

    Parameters
    ----------
    folder
        The run's; it is created.
    """

    def __init__(self, folder: Path) -> None:
        place = folder / FOLDER
        place.mkdir(parents=True, exist_ok=True)
        host = "".join(c if c.isalnum() or c in "-." else "-" for c in socket.gethostname())[:40]
        self.path = place / f"{host or 'host'}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        self._lines: list[bytes] = []
        self._arrays: list[bytes] = []
        self._end = 0  # of the side file, once what waits is written
        self._open: dict[Path, int] = {}
        self._torn = False

    def array(self, values: np.ndarray) -> dict[str, Any]:
        """Queue an array, and return what a line says to point at it."""
        values = np.ascontiguousarray(values)
        values = values.astype(values.dtype.newbyteorder("<"), copy=False)
        reference = {"offset": self._end, "shape": list(values.shape), "dtype": values.dtype.str}
        content = values.tobytes()
        self._arrays.append(content)
        self._end += len(content)
        return reference

    def line(self, kind: str, **fields: Any) -> None:
        """Queue a line."""
        record = {"kind": kind, **fields}
        try:
            text = _DUMPS(record)
        except (ValueError, TypeError):  # not finite, or NumPy's: seldom, and this takes longer
            text = _DUMPS(encode(record))
        self._lines.append(text.encode() + b"\n")

    def flush(self) -> None:
        """Write all that waits.

        Raises
        ------
        OSError
            If it cannot be written. What waited is forgotten then, so that memory does not grow
            while a disk is full; what comes later has a chance again.
        """
        if not self._lines:
            return
        arrays, lines = b"".join(self._arrays), b"".join(self._lines)
        self._arrays, self._lines = [], []
        side = self.path.with_suffix(".bin")
        try:
            self._append(side, arrays)
        except OSError:
            # Some of it may have been written: the next array begins behind that.
            self._end = os.fstat(self._open[side]).st_size if side in self._open else 0
            raise
        # A line that broke off is ended, so that it does not spoil the next one.
        content = b"\n" + lines if self._torn else lines
        self._torn = True
        self._append(self.path, content)
        self._torn = False

    def close(self) -> None:
        """Close the files; what waits is not written."""
        for descriptor in self._open.values():
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._open = {}

    def _append(self, path: Path, content: bytes) -> None:
        if not content:
            return
        if path not in self._open:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._open[path] = os.open(path, flags, 0o666)
        written = os.write(self._open[path], content)
        if written != len(content):
            raise OSError(f"only {written} of {len(content)} bytes could be written to {path}")
