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
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import procrustes

from benchmarks.harness import RESULTS, machine

_SEEDS = (0, 1, 2)
_ASKED = 2000  # points whose neighbourhoods are compared
_K = 15
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
        "import torchdr",
        "np.asarray(torchdr.UMAP(n_neighbors=15, backend=None, device=device, random_state=seed)"
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
x = np.load(path)
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
    count = int(name)
    rank = 20  # a low rank, and noise: as layers of networks put out
    label = rng.integers(10, size=count)
    inner = 3 * rng.normal(size=(10, rank))[label] + rng.normal(size=(count, rank))
    found = inner.astype(np.float32) @ (rng.normal(size=(rank, 784)) / 4).astype(np.float32)
    return found + 0.1 * rng.standard_normal(found.shape, dtype=np.float32)


def measures(x: np.ndarray, places: np.ndarray) -> tuple[float, float]:
    """Return trustworthiness and the share of neighbours kept, of some points, exactly."""
    rows = np.random.default_rng(0).permutation(len(x))[:_ASKED]
    n = len(x)
    trust, kept = [], []
    for part in np.array_split(rows, max(1, len(rows) * n // 20_000_000)):
        far, near = (_squares(points, part) for points in (x, places))
        real, shown = (np.argpartition(d, _K, 1)[:, :_K] for d in (far, near))
        ranks = (far[:, None, :] < np.take_along_axis(far, shown, 1)[..., None]).sum(2) + 1
        trust.append(np.maximum(ranks - _K, 0).sum(1))
        kept.append((real[:, :, None] == shown[:, None, :]).any(2).mean(1))
    scale = 2 / (_K * (2 * n - 3 * _K - 1))
    return float(1 - scale * np.concatenate(trust).mean()), float(np.concatenate(kept).mean())


def _squares(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    centred = points - points.mean(0)
    norms = (centred**2).sum(1)
    found = norms[rows, None] + norms - 2 * centred[rows] @ centred.T
    found[np.arange(len(rows)), rows] = np.inf
    return found


def _runs(program: str, path: str, device: str, count: int) -> dict[str, Any]:
    load, work = _PROGRAMS[program]
    tensor = program == "Pellucid" and device != "cpu"
    script = _CHILD.format(load=load, work=work, device_tensor=tensor)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(  # noqa: S603 - our own text
            [sys.executable, "-c", script, device, path, f"{folder}/", str(count)],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["killed"])[-1]
            print(f"{program}: {last}", flush=True)
            return {"failed": last[:80]}
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        found["maps"] = [np.load(f"{folder}/{seed}.npy") for seed in range(count)]
    return found


def run(device: torch.device) -> Path:
    """Write the table."""
    names = ("digits", "mixture", "60000") if device.type == "cpu" else ("60000", "1000000")
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
                    if not any("failed" in one for one in found[program]):
                        found[program].append(_runs(program, path, device.type, len(_SEEDS)))
        for program in programs:
            line = _line(x, name, program, found[program])
            lines.append(line)
            print(line, flush=True)
    return _write(device, lines)


def _line(x: np.ndarray, name: str, program: str, runs: list[Any]) -> str:
    work = f"{name} {len(x):,} x {x.shape[1]}"
    if any("failed" in one for one in runs):
        failed = next(one["failed"] for one in runs if "failed" in one)
        return f"| {work} | {program} | failed: {failed} | | | | | | |"
    first = statistics.median(one["seconds"][0] for one in runs)
    warm = statistics.median(s for one in runs for s in one["seconds"][1:])
    imported = statistics.median(one["imported"] for one in runs)
    more = max(one["more"] for one in runs) / x.nbytes
    maps = runs[0]["maps"]
    trust, kept = zip(*(measures(x, places) for places in maps), strict=True)
    apart = np.mean([procrustes(maps[0], other)[2] for other in maps[1:]])
    radius = np.linalg.norm(maps[0] - maps[0].mean(0), axis=1)
    return (
        f"| {work} | {program} | {warm:.2f} s | {first:.2f} s | {imported:.1f} s | "
        f"{np.mean(trust):.4f} | {np.mean(kept):.4f} | {apart:.3f} | "
        f"{radius.max() / np.quantile(radius, 0.99):.2f} | {more:.1f} |"
    )


def _write(device: torch.device, lines: list[str]) -> Path:
    names = ("pellucid", "torch", "numpy", "umap-learn", "torchdr", "pacmap")
    versions = []
    for name in names:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    text = [
        "# Maps of points: how fast, and how faithful?",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine(device)}, {', '.join(versions)}.",
        "",
        "Two processes for each program, in turn, three maps each with three seeds. `first` is the "
        "first map of a process, without its imports (`import`); `warm` the median of the others. "
        f"Trustworthiness and the share of the {_K} nearest neighbours kept are exact for "
        f"{_ASKED:,} points, and means over the seeds; `seeds` is the mean Procrustes disparity "
        "between them; `edge` the largest radius over its 99th percentile; `memory` the peak "
        "above the process with its imports and the data, in sizes of the data.",
        "",
        "| work | program | warm | first | import | trust | kept | seeds | edge | memory |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *lines,
        "",
    ]
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"projection-{device.type}.md"
    path.write_text("\n".join(text))
    return path
