"""Integrated gradients beside Captum's, at equal accuracy and at equal steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

import pellucid as pl
from benchmarks.harness import Table
from benchmarks.models import mlp, resnet

_STEPS = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_WITHIN = 0.01


def run(device: torch.device) -> Path:
    """Ask both for 1 % on 95 % of the rows, and for the same 50 Gauss-Legendre steps."""
    table = Table(
        "integrated-gradients",
        "Integrated gradients at equal accuracy, and at equal steps",
        "captum.attr.IntegratedGradients (its default rule, Gauss-Legendre), at the fastest of its "
        "default and internal_batch_size 32, 256, 1024; its steps the fewest of "
        f"{', '.join(map(str, _STEPS))} that bring 95 % of the rows within 1 %, which a user would "
        "have to know",
        device,
    )
    for name, (model, rows), probability, reference in (
        ("ResNet-18, 4 images of 64 x 64, logit", resnet(device, 4), False, 1000),
        ("MLP, 200 rows, logit", mlp(device, 200), False, 2000),
        ("MLP, 200 rows, probability", mlp(device, 200), True, 2000),
        ("MLP, 1 row, probability", mlp(device, 1), True, 2000),
    ):
        _compare(table, name, model, rows, probability=probability, reference=reference)
    return table.write()


def _compare(
    table: Table, name: str, model: nn.Module, rows: Tensor, *, probability: bool, reference: int
) -> None:
    scored = nn.Sequential(model, nn.Softmax(1)) if probability else model
    with torch.no_grad():
        target = scored(rows).argmax(1)

    def ours(**options: object) -> pl.interpret.Explanation:
        return pl.explain(
            model,
            rows,
            target=target,
            output="probability" if probability else "raw",
            baseline="zero",
            progress=False,
            **options,
        )

    def captum(steps: int, batch: int | None) -> Tensor:
        return IntegratedGradients(scored).attribute(
            rows, target=target, n_steps=steps, internal_batch_size=batch
        )

    exact = ours(steps=reference).values
    adaptive = ours(tolerance=_WITHIN)
    hit = (_errors(adaptive.values, exact) <= _WITHIN).mean()
    needed = next(
        (
            steps
            for steps in _STEPS
            if (_errors(captum(steps, 256).cpu().numpy(), exact) <= _WITHIN).mean() >= 0.95
        ),
        _STEPS[-1],
    )
    batch = _fastest(captum, needed)
    table.add(
        f"{name}: within 1 %",
        lambda: ours(tolerance=_WITHIN),
        lambda: captum(needed, batch),
        note=f"ours {adaptive.cost.backward / len(rows):.0f} gradients a row, {hit:.0%} of the "
        f"rows truly within 1 %; Captum {needed} steps, batch {batch or 'default'}",
    )
    batch = _fastest(captum, 50)
    table.add(
        f"{name}: 50 steps",
        lambda: ours(steps=50, rule="gauss_legendre"),
        lambda: captum(50, batch),
        note=f"ours with an error for each row; Captum's batch {batch or 'default'}",
    )


def _fastest(captum: Callable[[int, int | None], Tensor], steps: int) -> int | None:
    found = []
    for batch in (None, 32, 256, 1024):
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            captum(steps, batch)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
        found.append((statistics.median(seconds), batch))
    return min(found, key=lambda pair: pair[0])[1]


def _errors(values: np.ndarray, exact: np.ndarray) -> np.ndarray:
    difference = (values - exact).reshape(len(exact), -1)
    whole = np.linalg.norm(exact.reshape(len(exact), -1), axis=1)
    return np.linalg.norm(difference, axis=1) / whole
