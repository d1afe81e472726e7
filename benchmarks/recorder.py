"""What recording a training costs: beside the same training without, and beside TensorBoard."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.harness import measured, write
from benchmarks.models import TRAINED, ResNet18
from pellucid.datasets import load_digits
from pellucid.interpret.training.recorder import Recorder
from pellucid.interpret.training.recording.activations import observed

_EVERY = 10


@dataclass
class Training:
    """A model, its optimizer, and batches without end."""

    name: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Iterator[tuple[Tensor, Tensor]]
    steps: int  # that are timed at once
    rounds: int

    def step(self) -> Tensor:
        x, y = next(self.batches)
        loss = cross_entropy(self.model(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss


def run(device: torch.device) -> Path:
    """Write what recording every tenth step costs, and a recorded step beside TensorBoard's."""
    trainings = [_digits(device, 64), _digits(device, 128), _resnet(device)]
    text = [
        "# Recording a training",
        "",
        measured(device, "pellucid", "torch", "tensorboard"),
        "",
        f"Every {_EVERY}th step is recorded with all there is: metrics, and of every layer "
        "statistics and histograms of weights, gradients and outputs, updates, dead units. The "
        "same steps with the recorder and without, in turn, in one process. Cost: what a step "
        "takes longer, averaged over all steps, median over the pairs (quartiles).",
        "",
        "| training | a step without | a step with | cost | cost in CPU time | pairs |",
        "|---|---|---|---|---|---|",
        *(_show(_cost(training, device)) for training in trainings),
        "",
        "What recording one step takes: a step that is recorded less one that is not. TensorBoard: "
        "`SummaryWriter.add_histogram` of the same weights, gradients and outputs (collected by "
        "forward hooks), until it has written them; ours has the statistics and updates besides.",
        "",
        "| training | Pellucid | TensorBoard | ours / TensorBoard | rounds |",
        "|---|---|---|---|---|",
        *(_show(_beside_tensorboard(training, device)) for training in trainings[1:]),
        "",
    ]
    return write("recorder", device, text)


def _show(line: str) -> str:
    print(line, flush=True)
    return line


def _digits(device: torch.device, rows: int) -> Training:
    torch.manual_seed(0)
    model = TRAINED["ReLU CNN"][1]().to(device)
    x, y = (tensor.to(device) for tensor in load_digits().torch())
    batches = list(zip(x.split(rows), y.split(rows), strict=True))[:-1]
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    return Training(
        f"CNN on digits, batches of {rows}", model, optimizer, itertools.cycle(batches), 20, 60
    )


def _resnet(device: torch.device) -> Training:
    torch.manual_seed(0)
    model = ResNet18().to(device)
    batches = [
        (torch.randn(16, 3, 64, 64).to(device), torch.randint(0, 1000, (16,)).to(device))
        for _ in range(2)
    ]
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    return Training(
        "ResNet-18, batches of 16 images of 64 x 64",
        model,
        optimizer,
        itertools.cycle(batches),
        10,
        10,
    )


def _clock(work: Callable[[], Any], device: torch.device) -> tuple[float, float]:
    """Return wall time and CPU time."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start, busy = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start, time.process_time() - busy


def _cost(training: Training, device: torch.device) -> str:
    def plain() -> tuple[float, float]:
        def work() -> None:
            for _ in range(training.steps):
                training.step()

        return _clock(work, device)

    def recorded() -> tuple[float, float]:
        with (
            tempfile.TemporaryDirectory() as folder,
            Recorder(training.model, folder, every=_EVERY) as recorder,
        ):
            recorder.step(loss=training.step())  # the first one also writes what all is called

            def work() -> None:
                for _ in range(training.steps):
                    recorder.step(loss=training.step())

            return _clock(work, device)

    plain()
    recorded()
    times: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for turn in range(training.rounds):
        for which in (0, 1) if turn % 2 else (1, 0):
            times[which].append((plain, recorded)[which]())
    wall, busy = (
        [with_[k] / without[k] - 1 for without, with_ in zip(*times, strict=True)] for k in (0, 1)
    )
    without, with_ = (
        statistics.median(pair[0] for pair in each) / training.steps * 1e3 for each in times
    )
    return (
        f"| {training.name} | {without:.2f} ms | {with_:.2f} ms | {_spread(wall, '.1%')} | "
        f"{_spread(busy, '.1%')} | {training.rounds} |"
    )


def _beside_tensorboard(training: Training, device: torch.device) -> str:
    from torch.utils.tensorboard import SummaryWriter

    layers = observed(training.model, wanted=True)
    names = {id(layer): name for name, layer in layers.items()}
    parameters = dict(training.model.named_parameters())
    times: dict[str, list[float]] = {"plain": [], "ours": [], "theirs": []}
    with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:

        def ours() -> float:
            with (
                tempfile.TemporaryDirectory() as other,
                Recorder(training.model, other, every=1) as recorder,
            ):
                return _clock(lambda: recorder.step(loss=training.step()), device)[0]

        def theirs() -> float:
            outputs: dict[str, Tensor] = {}

            def keep(layer: nn.Module, _: Any, output: Tensor) -> None:
                # A copy, since a layer behind may write into it.
                outputs[names[id(layer)]] = output.detach().clone()

            def work() -> None:
                loss = training.step()
                writer.add_scalar("loss", loss, 0)
                for name, parameter in parameters.items():
                    writer.add_histogram(name, parameter, 0)
                    writer.add_histogram(f"{name}.gradient", parameter.grad, 0)
                for name, output in outputs.items():
                    writer.add_histogram(f"{name}.output", output, 0)
                writer.flush()

            with ExitStack() as hooks:
                for layer in layers.values():
                    hooks.callback(layer.register_forward_hook(keep).remove)
                return _clock(work, device)[0]

        runs = {
            "plain": lambda: _clock(training.step, device)[0],
            "ours": ours,
            "theirs": theirs,
        }
        order = list(runs)
        for turn in range(training.rounds + 1):
            for which in order[turn % 3 :] + order[: turn % 3]:
                seconds = runs[which]()
                if turn:  # the first ones do not count
                    times[which].append(seconds)
    plain = statistics.median(times["plain"])
    mine, peers = ([seconds - plain for seconds in times[which]] for which in ("ours", "theirs"))
    ratios = [one / other for one, other in zip(mine, peers, strict=True)]
    return (
        f"| {training.name} | {statistics.median(mine) * 1e3:.1f} ms | "
        f"{statistics.median(peers) * 1e3:.1f} ms | {_spread(ratios, '.3f')} | {training.rounds} |"
    )


def _spread(values: list[float], form: str) -> str:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"**{middle:{form}}** ({low:{form}} to {high:{form}})"
