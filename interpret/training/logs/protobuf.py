"""Protocol buffers, as far as TensorBoard's events need them: the wire format, and tensors.

Nothing here descends by itself, so that no message is nested too deeply; every length is held
against the message that it stands in. Whatever is not a message raises `MalformedError`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# Types of a TensorProto by number, as its `tensor_content` holds them. Types 7 (texts) and 14
# (bfloat16) have ways of their own.
_TYPES = {
    1: "<f4", 2: "<f8", 3: "<i4", 4: "<u1", 5: "<i2", 6: "<i1", 9: "<i8",
    10: "?", 17: "<u2", 19: "<f2", 22: "<u4", 23: "<u8",
}  # fmt: skip
_TEXT, _BFLOAT16, _HALF = 7, 14, 19
# The fields of a TensorProto that hold values of some type, one by one.
_FLOATS = {5: ("<f4", FIXED32), 6: ("<f8", FIXED64)}
_INTEGERS = {7, 10, 11, 13, 16, 17}
_TEXTS, _CONTENT, _SHAPE = 8, 4, 2
# A tensor may name one value for all of its elements. None that is read here has so many.
_REPEATED = 1 << 16


class MalformedError(ValueError):
    """These bytes are no message."""


def varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Return the number at a position, and the position after it.

    Raises
    ------
    MalformedError
        If it does not end in time, or has more than 64 bits.
    """
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
    raise MalformedError("a number does not end")


def signed(value: int) -> int:
    """Return a 64-bit number as the signed one that it stands for."""
    return value - (1 << 64) if value >> 63 else value


def fields(data: bytes, begin: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Give the fields of the message that stands between two positions.

    Yields
    ------
    number, kind, begin, end
        Where the content of the field stands; of a `VARINT` its value and 0.

    Raises
    ------
    MalformedError
        If these bytes are no message.
    """
    position = begin
    while position < end:
        key, position = varint(data, position, end)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, position = varint(data, position, end)
            yield number, kind, value, 0
            continue
        if kind == BYTES:
            size, position = varint(data, position, end)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise MalformedError(f"a field of kind {kind}")
        if size > end - position:
            raise MalformedError("a field reaches beyond its message")
        yield number, kind, position, position + size
        position += size


def text(data: bytes, begin: int, end: int) -> str:
    """Return a text; what is not UTF-8 becomes the replacement character."""
    return data[begin:end].decode("utf-8", errors="replace")


@dataclass(frozen=True)
class Tensor:
    """What a TensorProto holds.

    Attributes
    ----------
    shape
        Its shape.
    values
        Its numbers in that shape; None if it holds texts.
    texts
        Its texts, as bytes.
    place
        Where its only value stands as a float of 4 or 8 bytes; None if it does not.
    """

    shape: tuple[int, ...]
    values: np.ndarray | None
    texts: tuple[bytes, ...] = ()
    place: tuple[int, int] | None = None


def tensor(data: bytes, begin: int, end: int) -> Tensor:
    """Read a TensorProto.

    Raises
    ------
    MalformedError
        If it is none, or of a type that is not read, or does not have the values of its shape.
    """
    kind = 0
    shape: tuple[int, ...] = ()
    content: tuple[int, int] | None = None
    texts: list[bytes] = []
    runs: list[np.ndarray] = []
    places: list[tuple[int, int]] = []
    for number, wire, first, last in fields(data, begin, end):
        if number == 1 and wire == VARINT:
            kind = first
        elif number == _SHAPE and wire == BYTES:
            shape = _shape(data, first, last)
        elif number == _CONTENT and wire == BYTES:
            content = (first, last)
        elif number == _TEXTS and wire == BYTES:
            texts.append(data[first:last])
        elif number in _FLOATS and wire in (BYTES, _FLOATS[number][1]):
            runs.append(packed(data, first, last, _FLOATS[number][0]))
            places.append((first, last))
        elif number in _INTEGERS and wire in (BYTES, VARINT):
            runs.append(_integers(data, first, last) if wire == BYTES else _one(first))
    if kind == _TEXT:
        return Tensor(shape, None, tuple(texts))
    if content is not None and content[1] > content[0]:
        values = _content(data, *content, kind)
        places = [content] if _TYPES.get(kind) in ("<f4", "<f8") else []
    elif runs:
        # An integer type's values stand as integers, and so do the bits of a half.
        values = runs[0] if len(runs) == 1 else np.concatenate(runs)
        if kind == _HALF:
            values = (values & 0xFFFF).astype("<u2").view("<f2")
        elif kind == _BFLOAT16:
            values = _bfloat16(values)
    else:
        raise MalformedError("a tensor holds no values")
    place = places[0] if len(places) == 1 and len(values) == 1 else None
    size = _size(shape)
    if len(values) == 1 and 1 < size <= _REPEATED:
        values, place = np.repeat(values, size), None
    if len(values) != size:
        raise MalformedError(f"a tensor of shape {shape} holds {len(values)} values")
    return Tensor(shape, values.reshape(shape), (), place)


def packed(data: bytes, begin: int, end: int, dtype: str) -> np.ndarray:
    """Return numbers of a fixed size that stand one after the other.

    Raises
    ------
    MalformedError
        If the last one is not complete.
    """
    if (end - begin) % np.dtype(dtype).itemsize:
        raise MalformedError("packed numbers end in the middle of one")
    return np.frombuffer(data[begin:end], dtype)


def number(data: bytes, place: tuple[int, int]) -> float:
    """Return the float of 4 or 8 bytes at a place."""
    value: float = struct.unpack("<f" if place[1] - place[0] == 4 else "<d", data[slice(*place)])[0]
    return value


def _shape(data: bytes, begin: int, end: int) -> tuple[int, ...]:
    sizes = []
    for field, wire, first, last in fields(data, begin, end):
        if field == 2 and wire == BYTES:
            sizes.append(0)
            for inner, kind, value, _ in fields(data, first, last):
                if inner == 1 and kind == VARINT:
                    sizes[-1] = signed(value)
    if len(sizes) > 32 or min(sizes, default=0) < 0:
        raise MalformedError(f"a tensor has {len(sizes)} axes, or one of an unknown length")
    return tuple(sizes)


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _content(data: bytes, begin: int, end: int, kind: int) -> np.ndarray:
    if kind == _BFLOAT16:
        return _bfloat16(packed(data, begin, end, "<u2"))
    if kind not in _TYPES:
        raise MalformedError(f"a tensor of type {kind}")
    return packed(data, begin, end, _TYPES[kind])


def _bfloat16(bits: np.ndarray) -> np.ndarray:
    """Return the floats whose upper halves these are."""
    return ((bits & 0xFFFF).astype("<u4") << 16).view("<f4")


def _one(value: int) -> np.ndarray:
    return np.array([signed(value)], dtype=np.int64)


def _integers(data: bytes, begin: int, end: int) -> np.ndarray:
    found, position = [], begin
    while position < end:
        value, position = varint(data, position, end)
        found.append(signed(value))
    return np.array(found, dtype=np.int64)
