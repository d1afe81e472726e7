"""The models that we measure on: a ResNet-18 with random weights, an MLP trained on real data."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from pellucid.datasets import load_breast_cancer


class _Residual(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.short = (
            nn.Identity()
            if stride == 1 and inside == outside
            else nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(y + self.short(x))


class ResNet18(nn.Module):
    """ResNet-18 (He et al. 2016, https://arxiv.org/abs/1512.03385)."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        widths = (64, 64, 128, 256, 512)
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    _Residual(widths[i], widths[i + 1], 1 if i == 0 else 2),
                    _Residual(widths[i + 1], widths[i + 1], 1),
                )
                for i in range(4)
            )
        )
        self.head = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(self.stem(x)).mean((2, 3)))


def resnet(device: torch.device, rows: int) -> tuple[nn.Module, Tensor]:
    """Return a ResNet-18 with random weights and settled statistics, and images of 64 x 64."""
    torch.manual_seed(0)
    model = ResNet18()
    with torch.no_grad():  # running statistics as after some training, not the untouched (0, 1)
        for _ in range(5):
            model.train()(torch.randn(16, 3, 64, 64))
    images = torch.randn(rows, 3, 64, 64)
    return model.eval().to(device), images.to(device)


def mlp(device: torch.device, rows: int) -> tuple[nn.Module, Tensor]:
    """Return an MLP trained on breast masses, and as many held-out rows (repeated if need be)."""
    torch.manual_seed(0)
    train, test = load_breast_cancer().split(test=0.35, seed=0)
    (x, y), held = train.standardized().torch(), test.standardized(like=train).torch()[0]
    model = nn.Sequential(
        nn.Linear(30, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(100):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    held = held.repeat(-(-rows // len(held)), 1)[:rows]
    return model.eval().to(device), held.to(device)
