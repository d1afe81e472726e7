"""How long a person waits for the first import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.harness import Table


def run(device: torch.device) -> Path:
    """Compare imports, each in a new process, with files already read once."""
    table = Table("imports", "Import time", "import captum.attr, in a new process", device)
    table.add(
        "import pellucid",
        lambda: _import("pellucid"),
        lambda: _import("captum.attr"),
        note="Python's own start included on both sides",
    )
    table.add(
        "import pellucid, then pl.explain is there",
        lambda: _import("pellucid; pellucid.explain"),
        lambda: _import("captum.attr"),
        note="both load torch",
    )
    return table.write()


def _import(what: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {what}"], check=True)  # noqa: S603 - our own text
