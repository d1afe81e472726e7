"""How long it takes to read what TensorBoard's writer wrote."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Table
from pellucid.interpret.training.logs.records import Condition, read_records
from pellucid.interpret.training.logs.tensorboard import read_tensorboard

_TAGS, _STEPS, _HISTOGRAMS, _PICTURES = 8, 10_000, 100, 10


def run(device: torch.device) -> Path:
    """Read a file of 80,000 scalars, 100 histograms and 10 images, and say what the floor is."""
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    table = Table(
        "event-files",
        "TensorBoard event files",
        "EventAccumulator of the tensorboard package, told to keep everything; in the second row "
        "the floor",
        device,
    )
    work = f"{_TAGS * _STEPS:,} scalars, {_HISTOGRAMS} histograms, {_PICTURES} images"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for style in (False, True):
            here = folder / f"style{int(style)}"
            _write(here, new_style=style)
            which = "tensor" if style else "simple_value"
            (file,) = here.iterdir()
            size = f"{file.stat().st_size / 1e6:.1f} MB"
            _check(here)
            table.add(
                f"{work}; scalars as {which}",
                lambda here=here: read_tensorboard(here),
                _accumulate(here),
                note=size,
            )
            if not style:
                table.add(
                    "the same, beside the floor",
                    lambda here=here: read_tensorboard(here),
                    lambda file=file: sum(map(len, read_records(file, Condition()))),
                    note="floor: reading the file and checking both checksums of every record",
                )
    return table.write()


def _accumulate(folder: Path) -> Callable[[], object]:
    from tensorboard.backend.event_processing import event_accumulator

    return lambda: event_accumulator.EventAccumulator(
        str(folder), size_guidance=event_accumulator.STORE_EVERYTHING_SIZE_GUIDANCE
    ).Reload()


def _write(folder: Path, *, new_style: bool) -> None:
    from torch.utils.tensorboard import SummaryWriter

    generator = np.random.default_rng(0)
    with SummaryWriter(str(folder)) as writer:
        for step in range(_STEPS):
            for tag in range(_TAGS):
                value = generator.normal()
                writer.add_scalar(f"group/metric_{tag}", value, step, new_style=new_style)
            if step % (_STEPS // _HISTOGRAMS) == 0:
                writer.add_histogram("layer/weight", generator.normal(size=2000), step)
            if step % (_STEPS // _PICTURES) == 0:
                writer.add_image("picture", generator.random((3, 128, 128)), step)


def _check(folder: Path) -> None:
    """Hold that nothing was left out, which would be quick."""
    run = read_tensorboard(folder)
    counted = (
        sum(len(steps) for steps, _ in run.metrics.values()),
        sum(map(len, run.histograms.values())),
        sum(map(len, run.pictures.values())),
    )
    if counted != (_TAGS * _STEPS, _HISTOGRAMS, _PICTURES):
        raise RuntimeError(f"read {counted}")
