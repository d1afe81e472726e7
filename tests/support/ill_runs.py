"""Trainings of small models: healthy ones, and one for each thing that goes wrong.

Each function takes `record(model, every)`, which makes a recorder, and returns the run.
"""

import functools
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from pellucid import datasets
from pellucid.interpret.training.recorder import Recorder

SGD = torch.optim.SGD


@functools.cache
def wine():
    """Training and validation part, standardized."""
    train, test = datasets.load_wine().split(test=0.3, seed=0)
    train = train.standardized()
    return train.torch(), test.standardized(like=train).torch()


@functools.cache
def digits():
    """Training and validation part, of shape (n, 1, 8, 8), from 0 to 1."""
    parts = datasets.load_digits().split(test=0.3, seed=0)
    return tuple((x.reshape(-1, 1, 8, 8) / x.max(), y) for x, y in (p.torch() for p in parts))


def flat(data):
    return tuple((x.flatten(1), y) for x, y in data)


def few(data, count=400):
    """The same with few training samples."""
    (x, y), validation = data
    return (x[:count], y[:count]), validation


def mlp(*sizes, act=nn.ReLU, scale=1.0):
    model = nn.Sequential()
    for before, after in zip(sizes[:-1], sizes[1:], strict=True):
        linear = nn.Linear(before, after)
        linear.weight.data *= scale
        model.extend([linear, act()])
    return model[:-1]


def cnn(norm=False):
    middle = [nn.Conv2d(8, 16, 3, padding=1)] + ([nn.BatchNorm2d(16)] if norm else [])
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        *middle, nn.ReLU(), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


class Transformer(nn.Module):
    """Reads a digit row by row."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(8, 32)
        self.place = nn.Parameter(0.1 * torch.randn(8, 32))
        block = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.blocks(self.embed(x.squeeze(1)) + self.place).mean(1))


class Recurrent(nn.Module):
    """Reads a digit four times row by row, with a state that grows at every step."""

    def __init__(self, growth):
        super().__init__()
        self.rnn = nn.RNN(8, 32, nonlinearity="relu", batch_first=True)
        nn.init.orthogonal_(self.rnn.weight_hh_l0, growth)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.rnn(x.squeeze(1).repeat(1, 4, 1))[0][:, -1])


def fit(
    model, data, record, *, optimizer=torch.optim.Adam, rate=3e-3, epochs=6, batch=32,
    shuffle=True, change=None, every=2, loss=functional.cross_entropy,
):  # fmt: skip
    """Train, recording; `change(step, optimizer)` meddles."""
    (x, y), (held_x, held_y) = data
    steps = optimizer([p for p in model.parameters() if p.requires_grad], lr=rate)
    done = 0
    with record(model, every) as recorder:
        for _ in range(epochs):
            order = torch.randperm(len(x)) if shuffle else torch.arange(len(x))
            model.train()
            for rows in order.split(batch):
                if change is not None:
                    change(done, steps)
                steps.zero_grad()
                scores = model(x[rows])
                value = loss(scores, y[rows])
                value.backward()
                steps.step()
                done += 1
                recorder.step(loss=value, **accuracy("accuracy", scores, y[rows]))
            model.eval()
            with torch.no_grad():
                scores = model(held_x)
                right = accuracy("val_accuracy", scores, held_y)
                recorder.epoch(val_loss=loss(scores, held_y), **right)
    return recorder.run


def accuracy(name, scores, labels):
    """The accuracy by its name; nothing where the targets are no classes."""
    if labels.dtype != torch.int64:
        return {}
    return {name: (scores.argmax(1) == labels).float().mean()}


def faster(factor, at):
    """Multiply the learning rate at one step."""

    def change(step, optimizer):
        if step == at:
            for group in optimizer.param_groups:
                group["lr"] *= factor

    return change


# -- healthy ---------------------------------------------------------------------------------


def healthy_mlp(record):
    return fit(mlp(13, 32, 32, 3), wine(), record, epochs=20)


def healthy_cnn(record):
    return fit(cnn(), few(digits(), 600), record, epochs=8, rate=5e-3)


def healthy_norm(record):
    return fit(cnn(norm=True), few(digits(), 600), record)


def healthy_transformer(record):
    return fit(Transformer(), few(digits(), 600), record, epochs=10)


# -- gradients and updates -------------------------------------------------------------------


def vanishing(record):
    model = mlp(64, *[32] * 7, 10, act=nn.Sigmoid)
    return fit(model, few(flat(digits())), record, optimizer=SGD, rate=0.1, epochs=8)


def exploding_depth(record):
    model = mlp(64, *[64] * 7, 10, scale=8.0)
    return fit(model, few(flat(digits())), record, optimizer=SGD, rate=1e-9)


def exploding_recurrent(record):
    return fit(Recurrent(2.5), few(digits()), record, optimizer=SGD, rate=0.01)


def rate_too_high(record):
    return fit(mlp(64, 64, 10, act=nn.Tanh), few(flat(digits())), record, rate=0.3, epochs=8)


def rate_too_low(record):
    model = mlp(64, 64, 10)
    return fit(model, few(flat(digits())), record, optimizer=SGD, rate=1e-5, epochs=8)


def rate_zero(record):
    return fit(mlp(64, 32, 10), few(flat(digits())), record, rate=0.0)


def frozen(record):
    model = mlp(64, 64, 64, 10)
    model[2].requires_grad_(False)
    return fit(model, few(flat(digits())), record)


class _Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x):
        # The body is used, so that it has a gradient, but one of zero.
        return self.head(torch.relu(self.body(x)).detach()) + 0.0 * self.body(x).sum()


def detached(record):
    return fit(_Detached(), few(flat(digits())), record)


# -- units -----------------------------------------------------------------------------------


def dead_biases(record):
    model = mlp(64, 64, 64, 10)
    nn.init.constant_(model[2].bias, -10.0)
    return fit(model, few(flat(digits())), record)


def dead_by_rate(record):
    return fit(mlp(64, 64, 64, 10), few(flat(digits())), record, optimizer=SGD, rate=6.0)


def saturated(record):
    return fit(mlp(64, 64, 64, 10, act=nn.Tanh, scale=25.0), few(flat(digits())), record)


# -- losses ----------------------------------------------------------------------------------


def diverging(record):
    change = faster(1000, at=65)
    return fit(mlp(64, 64, 10), few(flat(digits())), record, epochs=10, change=change)


def not_finite(record):
    model, change = mlp(64, 64, 64, 10), faster(1e30, at=50)
    return fit(model, few(flat(digits())), record, optimizer=SGD, rate=0.05, change=change)


class _Broken(nn.Module):
    """One batch in forty is a hundred times as large."""

    def __init__(self):
        super().__init__()
        self.net, self.step = mlp(64, 64, 10), 0

    def forward(self, x):
        self.step += self.training
        return self.net(x * (100 if self.training and self.step % 40 == 39 else 1))


def spiking(record):
    return fit(_Broken(), few(flat(digits()), 800), record, epochs=8)


def over_fitting(record):
    """A large model, few samples, and two labels in five wrong: learnt first, then by heart."""
    (x, y), validation = few(flat(digits()), 200)
    y = torch.where(torch.rand(len(y)) < 0.4, torch.randint(10, y.shape), y)
    return fit(mlp(64, 256, 256, 10), ((x, y), validation), record, epochs=60, rate=2e-3)


def plateau(record):
    """The learning rate falls to nothing after a few steps."""
    change = faster(1e-6, at=20)
    return fit(mlp(64, 64, 10), few(flat(digits())), record, epochs=12, rate=2e-3, change=change)


# -- labels and data -------------------------------------------------------------------------


def shuffled_labels(record):
    """Inputs and labels were shuffled apart; a large model learns them by heart."""
    (x, y), validation = few(flat(digits()), 300)
    data = (x, y[torch.randperm(len(y))]), validation
    return fit(mlp(64, 128, 10), data, record, epochs=30)


def nothing_to_learn(record):
    """The same, with more samples than a small model can learn by heart."""
    (x, y), validation = flat(digits())
    data = (x, y[torch.randperm(len(y))]), validation
    return fit(mlp(64, 16, 10), data, record, epochs=5, rate=1e-3)


def contained(record):
    """The validation part was trained on."""
    (x, y), held = wine()
    data = (torch.cat([x, held[0]]), torch.cat([y, held[1]])), held
    return fit(mlp(13, 64, 64, 3), data, record, epochs=40, rate=1e-2)


def target_as_feature(record):
    parts = [
        (torch.cat([x, 3 * functional.one_hot(y, 10)], 1), y) for x, y in few(flat(digits()), 600)
    ]
    return fit(mlp(74, 64, 10), parts, record, epochs=12, rate=1e-2)


def sorted_batches(record):
    """The samples come by class, in every epoch."""
    (x, y), validation = few(flat(digits()), 640)
    order = y.argsort(stable=True)
    data = (x[order], y[order]), validation
    return fit(mlp(64, 32, 10), data, record, epochs=10, rate=2e-3, shuffle=False)


@functools.cache
def trained(name, seed=0):
    """One of these trainings, recorded; the same run for all who ask."""
    torch.manual_seed(seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more are slower for models as small as these
    try:
        with tempfile.TemporaryDirectory() as folder:
            return globals()[name](
                lambda model, every: Recorder(
                    model, Path(folder) / "run", every=every, histograms=False, name=name
                )
            )
    finally:
        torch.set_num_threads(threads)
