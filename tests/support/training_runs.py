"""Runs for pictures of trainings: a real one measured by plain NumPy, and awkward ones."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from viz_samples import EVIL

from pellucid.interpret.results import Histograms, Pictures, Run, Watched
from pellucid.viz.pixels import png

STATISTICS = {
    "mean": np.mean,
    "std": np.std,
    "min": np.min,
    "max": np.max,
    "norm": lambda a: np.sqrt((a.astype(np.float64) ** 2).sum()),
}


def digits_model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 12, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip


def train(steps=160, every=2, seed=0, rate=0.1, batch=48, name="digits"):
    """Train a small network on digits, and measure everything in the plainest way."""
    data = load_digits()
    x = torch.tensor(data.images[:, None] / 16, dtype=torch.float32)
    y = torch.tensor(data.target)
    model = digits_model(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.8)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [steps // 2, 3 * steps // 4], 0.2)
    layers = {n: m for n, m in model.named_modules() if list(m.parameters(recurse=False))}
    metrics, kept, histograms = {}, {n: {} for n in layers}, {}
    watched = {"prediction": [], "0": []}
    random = np.random.default_rng(seed)

    def note(where, key, step, value):
        where.setdefault(key, []).append((step, float(value)))

    for step in range(steps):
        rows = random.integers(0, 1200, batch)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        before = {n: p.detach().numpy().copy() for n, p in model.named_parameters()}
        optimizer.step()
        schedule.step()
        note(metrics, "loss", step, loss.detach())
        note(metrics, "learning_rate", step, optimizer.param_groups[0]["lr"])
        if step % every:
            continue
        for layer, module in layers.items():
            for parameter, value in module.named_parameters(recurse=False):
                now, gradient = value.detach().numpy(), value.grad.numpy()
                for statistic, of in STATISTICS.items():
                    note(kept[layer], f"{parameter}.{statistic}", step, of(now))
                    note(kept[layer], f"{parameter}.gradient.{statistic}", step, of(gradient))
                old = before[f"{layer}.{parameter}"]
                moved = np.linalg.norm(now - old) / max(np.linalg.norm(old), 1e-12)
                note(kept[layer], f"{parameter}.update_ratio", step, moved)
                for key, array in ((parameter, now), (f"{parameter}.gradient", gradient)):
                    counts, edges = np.histogram(array, bins=40)
                    histograms.setdefault(f"{layer}/{key}", []).append((step, edges, counts))
        with torch.no_grad():
            first = torch.relu(model[0](x[1600:1606]))
            note(kept["0"], "output.dead", step, (first.amax((0, 2, 3)) == 0).float().mean())
            watched["0"].append((step, first[:3].numpy()))
            watched["prediction"].append((step, model(x[1600:1606]).softmax(1).numpy()))
            if step % (4 * every) == 0:
                scores = model(x[1200:1400])
                note(metrics, "val_loss", step, nn.functional.cross_entropy(scores, y[1200:1400]))
                right = (scores.argmax(1) == y[1200:1400]).float().mean()
                note(metrics, "val_accuracy", step, right)

    def track(pairs):
        return tuple(np.array(part, dtype=np.float64) for part in zip(*pairs, strict=True))

    found = {
        n: Watched(
            np.array([s for s, _ in pairs], float),
            np.stack([v for _, v in pairs]),
            np.array([1600 + i for i in range(pairs[0][1].shape[0])]),
        )
        for n, pairs in watched.items()
    }
    return Run(
        metrics={n: track(pairs) for n, pairs in metrics.items()},
        layers={n: {s: track(p) for s, p in of.items()} for n, of in kept.items()},
        histograms={
            n: Histograms(
                np.array([s for s, _, _ in parts], float),
                tuple(e for _, e, _ in parts),
                tuple(c.astype(np.float64) for _, _, c in parts),
            )
            for n, parts in histograms.items()
        },
        watched=found,
        clock=(np.arange(steps, dtype=np.float64), np.arange(steps) * 0.25),
        name=name,
    )


def transformer_layers(count):
    """Return the names of a transformer's layers, long ones."""
    parts = ("self_attn.in_proj", "self_attn.out_proj", "linear1", "linear2")
    return [f"encoder.layers.{i // 4}.{parts[i % 4]}" for i in range(count)]


def deep(layers=100, steps=10_000, seed=0, bad=True):
    """A deep model's run: gradients that fade towards its input, a layer that breaks."""
    random = np.random.default_rng(seed)
    at = np.arange(steps, dtype=np.float64)
    names = transformer_layers(layers)
    kept = {}
    for k, name in enumerate(names):
        fading = 10.0 ** (-6 * (layers - k) / layers)
        norm = fading * np.exp(0.4 * random.normal(size=steps)) * (1 + 5 * np.exp(-at / 300))
        found = {
            "norm": norm, "mean": norm * 1e-3 * random.normal(size=steps),
            "min": -norm * 0.4, "max": norm * 0.5,
        }  # fmt: skip
        if bad and k == layers // 2:
            for values in found.values():
                values[steps // 2 : steps // 2 + max(1, steps // 50)] = np.nan
        if bad and k == layers // 3:
            found["norm"][: steps // 4] = 0
        start = steps // 3 if bad and k == layers // 4 else 0
        kept[name] = {
            f"weight.gradient.{s}": (at[start:], values[start:]) for s, values in found.items()
        }
        kept[name]["weight.update_ratio"] = (at, norm * 30)
        kept[name]["output.dead"] = (at, np.clip(k / layers * at / steps, 0, 1))
        kept[name]["output.mean"] = (at, random.normal(size=steps) * (k + 1))
    loss = 2 * np.exp(-at / (steps / 4)) + 0.1 * random.random(steps)
    return Run(metrics={"loss": (at, loss)}, layers=kept, name="deep <b>model</b>")


def awkward():
    """One step, names that are markup, values that are not finite, huge and tiny."""
    at = np.arange(6.0)
    nothing = np.full(6, np.nan)
    wild = np.array([1e-30, 1e30, np.inf, -np.inf, 0, 1.0])
    layer = {}
    for s in ("norm", "mean", "min", "max"):
        layer[f"weight.gradient.{s}"] = (at, wild)
    layer["weight.update_ratio"] = (at, np.abs(wild))
    layer["output.dead"] = (at, nothing)
    edges = np.array([-1e308, -1.0, 0.0, 1e-9, 2.0, 1e308])
    histograms = Histograms(
        np.array([3.0, 1.0]),
        (edges, np.array([0.0, 0.0])),
        (np.array([1, 5, 2, 3, 1.0]), np.array([7.0])),
    )
    pixels = np.arange(300, dtype=np.uint8).reshape(10, 30)
    predictions = np.random.default_rng(0).normal(size=(6, 2, 3))
    predictions[2] = np.nan
    return Run(
        metrics={
            EVIL + "loss": (at, wild), "val_loss": (at, nothing), "val_" + EVIL: (at, at),
            "learning_rate" + EVIL: (at, at[::-1]),
        },
        layers={EVIL: layer, "": layer, "x" * 120: layer},
        histograms={EVIL: histograms},
        watched={
            "prediction": Watched(at, predictions, np.array([EVIL, "b"])),
            EVIL: Watched(at[:2], np.array([[[[[1, np.nan], [np.inf, -2]]]]] * 2)),
            "units": Watched(at, predictions * 1e-9),
        },
        pictures={EVIL: Pictures(at[:2], (np.frombuffer(png(pixels), np.uint8),) * 2)},
        clock=(at, at * 60),
        name=EVIL,
        step_unit=EVIL,
    )  # fmt: skip
