"""Shapley values: how wrong with the same evaluations, and how fast for the same work."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import shap
import torch
from captum.attr import KernelShap
from torch import Tensor

import pellucid as pl
from benchmarks.games import Game, exact, games, lookup, small_mlp
from benchmarks.harness import Table, measured, write
from benchmarks.models import mlp

_SEEDS, _TIMES = 20, (10, 40)  # evaluations for each player


def run(device: torch.device) -> Path:
    """Write both tables."""
    accuracy(device)
    return speed(device)


def accuracy(device: torch.device) -> Path:
    """Write the median relative error of each estimator with 10 and 40 evaluations a player."""
    estimators: dict[str, Callable[[Game, int, int, int], np.ndarray]] = {
        "Pellucid": _pellucid,
        "Pellucid, permutations": partial(_pellucid, method="permutation_shapley"),
        "shap.KernelExplainer": _shap,
        "Leverage SHAP": _leverage,
        "Captum KernelShap": _captum,
    }
    lines = []
    logs: dict[tuple[str, int], list[float]] = {}
    for name, tables in games().items():
        for times in _TIMES:
            cells = []
            for who, estimator in estimators.items():
                seeds = 5 if who.startswith("Captum") else _SEEDS
                wrong = [
                    _relative(estimator(lookup(t), n, times * n, seed), exact(t))
                    for t in tables
                    for seed in range(seeds)
                    for n in (int(np.log2(len(t))),)
                ]
                cells.append(float(np.median(wrong)))
                logs.setdefault((who, times), []).append(np.log(cells[-1]))
            lines.append(f"| {name} | {times}n | {' | '.join(f'{c:.4f}' for c in cells)} |")
            print(lines[-1], flush=True)
    for times in _TIMES:
        means = [np.exp(np.mean(logs[who, times])) for who in estimators]
        lines.append(f"| geometric mean | {times}n | {' | '.join(f'{m:.4f}' for m in means)} |")
        print(lines[-1], flush=True)
    text = [
        "# How wrong Shapley values are with the same number of evaluations",
        "",
        measured(device, "pellucid", "torch", "captum", "shap", "numpy"),
        "",
        f"Median relative L2 error over 3 rows and {_SEEDS} seeds (Captum 5) against all "
        "coalitions; n is the number of players, 16 patches of a digit for the CNN and 14 features "
        "for the others (`games.py`). shap without its selection of features (l1_reg=0); Leverage "
        "SHAP as in its paper, written for this benchmark; Captum's default weighting.",
        "",
        f"| game | evaluations | {' | '.join(estimators)} |",
        f"|---|---|{'---|' * len(estimators)}",
        *lines,
        "",
    ]
    return write("shapley-accuracy", device, text)


def speed(device: torch.device) -> Path:
    """Write the time for the same work, standard errors included."""
    table = Table(
        "shapley-time", "Shapley values, the time for the same work",
        "captum.attr.KernelShap, or shap.KernelExplainer with l1_reg=0", device,
    )  # fmt: skip
    model, rows = mlp(device, 100)
    target = 0
    for each in (1, 100):
        table.add(
            "MLP 30-256-256-2, 100 rows, 200 evaluations each, one baseline",
            partial(_ours, model, rows, None, 200, target),
            partial(_captum_rows, model, rows, 200, target, each),
            note=f"Captum, perturbations_per_eval={each}" + (", its default" if each == 1 else ""),
            pairs=5,
        )

    small, data, _, held = small_mlp()
    small, data, some = small.to(device), data.to(device), held[:20].to(device)

    def scores(points: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found = small(torch.from_numpy(points.astype(np.float32)).to(device))
        whole: np.ndarray = found[:, target].cpu().numpy()
        return whole

    for samples in (100, 1):
        known = data[:samples]
        explainer = shap.KernelExplainer(scores, known.cpu().numpy())
        table.add(
            f"MLP 14-32-32-2, 20 rows, 2,076 evaluations each, background of {samples}",
            partial(_ours, small, some, known, 2076, target),
            partial(_shap_rows, explainer, some.cpu().numpy(), 2076),
            note="shap",
            pairs=5,
        )
    return table.write()


def _ours(model: Any, rows: Tensor, background: Any, budget: int, target: int) -> None:
    pl.explain(
        model, rows, method="shapley", background=background, budget=budget, target=target,
        progress=False,
    )  # fmt: skip


def _captum_rows(model: Any, rows: Tensor, budget: int, target: int, each: int) -> None:
    for row in rows:  # it explains one row at a time
        KernelShap(model).attribute(
            row[None], target=target, n_samples=budget, perturbations_per_eval=each
        )


def _shap_rows(explainer: Any, rows: np.ndarray, budget: int) -> None:
    explainer.shap_values(rows, nsamples=budget, l1_reg=0, silent=True)


# -- estimators of one game: from a function of zeros and ones, n, evaluations and a seed ---------


def _pellucid(
    game: Game, n: int, evaluations: int, seed: int, method: str = "shapley"
) -> np.ndarray:
    found = pl.explain(
        game, np.ones((1, n)), method=method, baseline=np.zeros(n), budget=evaluations, seed=seed,
        progress=False,
    )  # fmt: skip
    values: np.ndarray = found.values[0]
    return values


def _shap(game: Game, n: int, evaluations: int, seed: int) -> np.ndarray:
    np.random.seed(seed)  # noqa: NPY002 - what shap draws from
    explainer = shap.KernelExplainer(game, np.zeros((1, n)))
    # Nobody and everybody are evaluated besides.
    found = explainer.shap_values(np.ones((1, n)), nsamples=evaluations - 2, l1_reg=0, silent=True)
    return np.asarray(found)[0]


def _captum(game: Game, n: int, evaluations: int, seed: int) -> np.ndarray:
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = KernelShap(lambda rows: torch.from_numpy(game(rows.numpy()))).attribute(
            torch.ones(1, n), n_samples=evaluations, perturbations_per_eval=evaluations
        )
    whole: np.ndarray = found[0].numpy()
    return whole


def _leverage(game: Game, n: int, evaluations: int, seed: int) -> np.ndarray:
    """Leverage SHAP (Musco & Witter 2025, https://arxiv.org/abs/2410.01917, algorithm 1).

    Pairs by Bernoulli sampling without replacement, with probabilities that are the same for all
    sizes together; weighted projected least squares.
    """
    random = np.random.default_rng(seed)
    pairs = (evaluations - 2) // 2
    sizes = range(1, n // 2 + 1)
    there = {s: comb(n, s) // (2 if 2 * s == n else 1) for s in sizes}
    low, high = 0.0, float(max(there.values()))
    for _ in range(60):  # the level at which so many pairs are expected
        level = (low + high) / 2
        if sum(min(count, level) for count in there.values()) < pairs:
            low = level
        else:
            high = level
    rows, weights = [], []
    for s in sizes:
        chance = min(1.0, level / there[s])
        count = random.binomial(there[s], chance) if chance < 1 else there[s]
        known: set[frozenset[int]] = set()
        while len(known) < count:
            chosen = frozenset(random.permutation(n)[:s].tolist())
            if 2 * s == n and 0 not in chosen:
                chosen = frozenset(range(n)) - chosen
            known.add(chosen)
        for chosen in known:
            row = np.zeros(n)
            row[list(chosen)] = 1
            rows += [row, 1 - row]
            weights += [1 / (comb(n, s) * s * (n - s) * chance)] * 2
    masks = np.array(rows)
    nobody, everybody = game(np.stack([np.zeros(n), np.ones(n)]))
    total = everybody - nobody
    project = np.eye(n) - 1 / n
    root = np.sqrt(np.array(weights))[:, None]
    aim = game(masks) - nobody - masks.sum(1) * total / n
    fitted = np.linalg.lstsq(root * masks @ project, root[:, 0] * aim, rcond=None)[0]
    found: np.ndarray = project @ fitted + total / n
    return found


def _relative(values: np.ndarray, true: np.ndarray) -> float:
    return float(np.linalg.norm(values - true) / np.linalg.norm(true))
