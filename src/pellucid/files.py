"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from pellucid.errors import UnwritableError


def write_whole(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write `content` to `path` by way of a temporary file beside it.

    A reader sees the old file or the new one, never half of one; a failure leaves the old file.

    Raises
    ------
    UnwritableError
        If the folder does not exist, or the file cannot be written there.
    """
    target = Path(path).expanduser()
    if target.is_dir():
        raise UnwritableError(f"cannot write {target}: it is a folder; give the name of a file")
    if not target.parent.is_dir():
        raise UnwritableError(
            f"cannot write {target}: the folder {target.parent} does not exist; create it first"
        )
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name[:80]}.", suffix=".part"
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes the file private; a result should be as readable as any other new file.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise UnwritableError(f"cannot write {target}: {error.strerror or error}") from error
    except BaseException:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise
    return target
