"""The framing of TensorBoard's event files: length, checksum, content, checksum.

Both checksums of every record are checked. Where a content is damaged its record is left out;
where a length is, nobody knows where the next record begins, and the rest of the file is left out.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pellucid.errors import FileError, MissingFileError
from pellucid.interpret.training.logs.checksums import masked_crc32c

_BLOCK = 4 << 20
# A longer record is passed over: what a training writes is far shorter.
_LARGEST = 256 << 20
_HEAD, _FRAME = 12, 16


@dataclass
class Condition:
    """What state a file was found in.

    Attributes
    ----------
    torn
        Whether its last record is not complete, as it is while somebody writes.
    problems
        What is damaged, a sentence each.
    """

    torn: bool = False
    problems: list[str] = field(default_factory=list)


def looks_like_records(head: bytes) -> bool:
    """Whether a file that begins with these bytes begins with a length and the checksum of it."""
    return len(head) >= _HEAD and _intact(head)


def read_records(path: Path, condition: Condition) -> Iterator[bytes]:
    """Give the content of each record that is complete and undamaged, in order.

    A block of the file is in memory at a time, or one record where that is longer.

    Raises
    ------
    MissingFileError, FileError
        If the file cannot be opened, or cannot be read further.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            buffer, offset = file.read(_BLOCK), 0
            while buffer:
                starts, used, damaged = _walk(buffer)
                yield from _contents(buffer, starts, condition)
                offset, buffer = offset + used, buffer[used:]
                if damaged or (len(buffer) >= _HEAD and not _intact(buffer)):
                    condition.problems.append(
                        f"the record at byte {offset} is damaged in its length; it and the "
                        f"{size - offset} bytes from there on were left out"
                    )
                    return
                need = _BLOCK
                if len(buffer) >= _HEAD:
                    need = _FRAME + _length(buffer) - len(buffer)
                if need > size - offset - len(buffer) and len(buffer) >= _HEAD:
                    condition.torn = True
                    return
                if need > _LARGEST:
                    condition.problems.append(
                        f"the record at byte {offset} has {_length(buffer)} bytes, and was left out"
                    )
                    offset += len(buffer) + need
                    file.seek(offset)
                    buffer, need = b"", _BLOCK
                more = file.read(max(need, _BLOCK))
                if not more:
                    condition.torn = bool(buffer)
                    return
                buffer += more
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no file {path}") from error
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error


def _walk(buffer: bytes) -> tuple[np.ndarray, int, bool]:
    """Return where complete records begin, where they end, and whether a damaged one does it."""
    unpack = struct.Struct("<Q").unpack_from
    found: list[int] = []
    position, size = 0, len(buffer)
    while position + _FRAME <= size:
        after = position + _FRAME + unpack(buffer, position)[0]
        if after > size:
            break
        found.append(position)
        position = after
    starts = np.array(found, dtype=np.int64)
    # What was walked over stands only up to the first length that its checksum does not bear out.
    heads = np.frombuffer(buffer, np.uint8)
    right = masked_crc32c(heads, starts, np.full(len(starts), 8)) == _uint32(heads, starts + 8)
    if right.all():
        return starts, position, False
    bad = int(np.argmin(right))
    return starts[:bad], int(starts[bad]), True


def _contents(buffer: bytes, starts: np.ndarray, condition: Condition) -> Iterator[bytes]:
    """Give the contents of records; those that do not agree with their checksum are left out."""
    data = np.frombuffer(buffer, np.uint8)
    lengths = _uint32(data, starts).astype(np.int64)  # each is shorter than the block
    begins = starts + _HEAD
    right = masked_crc32c(data, begins, lengths) == _uint32(data, begins + lengths)
    if not right.all():
        condition.problems.append(
            f"{int((~right).sum())} of {len(right)} records do not have the checksum that stands "
            "beside them, and were left out"
        )
        begins, lengths = begins[right], lengths[right]
    for begin, end in zip(begins.tolist(), (begins + lengths).tolist(), strict=True):
        yield buffer[begin:end]


def _uint32(data: np.ndarray, positions: np.ndarray) -> np.ndarray:
    return data[positions[:, None] + np.arange(4)].view("<u4")[:, 0]


def _length(buffer: bytes) -> int:
    return int.from_bytes(buffer[:8], "little")


def _intact(buffer: bytes) -> bool:
    """Whether the length at a buffer's beginning agrees with its checksum."""
    head = np.frombuffer(buffer[:_HEAD], np.uint8)
    checksum = masked_crc32c(head, np.array([0]), np.array([8]))[0]
    return bool(checksum == int.from_bytes(buffer[8:_HEAD], "little"))
