"""How much memory do integrated gradients take? Peak resident bytes (Linux), a process for each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.harness import measured, write

_START = """
import ctypes, torch
from benchmarks.models import resnet
model, images = resnet(torch.device("cpu"), 16)
with torch.no_grad():
    target = model(images).argmax(1)
first = images[:2].clone().requires_grad_()
torch.autograd.grad(model(first).sum(), first)
def resident(name):
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])
{load}
ctypes.CDLL("libc.so.6").malloc_trim(0)  # what is free, and was used before, counts again
open("/proc/self/clear_refs", "w").write("5")  # the peak so far is forgotten
before = resident("VmRSS")
{work}
print(resident("VmHWM") - before)
"""
_OURS = (
    "import pellucid as pl; pl.explain(model, images[:2], steps=2, target=target[:2])",
    "pl.explain(model, images, steps={steps}, target=target, rule='gauss_legendre')",
)
_CAPTUM = (
    "from captum.attr import IntegratedGradients as IG",
    "IG(model).attribute(images, target=target, n_steps={steps}{more})",
)


def run(device: torch.device) -> Path:
    """Write what both take beyond the model and its inputs, for 50 steps and for 500."""
    lines = []
    for name, (load, work), more, many in (
        ("Pellucid", _OURS, "", (50, 500)),
        ("Captum, its default", _CAPTUM, "", (50,)),
        ("Captum, internal_batch_size=32", _CAPTUM, ", internal_batch_size=32", (50,)),
    ):
        for steps in many:
            script = _START.format(load=load, work=work.format(steps=steps, more=more))
            done = subprocess.run(  # noqa: S603 - our own text
                [sys.executable, "-c", script], check=True, capture_output=True, text=True
            )
            lines.append(f"| {name} | {steps} | {int(done.stdout) / 1024:,.0f} MiB |")
            print(lines[-1], flush=True)
    text = [
        "# Peak memory of integrated gradients",
        "",
        measured(torch.device("cpu"), "pellucid", "torch", "captum"),
        "",
        "A ResNet-18 of full width, 16 images of 64 x 64, on the CPU. The growth of the process's "
        "peak resident memory over what it was with the model loaded and run once.",
        "",
        "| who | steps | peak |",
        "|---|---|---|",
        *lines,
        "",
    ]
    return write("memory", torch.device("cpu"), text)
