"""One result, one file: arrays in safetensors, the rest as JSON in its metadata. No pickle.

The metadata's entry ``pellucid`` is a JSON object ``{"schema", "type", "fields", "crc32"}``, the
last a checksum of the others and the arrays, so that damage does not pass for data. Inside the
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
import types
import typing
import zlib
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pellucid.errors import FileError, InputTypeError, MissingFileError, PellucidError
from pellucid.files import as_path, write_whole

SCHEMA = 1
T = TypeVar("T")
_KEY = "pellucid"
_types: dict[str, type] = {}
# What reading a file that is not as we wrote it may raise.
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


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
    document["crc32"] = _checksum(document, arrays)
    # ASCII, because a name may hold a lone surrogate (of a file, say), which UTF-8 does not know.
    text = json.dumps(document, allow_nan=False)
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

    file = as_path(path)
    try:
        # A pipe would be waited on for ever; only a file is opened.
        content = file.read_bytes() if stat.S_ISREG(file.stat().st_mode) else None
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no file {file}") from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"cannot read {file}: {reason}") from error
    if content is None:
        raise FileError(f"{file} is not a file; give the path of one saved result")
    try:
        arrays = from_bytes(content)
        metadata = _metadata(content)
    except (SafetensorError, *_DAMAGE) as error:
        raise FileError(
            f"{file} is damaged, or is not a saved result: it cannot be read as safetensors "
            f"({error})"
        ) from error
    if _KEY not in metadata:
        raise FileError(f"{file} is a safetensors file, but not one that Pellucid saved")
    try:
        document = json.loads(metadata[_KEY])
        schema = document["schema"]
        newer = isinstance(schema, int) and schema > SCHEMA
        if not newer:
            result = _read(document, arrays)
    except (PellucidError, *_DAMAGE) as error:
        raise FileError(f"{file} is damaged: {error}") from error
    if newer:
        raise FileError(
            f"{file} has schema {schema}, written by a newer Pellucid; this one reads up to "
            f"schema {SCHEMA}: upgrade with `pip install -U pellucid`"
        )
    return result


def _read(document: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """Check that a file is whole, and build what it holds."""
    from pellucid.interpret.results.base import Result

    if document["schema"] not in range(1, SCHEMA + 1):
        raise ValueError(f"its schema is {document['schema']!r}")
    if document.pop("crc32") != _checksum(document, arrays):
        raise ValueError("its checksum is not that of its content")
    result = _build(document["type"], document["fields"], arrays)
    if not isinstance(result, Result):
        raise TypeError(f"it holds a {document['type']}, which is not a result")
    return result


def _checksum(document: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    crc = zlib.crc32(json.dumps(document).encode())
    for name, array in sorted(arrays.items()):
        crc = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), crc)
        crc = zlib.crc32(array.data, crc)
    return f"{crc:08x}"


def _metadata(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata: dict[str, str] = header.get("__metadata__") or {}
    return metadata


def _encode_fields(result: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    hints = typing.get_type_hints(type(result))
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        if not _fits(value, hints[field.name]):
            raise InputTypeError(
                f"cannot save this {type(result).__name__}: its {field.name} is a "
                f"{type(value).__name__}, which does not fit {field.type}"
            )
        fields[field.name] = _encode(value, arrays)
    return fields


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
        if value.dtype.kind == "U" or (
            value.dtype == object and all(isinstance(v, str) for v in value.flat)
        ):
            return {"$strings": [str(v) for v in value.flat], "shape": list(value.shape)}
        if value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
            raise InputTypeError(
                f"cannot save an array of {value.dtype} inside a result; use numbers of up to 64 "
                "bits, or strings"
            )
        name = f"a{len(arrays)}"
        native = value.dtype.newbyteorder("=")
        arrays[name] = np.ascontiguousarray(value, dtype=native).reshape(value.shape)
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
    values = {key: _decode(value, arrays) for key, value in fields.items()}
    hints = typing.get_type_hints(cls)
    for key, value in values.items():
        if not _fits(value, hints[key]):
            raise TypeError(f"{name}.{key} holds a {type(value).__name__}")
    return cls(**values)


_NUMBERS: dict[Any, tuple[type, ...]] = {
    bool: (bool, np.bool_),
    int: (int, np.integer),
    float: (float, np.floating, int, np.integer),
}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the type that a field states."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        each = inner[:1] * len(value) if inner[-1] is ... else inner
        return len(value) == len(each) and all(map(_fits, value, each))
    if origin is dict:
        return isinstance(value, dict) and all(
            _fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items()
        )
    if hint in _NUMBERS:
        return isinstance(value, _NUMBERS[hint]) and (hint is bool or not isinstance(value, bool))
    return isinstance(value, hint)
