"""Games whose every coalition is known: tables of a trained network's and a forest's scores."""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.models import trained
from pellucid.datasets import load_breast_cancer

Game = Callable[[np.ndarray], np.ndarray]  # from rows of zeros and ones to values
_FEATURES, _BACKGROUND = 14, 20


def games(rows: int = 3) -> dict[str, list[np.ndarray]]:
    """Return the values of all coalitions, in the order of their bits, for some rows of each kind.

    A CNN on digits with 16 patches against black; an MLP and a random forest on 14 features of
    breast masses against 20 samples.
    """
    found: dict[str, list[np.ndarray]] = {
        name: [] for name in ("CNN, logit", "CNN, probability", "MLP, logit", "MLP, probability")
    }
    found["forest"] = []
    cpu = torch.device("cpu")
    cnn, pictures, _ = trained("ReLU CNN", cpu, rows)
    side = torch.arange(8) // 2
    patch = (side[:, None] * 4 + side).flatten()
    for picture in pictures:
        kind = int(cnn(picture[None]).argmax())
        scores = torch.cat(
            [
                cnn(torch.from_numpy(some)[:, patch].reshape(-1, 1, 8, 8) * picture)
                for some in np.array_split(coalitions(16), 16)
            ]
        ).double()
        found["CNN, logit"].append(scores[:, kind].numpy())
        found["CNN, probability"].append(scores.softmax(1)[:, kind].numpy())
    mlp, x, y, held = small_mlp()
    forest = RandomForestClassifier(100, random_state=0).fit(x.numpy(), y.numpy())
    masks = torch.from_numpy(coalitions(_FEATURES))
    for row in held[:rows]:
        kind = int(mlp(row[None]).argmax())
        sums = np.zeros((3, len(masks)))
        for sample in x[:_BACKGROUND]:
            points = torch.where(masks, row, sample)
            with torch.no_grad():
                scores = mlp(points).double()
            sums[0] += scores[:, kind].numpy()
            sums[1] += scores.softmax(1)[:, kind].numpy()
            sums[2] += forest.predict_proba(points.numpy())[:, kind]
        for name, one in zip(("MLP, logit", "MLP, probability", "forest"), sums, strict=True):
            found[name].append(one / _BACKGROUND)
    return found


def small_mlp() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """Return an MLP trained on 14 features of breast masses, its data, and held-out rows."""
    train, test = load_breast_cancer().split(test=0.3, seed=0)
    (x, y), (held, _) = train.standardized().torch(), test.standardized(like=train).torch()
    x, held = x[:, :_FEATURES], held[:, :_FEATURES]
    torch.manual_seed(0)
    mlp = nn.Sequential(
        nn.Linear(_FEATURES, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)
    )
    optimizer = torch.optim.Adam(mlp.parameters(), lr=3e-3)
    for _ in range(200):
        optimizer.zero_grad()
        cross_entropy(mlp(x), y).backward()
        optimizer.step()
    return mlp.eval(), x, y, held


def coalitions(players: int) -> np.ndarray:
    """Return all coalitions, (2 ** players, players); the number's bits say who plays."""
    masks: np.ndarray = (np.arange(2**players)[:, None] >> np.arange(players)) & 1 == 1
    return masks


def lookup(table: np.ndarray) -> Game:
    """Return a game as a function of rows of zeros and ones."""
    bits = 1 << np.arange(int(np.log2(len(table))))
    return lambda rows: table[(np.asarray(rows) > 0.5) @ bits]


def exact(table: np.ndarray) -> np.ndarray:
    """Return Shapley values by their definition, from all coalitions."""
    n = int(np.log2(len(table)))
    number = np.arange(len(table))
    size = coalitions(n).sum(1)
    weight = np.array([1 / (n * comb(n - 1, k)) for k in range(n)])
    found = np.zeros(n)
    for i in range(n):
        without = number[(number >> i) & 1 == 0]
        found[i] = weight[size[without]] @ (table[without | 1 << i] - table[without])
    return found
