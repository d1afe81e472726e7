"""What Pellucid raises on purpose.

Every error derives from `PellucidError` and from the built-in that fits, so that callers may catch
either. A message says what was given, what was expected, and what to do.
"""

from __future__ import annotations

from typing import Any


class PellucidError(Exception):
    """Base of every error that Pellucid raises on purpose."""


class InputError(PellucidError, ValueError):
    """An argument has a value that cannot be worked with."""


class InputTypeError(PellucidError, TypeError):
    """An argument is of a type that cannot be worked with."""


class ModelError(PellucidError, TypeError):
    """The model does not do what the method needs (its output, its layers, its gradients)."""


class OutOfMemoryError(PellucidError, MemoryError):
    """Not even the smallest piece of the work fits into memory."""


class FileError(PellucidError, ValueError):
    """A file is damaged, or is not one of ours."""


class MissingFileError(PellucidError, FileNotFoundError):
    """There is no such file."""


class UnwritableError(PellucidError, OSError):
    """A file cannot be written where it was asked for."""


class MissingDependencyError(PellucidError, ImportError):
    """An optional package is needed and not installed."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed; `partial` holds the result for the rows that were finished, or None.

    The one exception that does not derive from `PellucidError`: ``except Exception`` must not
    swallow a Ctrl-C.
    """

    def __init__(self, message: str, partial: Any = None) -> None:
        super().__init__(message)
        self.partial = partial
