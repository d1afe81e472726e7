"""Show a result: in a notebook below the cell, otherwise in the browser."""

from __future__ import annotations

import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from pellucid.viz.choose import figure
from pellucid.viz.report import report
from pellucid.viz.theme import CONFIG


def show(result: Any, *, theme: str = "light") -> Path | None:
    """Show a result or a figure.

    Parameters
    ----------
    result
        A result, or a figure.
    theme
        ``"light"`` or ``"dark"``; a figure keeps its own.

    Returns
    -------
    pathlib.Path or None
        The page that was opened in the browser, which stays in the folder for temporary files;
        None in a notebook.

    Raises
    ------
    InputError
        If the result has no picture.
    InputTypeError
        If it is neither a result nor a figure.
    """
    drawn = result if isinstance(result, go.Figure) else figure(result, theme=theme)
    if _in_notebook():
        drawn.show(config=CONFIG)
        return None
    # Not deleted: the browser reads it after this process may have ended.
    folder = Path(tempfile.mkdtemp(prefix="pellucid-"))
    page = report(result, folder / "figure.html", title="Pellucid", theme=theme)
    webbrowser.open(page.as_uri())
    return page


def _in_notebook() -> bool:
    """Whether a notebook runs this, without importing IPython for it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"
