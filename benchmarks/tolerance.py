"""Do integrated gradients keep to a tolerance of 1 %, and at what cost? Captum beside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

import pellucid as pl
from benchmarks.harness import measured, write
from benchmarks.models import TRAINED, trained

_ROWS, _STEPS, _WITHIN = 200, 2000, 0.01


def run(device: torch.device) -> Path:
    """Write, for each network and kind of score, who is within 1 % of the truth, and the cost."""
    lines = []
    for name in TRAINED:
        model, rows, accuracy = trained(name, device, _ROWS)
        with torch.no_grad():
            target = model(rows).argmax(1)
        for output in ("raw", "probability"):
            scored = model if output == "raw" else nn.Sequential(model, nn.Softmax(1))
            true = _truth(scored, rows, target)
            ours = pl.explain(
                model, rows, target=target, output=output, baseline="zero", tolerance=_WITHIN,
                progress=False,
            )  # fmt: skip
            captum = IntegratedGradients(scored).attribute(
                rows, target=target, n_steps=50, internal_batch_size=1000
            )
            wrong, peer = _error(ours.values, true), _error(captum.cpu().numpy(), true)
            lines.append(
                f"| {name} ({accuracy:.1%}) | {'logit' if output == 'raw' else 'probability'} "
                f"| {(wrong <= _WITHIN).mean():.1%} | {(wrong <= ours.error).mean():.1%} "
                f"| {ours.cost.backward / len(rows):.1f} | {np.median(wrong):.2%} "
                f"/ {np.quantile(wrong, 0.95):.2%} / {wrong.max():.2%} "
                f"| {(peer <= _WITHIN).mean():.1%} | {np.quantile(peer, 0.95):.2%} |"
            )
            print(lines[-1], flush=True)
    return _write(lines, device)


def _truth(model: nn.Module, rows: Tensor, target: Tensor) -> np.ndarray:
    """Integrate with so many midpoint steps that their own error does not count."""
    total = torch.zeros_like(rows, dtype=torch.float64)
    steps = (torch.arange(_STEPS, device=rows.device) + 0.5) / _STEPS
    for some in steps.split(5):
        points = (some.reshape(-1, *[1] * rows.ndim) * rows).flatten(0, 1).requires_grad_()
        score = model(points).gather(1, target.repeat(len(some))[:, None])
        (gradient,) = torch.autograd.grad(score.sum(), points)
        total += gradient.reshape(len(some), *rows.shape).double().sum(0)
    values: np.ndarray = (total / _STEPS * rows).cpu().numpy()
    return values


def _error(values: np.ndarray, true: np.ndarray) -> np.ndarray:
    apart = np.linalg.norm((values - true).reshape(len(true), -1), axis=1)
    whole: np.ndarray = np.linalg.norm(true.reshape(len(true), -1), axis=1)
    return apart / whole


def _write(lines: list[str], device: torch.device) -> Path:
    text = [
        "# Integrated gradients to a tolerance of 1 %",
        "",
        measured(device, "pellucid", "torch", "captum"),
        "",
        f"{_ROWS} held-out rows of each network (its accuracy on all of them in brackets), zero "
        "baseline, the predicted class. The truth is the midpoint rule of 2,000 steps; errors are "
        "relative L2 over one row's values. Covered: the reported error is at least the true one. "
        "Captum: its default, 50 Gauss-Legendre steps.",
        "",
        "| network | score | within 1 % | covered | gradients a row | true error: median / 95th "
        "percentile / worst | Captum within 1 % | Captum's 95th percentile |",
        "|---|---|---|---|---|---|---|---|",
        *lines,
        "",
    ]
    return write("tolerance", device, text)
