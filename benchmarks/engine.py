"""How near is the engine to the floor: the same number of bare forward and backward passes?"""

from __future__ import annotations

import statistics
import time
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import pellucid as pl
from benchmarks.harness import Table
from benchmarks.models import mlp, resnet, tokens


def run(device: torch.device) -> Path:
    """Compare fixed-step integrated gradients with the passes that it cannot do without."""
    table = Table(
        "engine",
        "The engine over bare passes",
        "torch.autograd.grad on ready-made points at the best batch size, nothing else",
        device,
    )
    for name, (model, rows), steps in (
        ("ResNet-18, 16 images of 64 x 64, 50 steps", resnet(device, 16), 50),
        ("Encoder 4 x 256, 16 rows of 64 tokens, 50 steps", tokens(device, 16), 50),
        ("MLP 30-256-256-2, 1,000 rows, 50 steps", mlp(device, 1000), 50),
        ("MLP 30-256-256-2, 1 row, 50 steps", mlp(device, 1), 50),
    ):
        batch = _best_batch(model, rows, len(rows) * steps, device)
        points = rows.repeat(-(-batch // len(rows)), *[1] * (rows.ndim - 1))[:batch]
        table.add(
            name,
            partial(pl.explain, model, rows, steps=steps, target=0, progress=False),
            partial(_bare, model, points, len(rows) * steps),
            note=f"floor at batch {batch}",
            pairs=50,
        )
    return table.write()


def _bare(model: nn.Module, points: Tensor, count: int) -> None:
    """Do `count` forward and backward passes, as fast as torch does them."""
    done = 0
    while done < count:
        batch = points[: min(len(points), count - done)].detach().requires_grad_()
        torch.autograd.grad(model(batch)[:, 0].sum(), batch)
        done += len(batch)


def _best_batch(model: nn.Module, rows: Tensor, count: int, device: torch.device) -> int:
    """Return the batch size at which bare passes are fastest."""
    sizes = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 16384)
    best: tuple[float, int] = (float("inf"), 1)
    for size in sizes:
        if size > max(8, count) or (device.type == "cpu" and rows[0].numel() * size > 2**22):
            break
        points = rows.repeat(-(-size // len(rows)), *[1] * (rows.ndim - 1))[:size]
        some = min(count, max(2 * size, 64))
        _bare(model, points, some)
        seconds = []
        for _ in range(3):
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            _bare(model, points, some)
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append((time.perf_counter() - start) / some)
        best = min(best, (statistics.median(seconds), size))
    return best[1]
