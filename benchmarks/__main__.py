"""Run the benchmarks: ``python -m benchmarks [--device cuda] [name ...]``."""

from __future__ import annotations

import argparse

import torch

from benchmarks import (
    cam,
    engine,
    event_files,
    imports,
    integrated_gradients,
    memory,
    projection,
    recorder,
    shapley,
    tolerance,
)

_ALL = {
    "engine": engine.run,
    "cam": cam.run,
    "integrated-gradients": integrated_gradients.run,
    "tolerance": tolerance.run,
    "memory": memory.run,
    "shapley": shapley.run,
    "projection": projection.run,
    "recorder": recorder.run,
    "event-files": event_files.run,
    "imports": imports.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which, of {', '.join(_ALL)}; all by default")
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    unknown = set(chosen.names) - set(_ALL)
    if unknown:
        parser.error(f"there is no benchmark {min(unknown)!r}; there are {', '.join(_ALL)}")
    for name in chosen.names or _ALL:
        print(f"wrote {_ALL[name](torch.device(chosen.device))}", flush=True)


if __name__ == "__main__":
    main()
