"""CRC-32C of many stretches of a buffer at once, in NumPy.

The checksum of TensorBoard's records. Byte by byte in Python it takes far longer than everything
else about reading a log, which is why many readers leave it out, and hand on what is damaged. Here
the stretches go side by side: one step takes the next byte of all of them.
"""

from __future__ import annotations

import functools

import numpy as np

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
# Long stretches are cut into pieces of so many bytes, which go side by side as well.
_PIECE = 512
_MASK = 0xA282EAD8


def masked_crc32c(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the checksum of each stretch, masked as in TensorFlow's record format.

    Parameters
    ----------
    data
        The buffer: uint8.
    starts, lengths
        Shape (stretches,): where each begins in the buffer, and how many bytes it has.

    Returns
    -------
    numpy.ndarray
        Shape (stretches,), uint32.
    """
    crc = _crc32c(data, starts, lengths)
    return ((crc >> 15) | (crc << 17)) + np.uint32(_MASK)


def _crc32c(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    # The first piece of a stretch is what is left over, so that all others are of one length.
    pieces = np.maximum(1, -(-lengths // _PIECE))
    first = lengths - (pieces - 1) * _PIECE
    ends = np.cumsum(pieces)
    owner = np.repeat(np.arange(len(starts)), pieces)
    number = np.arange(len(owner)) - (ends - pieces)[owner]
    begins = starts[owner] + np.where(number == 0, 0, first[owner] + (number - 1) * _PIECE)
    sizes = np.where(number == 0, first[owner], _PIECE)
    states = np.where(number == 0, np.uint32(0xFFFFFFFF), np.uint32(0))
    states = _side_by_side(data, begins, sizes, states)
    crc = states[ends - pieces].copy()
    for stretch in np.flatnonzero(pieces > 1):
        end = int(ends[stretch])
        crc[stretch] = _joined(states[end - int(pieces[stretch]) : end].tolist())
    inverted: np.ndarray = crc ^ np.uint32(0xFFFFFFFF)
    return inverted


def _side_by_side(
    data: np.ndarray, begins: np.ndarray, sizes: np.ndarray, states: np.ndarray
) -> np.ndarray:
    """Advance each state over its piece; the longest come first, so that those left are a head."""
    table = _table()
    order = np.argsort(-sizes, kind="stable")
    begins, states = begins[order], states[order]
    longest = int(sizes.max(initial=0))
    left = len(sizes) - np.cumsum(np.bincount(sizes, minlength=longest + 1))
    for column in range(longest):
        live = int(left[column])
        head = states[:live]
        states[:live] = table[(head ^ data[begins[:live] + column]) & 0xFF] ^ (head >> 8)
    back = np.empty_like(states)
    back[order] = states
    return back


def _joined(states: list[int]) -> int:
    """Return the state after all pieces from the states of each: the checksum is linear."""
    a, b, c, d = _past_a_piece()
    whole = states[0]
    for state in states[1:]:
        whole = (
            a[whole & 0xFF] ^ b[whole >> 8 & 0xFF] ^ c[whole >> 16 & 0xFF] ^ d[whole >> 24] ^ state
        )
    return whole


@functools.cache
def _table() -> np.ndarray:
    """Return what a state's lowest byte becomes when it is shifted out: uint32, shape (256,)."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


@functools.cache
def _past_a_piece() -> list[list[int]]:
    """Return, for each of a state's four bytes, what its values become `_PIECE` zeros later."""
    values = np.arange(256, dtype=np.uint32)
    states = np.stack([values << shift for shift in (0, 8, 16, 24)])
    for _ in range(_PIECE):
        states = _table()[states & 0xFF] ^ (states >> 8)
    kept: list[list[int]] = states.tolist()
    return kept
