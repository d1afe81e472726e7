"""Numbers as pixels, and pixels as a PNG file."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from pellucid.viz.theme import number


def to_bytes(pictures: np.ndarray) -> tuple[np.ndarray, str]:
    """Return pictures as uint8, and the range that they were rescaled from (empty if they fit).

    Bytes stay, and numbers from 0 to 1 are taken as brightness; anything else is stretched.
    """
    if pictures.dtype == np.uint8:
        return pictures, ""
    real = np.asarray(pictures, dtype=np.float64)
    finite = real[np.isfinite(real)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    note = ""
    if low < 0 or high > 1:
        note = f"{number(low)} to {number(high)}"
        real = (real - low) / ((high - low) or 1.0)
    filled = np.nan_to_num(real, nan=0.5, posinf=1.0, neginf=0.0)
    return np.rint(np.clip(filled, 0, 1) * 255).astype(np.uint8), note


def faded(picture: np.ndarray, paper: int) -> np.ndarray:
    """Return the brightness of a picture, (row, column), half way to that of the paper."""
    grey = picture @ np.array([0.299, 0.587, 0.114]) if picture.ndim == 3 else picture
    return np.rint((grey + float(paper)) / 2).astype(np.uint8)


def png(pixels: np.ndarray, palette: np.ndarray | None = None) -> bytes:
    """Write a grey or RGB uint8 picture as a PNG file.

    Parameters
    ----------
    pixels
        Brightness, (rows, columns); red, green and blue, (rows, columns, 3); or with a `palette`
        the numbers of its colours, (rows, columns).
    palette
        Colours with their opacity, uint8 of shape (at most 256, 4).
    """
    rows = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
    lines = np.concatenate([np.zeros((len(rows), 1), np.uint8), rows], axis=1)

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    color = 2 if pixels.ndim == 3 else 0 if palette is None else 3
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, color, 0, 0, 0)
    body = chunk(b"IHDR", header)
    if palette is not None:
        body += chunk(b"PLTE", palette[:, :3].tobytes()) + chunk(b"tRNS", palette[:, 3].tobytes())
    body += chunk(b"IDAT", zlib.compress(lines.tobytes(), 9))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")
