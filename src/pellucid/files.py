"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from pellucid.errors import InputTypeError, UnwritableError


def as_path(path: str | os.PathLike[str]) -> Path:
    """Return the path that was typed, with ``~`` expanded where that is somebody's home.

    Raises
    ------
    InputTypeError
        If it is not a path.
    """
    try:
        return Path(path).expanduser()
    except TypeError as error:
        raise InputTypeError(f"a path is a string or a pathlib.Path, not {path!r}") from error
    except RuntimeError:  # there is no such home: then ~ is part of the name
        return Path(path)


def write_whole(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write `content` to `path` by way of a temporary file beside it.

    A reader sees the old file or the new one, never half of one; a failure leaves the old file.

    Raises
    ------
    UnwritableError
        If the folder does not exist, or the file cannot be written there.
    """
    target = as_path(path)
    # Not Path.is_dir, which raises where a folder on the way may not be entered.
    if os.path.isdir(target):  # noqa: PTH112
        raise UnwritableError(f"cannot write {target}: it is a folder; give the name of a file")
    if not os.path.isdir(target.parent):  # noqa: PTH112
        raise UnwritableError(
            f"cannot write {target}: the folder {target.parent} does not exist; create it first"
        )
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name[:20]}.", suffix=".part"
        )
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes the file private; a result should be as readable as any other new file.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(target)
    except BaseException as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        # ValueError: a name that no file can have, such as one with a null byte.
        if isinstance(error, (OSError, ValueError)):
            reason = getattr(error, "strerror", None) or error
            raise UnwritableError(f"cannot write {target}: {reason}") from error
        raise
    return target
