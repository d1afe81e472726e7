"""Maps of points: how fast, and how faithful, beside umap-learn, TorchDR and PaCMAP.

Each program runs in processes of its own, in turn: the first call of a fresh process (without its
imports, which are told beside), and calls after it. Their maps are all measured by the same exact
measures.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import procrustes

from benchmarks.harness import measured, write

_SEEDS = (0, 1, 2)
_ASKED = 2000  # points whose neighbourhoods are compared
_K = 15
_LONGEST = 60  # seconds: a program that takes longer makes two maps
_LIMIT = 1800  # seconds: for one process
# What each program does, given `x` (float32), a seed and the device.
_PROGRAMS = {
    "Pellucid": (
        "from pellucid.interpret.projection.umap import UMAP",
        "UMAP(random_state=seed).fit_transform(x)",
    ),
    "umap-learn": (
        "import umap",
        "umap.UMAP(random_state=None, n_jobs=2).fit_transform(x)",
    ),
    "TorchDR": (
        "import importlib.util, torchdr\n"
        "found = {} if importlib.util.find_spec('faiss') else {'backend': None}",
        "np.asarray(torchdr.UMAP(n_neighbors=15, device=device, random_state=seed, **found)"
        ".fit_transform(x))",
    ),
    "PaCMAP": ("import pacmap", "pacmap.PaCMAP(random_state=seed).fit_transform(x)"),
}
_MODULES = {"Pellucid": "pellucid", "umap-learn": "umap", "TorchDR": "torchdr", "PaCMAP": "pacmap"}
_CHILD = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
import numpy as np
device, path, out, runs = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
x = np.load(path, mmap_mode="r" if {device_tensor} else None)
start = time.perf_counter()
{load}
imported = time.perf_counter() - start
if {device_tensor}:
    import torch
    x = torch.from_numpy(x).to(device)
def resident(name):
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024
before = resident("VmRSS")
seconds = []
for seed in range(runs):
    start = time.perf_counter()
    made = {work}
    seconds.append(time.perf_counter() - start)
    np.save(out + str(seed), np.asarray(made, dtype=np.float32))
    if seed and seconds[-1] > {longest}:
        break
print(json.dumps(dict(imported=imported, seconds=seconds, more=resident("VmHWM") - before)))
"""


def data(name: str) -> np.ndarray:
    """Return features, shape (samples, features), float32."""
    rng = np.random.default_rng(0)
    if name == "digits":
        from sklearn.datasets import load_digits

        return load_digits().data.astype(np.float32)
    if name == "mixture":  # 20 Gaussian clusters in subspaces of 8 dimensions, and noise
        centers = 2.5 * rng.normal(size=(20, 128))
        bases = rng.normal(size=(20, 8, 128))
        label = rng.integers(20, size=20_000)
        inner = rng.normal(size=(20_000, 8))
        found = centers[label] + np.einsum("ni,nij->nj", inner, bases[label])
        return (found + 0.5 * rng.normal(size=found.shape)).astype(np.float32)
    rank, width = 20, 784  # a low rank, and noise: as layers of networks put out
    centers = 3 * rng.normal(size=(10, rank))
    basis = (rng.normal(size=(rank, width)) / 4).astype(np.float32)
    found = np.empty((int(name), width), np.float32)
    for part in np.array_split(found, max(1, len(found) // 60_000)):
        inner = centers[rng.integers(10, size=len(part))] + rng.normal(size=(len(part), rank))
        part[:] = inner.astype(np.float32) @ basis
        part[:] += 0.1 * rng.standard_normal(part.shape, dtype=np.float32)
    return found


def measures(x: np.ndarray, places: np.ndarray, device: torch.device) -> tuple[float, float]:
    """Return trustworthiness and the share of neighbours kept, of some points, exactly."""
    n = len(x)
    rows = np.random.default_rng(0).permutation(n)[: _ASKED if n < 500_000 else _ASKED // 10]
    spaces = [(points, points.mean(0, dtype=np.float64)) for points in (x, places)]
    trust, kept = [], []
    for part in np.array_split(rows, max(1, len(rows) * n // 20_000_000)):
        far, near = (_squares(points, middle, part, device) for points, middle in spaces)
        real, shown = (d.topk(_K, largest=False).indices for d in (far, near))
        drawn = far.gather(1, shown)
        ranks = torch.stack([(far < column[:, None]).sum(1) + 1 for column in drawn.T], 1)
        trust.append((ranks - _K).clamp_min(0).sum(1).double())
        kept.append((real[:, :, None] == shown[:, None, :]).any(2).double().mean(1))
    scale = 2 / (_K * (2 * n - 3 * _K - 1))
    return float(1 - scale * torch.cat(trust).mean()), float(torch.cat(kept).mean())


def _squares(
    points: np.ndarray, middle: np.ndarray, rows: np.ndarray, device: torch.device
) -> torch.Tensor:
    """Return squared distances of some points to all, infinite to themselves, in float64."""

    def centred(some: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(some).to(device).double() - torch.from_numpy(middle).to(device)

    mine = centred(points[rows])
    blocks = (centred(part) for part in np.array_split(points, max(1, len(points) // 20_000)))
    found = torch.cat([part.square().sum(1) - 2 * mine @ part.T for part in blocks], 1)
    found += mine.square().sum(1)[:, None]
    found[torch.arange(len(rows)), torch.from_numpy(rows)] = torch.inf
    return found


def _runs(program: str, path: str, device: str, count: int) -> dict[str, Any]:
    load, work = _PROGRAMS[program]
    tensor = program == "Pellucid" and device != "cpu"
    script = _CHILD.format(load=load, work=work, device_tensor=tensor, longest=_LONGEST)
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(  # noqa: S603 - our own text
                [sys.executable, "-c", script, device, path, f"{folder}/", str(count)],
                check=False,
                capture_output=True,
                text=True,
                timeout=_LIMIT,
            )
        except subprocess.TimeoutExpired:
            return {"failed": f"more than {_LIMIT} s"}
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["killed"])[-1]
            print(f"{program}: {last}", flush=True)
            return {"failed": last[:80]}
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        found["maps"] = [np.load(f"{folder}/{seed}.npy") for seed in range(len(found["seconds"]))]
    return found


def run(device: torch.device) -> Path:
    """Write the table."""
    names: tuple[str, ...] = ("digits", "mixture", "60000")
    if device.type != "cpu":
        names = ("60000", "1000000", "10000000")
    programs = [p for p in _PROGRAMS if importlib.util.find_spec(_MODULES[p]) is not None]
    lines = []
    for name in names:
        x = data(name)
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/x.npy"
            np.save(path, x)
            found: dict[str, list[dict[str, Any]]] = {p: [] for p in programs}
            for _ in range(2):  # in turn
                for program in programs:
                    if not any("failed" in one or _slow(one) for one in found[program]):
                        found[program].append(_runs(program, path, device.type, len(_SEEDS)))
        for program in programs:
            line = _line(x, name, program, found, device)
            lines.append(line)
            print(line, flush=True)
    return _write(device, lines)


def _slow(run: dict[str, Any]) -> bool:
    return len(run["seconds"]) < len(_SEEDS)


def _times(runs: list[Any]) -> tuple[float, float]:
    first = statistics.median(one["seconds"][0] for one in runs)
    return first, statistics.median(s for one in runs for s in one["seconds"][1:])


def _line(
    x: np.ndarray, name: str, program: str, all_runs: dict[str, list[Any]], device: torch.device
) -> str:
    runs = all_runs[program]
    work = f"{name} {len(x):,} x {x.shape[1]}"
    if any("failed" in one for one in runs):
        failed = next(one["failed"] for one in runs if "failed" in one)
        return f"| {work} | {program} | failed: {failed} |" + " |" * 8
    first, warm = _times(runs)
    beside = ""
    if "umap-learn" in all_runs and not any("failed" in one for one in all_runs["umap-learn"]):
        theirs = _times(all_runs["umap-learn"])
        beside = f"{theirs[1] / warm:.1f}, {theirs[0] / first:.1f}"
    imported = statistics.median(one["imported"] for one in runs)
    more = max(one["more"] for one in runs)
    bound = 2.5 * x.nbytes + 1000 * len(x)
    maps = runs[0]["maps"]
    trust, kept = zip(*(measures(x, places, device) for places in maps), strict=True)
    apart = np.mean([procrustes(maps[0], other)[2] for other in maps[1:]])
    radius = np.linalg.norm(maps[0] - maps[0].mean(0), axis=1)
    return (
        f"| {work} | {program} | {warm:.2f} s | {first:.2f} s | {beside} | {imported:.1f} s | "
        f"{np.mean(trust):.4f} | {np.mean(kept):.4f} | {apart:.3f} | "
        f"{radius.max() / np.quantile(radius, 0.99):.2f} | "
        f"{more / 1e6:.0f} MB, {more / bound:.2f} |"
    )


def _write(device: torch.device, lines: list[str]) -> Path:
    text = [
        "# Maps of points: how fast, and how faithful?",
        "",
        measured(device, "pellucid", "torch", "numpy", "umap-learn", "torchdr", "pacmap"),
        "",
        "Two processes for each program, in turn, three maps each with three seeds "
        "(umap-learn without a seed, which would cost it its second thread). `first` is the "
        "first map of a process, without its imports (`import`); `warm` the median of the others "
        f"(a program that takes more than {_LONGEST} s for one makes two, in one process). "
        "`faster` says how many times as fast as umap-learn that is, warm and first. "
        f"Trustworthiness and the share of the {_K} nearest neighbours kept are exact for "
        f"{_ASKED:,} points, and means over the seeds; `seeds` is the mean Procrustes disparity "
        "between them; `edge` the largest radius over its 99th percentile; `memory` the peak "
        "above the process with its imports and the data, and as a share of 2.5 sizes of the data "
        "and a kilobyte a point. Some 30 MB of it are the programs' own code, at any size.",
        "",
        "| work | program | warm | first | faster | import | trust | kept | seeds | edge | memory "
        "|",
        "|" + "---|" * 11,
        *lines,
        "",
    ]
    return write("projection", device, text)
