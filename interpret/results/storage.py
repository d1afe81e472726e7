"""One result, one file: arrays in safetensors, the rest as JSON in its metadata. No pickle.

The metadata's entry ``pellucid`` is a JSON object ``{"schema", "type", "fields"}``. Inside the
fields, ``{"$array": name}`` stands for a tensor of the file, ``{"$strings": [...]}`` for an array
of strings, ``{"$float": "nan"}`` for a number that JSON does not know, ``{"$tuple": [...]}`` for a
tuple, ``{"$dict": [[key, value], ...]}`` for a mapping, and ``{"$result": type, ...}`` for another
result or a record.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import stat
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pellucid.errors import FileError, InputTypeError, MissingFileError, PellucidError
from pellucid.files import write_whole

SCHEMA = 1
T = TypeVar("T")
_KEY = "pellucid"
_types: dict[str, type] = {}


def storable(cls: type[T]) -> type[T]:
    """Register a dataclass so that files may name it."""
    _types[cls.__name__] = cls
    return cls


def save(result: Any, path: str | os.PathLike[str]) -> Path:
    """Write a result to one file, whole or not at all."""
    from safetensors.numpy import save as to_bytes

    arrays: dict[str, np.ndarray] = {}
    document = {
        "schema": SCHEMA,
        "type": type(result).__name__,
        "fields": _encode_fields(result, arrays),
    }
    text = json.dumps(document, allow_nan=False, ensure_ascii=False)
    return write_whole(path, to_bytes(arrays, metadata={_KEY: text}))


def load(path: str | os.PathLike[str]) -> Any:
    """Read a result that was saved with its ``save`` method.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Result
        An `Explanation`, `Importance`, `Projection`, ... as it was saved.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FileError
        If the file is damaged, was not written by Pellucid, or by a newer version of it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    file = Path(path).expanduser()
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise FileError(f"{file} is not a file; give the path of one saved result")
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no file {file}") from error
    except OSError as error:
        raise FileError(f"cannot read {file}: {error.strerror or error}") from error
    try:
        arrays = from_bytes(content)
        metadata = _metadata(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise FileError(
            f"{file} is damaged, or is not a saved result: it cannot be read as safetensors "
            f"({error})"
        ) from error
    if _KEY not in metadata:
        raise FileError(f"{file} is a safetensors file, but not one that Pellucid saved")
    try:
        document = json.loads(metadata[_KEY])
        schema, name = document["schema"], document["type"]
        if not isinstance(schema, int) or schema > SCHEMA:
            raise FileError(
                f"{file} has schema {schema}, written by a newer Pellucid; this one reads up to "
                f"schema {SCHEMA}: upgrade with `pip install -U pellucid`"
            )
        return _build(name, document["fields"], arrays)
    except FileError:
        raise
    except (PellucidError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(f"{file} is damaged: {error}") from error


def _metadata(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata: dict[str, str] = header.get("__metadata__") or {}
    return metadata


def _encode_fields(result: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {f.name: _encode(getattr(result, f.name), arrays) for f in dataclasses.fields(result)}


def _encode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return number if math.isfinite(number) else {"$float": str(number)}
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "US" or value.dtype == object:
            return {"$strings": [str(v) for v in value.ravel()], "shape": list(value.shape)}
        name = f"a{len(arrays)}"
        arrays[name] = np.ascontiguousarray(value).reshape(value.shape)
        return {"$array": name}
    if isinstance(value, tuple):
        return {"$tuple": [_encode(v, arrays) for v in value]}
    if isinstance(value, list):
        return [_encode(v, arrays) for v in value]
    if isinstance(value, dict):
        return {"$dict": [[_encode(k, arrays), _encode(v, arrays)] for k, v in value.items()]}
    if dataclasses.is_dataclass(value) and type(value).__name__ in _types:
        return {"$result": type(value).__name__, "fields": _encode_fields(value, arrays)}
    raise InputTypeError(
        f"cannot save a {type(value).__name__} inside a result; use numbers, strings, arrays, "
        "tuples, lists and dicts of them"
    )


def _decode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_decode(v, arrays) for v in value]
    if not isinstance(value, dict):
        return value
    if "$array" in value:
        return arrays[value["$array"]]
    if "$strings" in value:
        return np.array(value["$strings"], dtype=str).reshape(value["shape"])
    if "$float" in value:
        return float(value["$float"])
    if "$tuple" in value:
        return tuple(_decode(v, arrays) for v in value["$tuple"])
    if "$dict" in value:
        return {_decode(k, arrays): _decode(v, arrays) for k, v in value["$dict"]}
    if "$result" in value:
        return _build(value["$result"], value["fields"], arrays)
    raise ValueError(f"it holds something unknown: {sorted(value)}")


def _build(name: str, fields: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    cls = _types.get(name)
    if cls is None:
        raise ValueError(f"it holds a result of the unknown kind {name!r}")
    return cls(**{key: _decode(value, arrays) for key, value in fields.items()})
