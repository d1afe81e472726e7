"""Grad-CAM beside Captum's: four layers in one call, and one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

import pellucid as pl
from benchmarks.harness import Table
from benchmarks.models import resnet

_LAYERS = ("stages.0", "stages.1", "stages.2", "stages.3")


def run(device: torch.device) -> Path:
    """Compare Grad-CAM at four layers of a ResNet-18, which share a pass, with a call for each."""
    table = Table(
        "cam",
        "Grad-CAM at several layers",
        "captum.attr.LayerGradCam, one call for each layer",
        device,
    )
    for rows in (16, 64):
        model, images = resnet(device, rows)
        with torch.no_grad():
            target = model(images).argmax(1)
        for layers in (_LAYERS, _LAYERS[-1:]):
            table.add(
                f"ResNet-18, {rows} images of 64 x 64, "
                + (f"{len(layers)} layers" if len(layers) > 1 else "the last layer"),
                partial(_ours, model, images, target, layers),
                partial(_captum, model, images, target, layers),
            )
    return table.write()


def _ours(model: nn.Module, images: Tensor, target: Tensor, layers: tuple[str, ...]) -> None:
    pl.explain(model, images, method="grad_cam", target=target, at=list(layers), progress=False)


def _captum(model: nn.Module, images: Tensor, target: Tensor, layers: tuple[str, ...]) -> None:
    for name in layers:
        layer = model.get_submodule(name)
        LayerGradCam(model, layer).attribute(images, target, relu_attributions=True).cpu()
