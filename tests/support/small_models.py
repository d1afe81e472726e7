"""Small models of every kind that `explain` meets, and inputs for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mlp(features=6, classes=3, width=16):
    return nn.Sequential(
        nn.Linear(features, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, classes),
    )


def cnn(classes=4):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 9, classes),
    )  # fmt: skip


def with_running_statistics(model):
    """BatchNorms as after training: statistics and scales that are not 0 and 1."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.num_batches_tracked.fill_(17)
    return model


def cnn_with_batch_norm(classes=4):
    return with_running_statistics(
        nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(6 * 9, classes),
        )  # fmt: skip
    )


class Residual(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(after), nn.BatchNorm2d(after)])
        self.short = nn.Sequential()
        if stride > 1 or before != after:
            self.short = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x):
        inner = self.norms[0](self.first(x)).relu()
        return (self.norms[1](self.second(inner)) + self.short(x)).relu()


def resnet18(width):
    layers = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    before = width
    for stage in range(4):
        for stride in (2 if stage else 1, 1):
            layers.append(Residual(before, width * 2**stage, stride))
            before = width * 2**stage
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10)
    ).eval()


def in_place():
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(inplace=True), nn.Linear(16, 3))


def left_in_training():
    """Dropout and BatchNorm, as a training loop leaves them, with one module held in evaluation."""
    model = with_running_statistics(
        nn.Sequential(
            nn.Linear(6, 16),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(16, 16),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Linear(16, 3),
        )  # fmt: skip
    )
    model.train()
    model[5].eval()
    model[0].weight.requires_grad_(False)
    return model


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 8), nn.Linear(3, 8)
        self.act, self.out = nn.ReLU(), nn.Linear(16, 3)

    def forward(self, a, b):
        return self.out(self.act(torch.cat([self.left(a), self.right(b)], 1)))


class NamedInputs(TwoInputs):
    def forward(self, *, first, second, scale=1.0):
        return super().forward(first, second) * scale


class NestedInputs(TwoInputs):
    def forward(self, pair, c):
        x, y = pair["a"]
        return super().forward(torch.cat([x, y], 1), c)


class IndexAndFloats(nn.Module):
    """An embedding's index is carried along, the float input attributed to."""

    def __init__(self):
        super().__init__()
        self.table, self.first = nn.Embedding(5, 3), nn.Linear(7, 16)
        self.act, self.out = nn.ReLU(), nn.Linear(16, 3)

    def forward(self, index, x):
        return self.out(self.act(self.first(torch.cat([self.table(index), x], 1))))


class OneLogit(nn.Module):
    def __init__(self, flat=False):
        super().__init__()
        self.body, self.flat = mlp(6, 1), flat

    def forward(self, x):
        z = self.body(x)
        return z[:, 0] if self.flat else z


class Reused(nn.Module):
    """One ReLU for two layers."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.out = nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.out(self.act(self.second(self.act(self.first(x)))))


class ChangesBuffers(nn.Module):
    """Writes to buffers, replaces one, and registers another, in every forward pass."""

    def __init__(self):
        super().__init__()
        self.body = mlp()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("last", torch.zeros(3))
        self.register_buffer("hidden", torch.zeros(3))

    def forward(self, x):
        self.calls += 1
        out = self.body(x)
        self.last = out.detach().mean(0)
        self.hidden.data.copy_(out.detach().mean(0))  # .data does not count as a new version
        self.register_buffer("cache", out.detach().clone())
        return out


class Noisy(nn.Module):
    """Stochastic in evaluation mode too."""

    def __init__(self):
        super().__init__()
        self.body = mlp()

    def forward(self, x):
        return self.body(F.dropout(x, 0.3, training=True))


class Fails(nn.Module):
    """Raises after so many calls."""

    def __init__(self, after, error=None):
        super().__init__()
        self.body, self.after, self.calls = left_in_training(), after, 0
        self.error = error if error is not None else RuntimeError("the power went out")

    def forward(self, x):
        self.calls += 1
        if self.calls > self.after:
            raise self.error
        return self.body(x)


@dataclass
class Case:
    """A model, and a function from a number of samples to its inputs."""

    model: Any
    inputs: Callable[[int], Any]

    def to(self, device):
        if isinstance(self.model, nn.Module):
            self.model.to(device)
        make = self.inputs
        self.inputs = lambda n: moved(make(n), device)
        return self


def moved(tree, device):
    if isinstance(tree, Tensor):
        return tree.to(device)
    if isinstance(tree, dict):
        return {key: moved(value, device) for key, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(moved(value, device) for value in tree)
    return tree


def rows(*shape, dtype=torch.float32):
    return lambda n: torch.randn(n, *shape, dtype=dtype)


def tensor_function(x):
    return torch.stack([(x**3).sum(1), torch.tanh(x).sum(1), (x[:, :1] * x).sum(1)], 1)


CASES: dict[str, Callable[[], Case]] = {
    "mlp": lambda: Case(mlp(), rows(6)),
    "cnn": lambda: Case(cnn(), rows(1, 6, 6)),
    "cnn with batch norm": lambda: Case(cnn_with_batch_norm(), rows(1, 6, 6)),
    "two inputs": lambda: Case(TwoInputs(), lambda n: (torch.randn(n, 4), torch.randn(n, 3))),
    "named inputs": lambda: Case(
        NamedInputs(),
        lambda n: {"second": torch.randn(n, 3), "first": torch.randn(n, 4), "scale": 2.0},
    ),
    "nested inputs": lambda: Case(
        NestedInputs(),
        lambda n: ({"a": (torch.randn(n, 1), torch.randn(n, 3))}, torch.randn(n, 3)),
    ),
    "index and floats": lambda: Case(
        IndexAndFloats(), lambda n: (torch.randint(5, (n,)), torch.randn(n, 4))
    ),
    "one logit": lambda: Case(OneLogit(), rows(6)),
    "one flat logit": lambda: Case(OneLogit(flat=True), rows(6)),
    "in place": lambda: Case(in_place(), rows(6)),
    "in place first": lambda: Case(nn.Sequential(nn.ReLU(inplace=True), mlp()), rows(6)),
    "reused module": lambda: Case(Reused(), rows(6)),
    "left in training": lambda: Case(left_in_training(), rows(6)),
    "changes buffers": lambda: Case(ChangesBuffers(), rows(6)),
    "float64": lambda: Case(mlp().double(), rows(6, dtype=torch.float64)),
    "bfloat16": lambda: Case(mlp().bfloat16(), rows(6)),
    "function": lambda: Case(tensor_function, rows(6)),
}


def make_case(name, device="cpu", seed=0):
    """The same case for the same seed; torch's random state stays what it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CASES[name]().to(device)


def make_inputs(case, n, seed=1):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return case.inputs(n)
