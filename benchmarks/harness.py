"""Measure two ways of doing the same work, interleaved, and write down what came out."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"
_VERSIONS = ("pellucid", "torch", "captum", "numpy")


@dataclass
class Comparison:
    """One row of a table: ours and the peer's, seconds, in pairs."""

    work: str
    ours: list[float]
    peer: list[float]
    note: str = ""

    def row(self) -> str:
        """Return medians, and the ratio peer / ours with its quartiles over the pairs."""
        ratios = sorted(p / o for o, p in zip(self.ours, self.peer, strict=True))
        low, middle, high = (
            statistics.quantiles(ratios, n=4, method="inclusive")
            if len(ratios) > 1
            else (ratios[0], ratios[0], ratios[0])
        )
        return (
            f"| {self.work} | {_time(statistics.median(self.ours))} | "
            f"{_time(statistics.median(self.peer))} | **{middle:.2f}** ({low:.2f} to {high:.2f}) | "
            f"{len(ratios)} | {self.note} |"
        )


@dataclass
class Table:
    """A file of results: what was compared, where, and with what."""

    name: str
    question: str
    peer: str
    device: torch.device
    rows: list[Comparison] = field(default_factory=list)

    def add(
        self,
        work: str,
        ours: Callable[[], object],
        peer: Callable[[], object],
        *,
        note: str = "",
        pairs: int = 20,
    ) -> None:
        """Run both in turn, `pairs` times after a first run of each that does not count."""
        self.rows.append(Comparison(work, *_pairs(ours, peer, pairs, self.device), note))
        print(self.rows[-1].row(), flush=True)

    def write(self) -> Path:
        """Write the table as Markdown."""
        lines = [
            f"# {self.question}",
            "",
            measured(self.device, *_VERSIONS),
            "",
            "Medians of runs in turn, ours and the peer's, in one process. The ratio is the "
            f"peer's time over ours, median over the pairs (quartiles). Peer: {self.peer}.",
            "",
            "| work | ours | peer | peer / ours | pairs | note |",
            "|---|---|---|---|---|---|",
            *(row.row() for row in self.rows),
            "",
        ]
        return write(self.name, self.device, lines)


def measured(device: torch.device, *packages: str) -> str:
    """Return when, where and with what was measured; packages that are not installed are not."""
    versions = []
    for name in packages:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {machine(device)}, Python {platform.python_version()}, "
        f"{', '.join(versions)}."
    )


def write(name: str, device: torch.device, lines: list[str]) -> Path:
    """Write a table of results, Markdown."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{device.type}.md"
    path.write_text("\n".join(lines))
    return path


def _pairs(
    ours: Callable[[], object], peer: Callable[[], object], pairs: int, device: torch.device
) -> tuple[list[float], list[float]]:
    first = [_clock(ours, device), _clock(peer, device)]
    # Runs of many seconds do not need twenty pairs: their spread is small beside their length.
    pairs = max(3, min(pairs, int(90 / max(1e-6, sum(first)))))
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(pairs):
        # Who goes first changes from pair to pair: a warm cache favours the second.
        for which in (0, 1) if turn % 2 else (1, 0):
            seconds[which].append(_clock((ours, peer)[which], device))
    return seconds


def _clock(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.1f} ms"


def machine(device: torch.device) -> str:
    """Return what it ran on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = named[0].partition(":")[2].strip() if named else cpu
    return f"{cpu}, {os.cpu_count()} cores ({torch.get_num_threads()} threads)"
