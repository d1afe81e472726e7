"""The models that we measure on: a ResNet-18 with random weights, an MLP trained on real data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from pellucid.datasets import load_breast_cancer, load_digits


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


def tokens(device: torch.device, rows: int) -> tuple[nn.Module, Tensor]:
    """Return a transformer encoder with random weights, and rows of 64 embedded tokens."""
    torch.manual_seed(0)
    model = nn.Sequential(encoder(4, 256, 8, 1024), _Mean(), nn.Linear(256, 10))
    return model.eval().to(device), torch.randn(rows, 64, 256).to(device)


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


class _Patches(nn.Module):
    """The patches of a picture, each where it stands."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cut = nn.Conv2d(1, width, 2, 2)
        self.place = nn.Parameter(0.1 * torch.randn(1, 16, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.cut(x).flatten(2).transpose(1, 2) + self.place


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def _cnn(
    act: type[nn.Module], pool: type[nn.Module], norm: Callable[[int], nn.Module]
) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), norm(12), act(), pool(2),
        nn.Conv2d(12, 24, 3, padding=1), norm(24), act(), pool(2),
        nn.Flatten(), nn.Linear(96, 32), act(), nn.Linear(32, 10),
    )  # fmt: skip


def _tabular(act: type[nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Linear(30, 32), act(), nn.Linear(32, 32), act(), nn.Linear(32, 2))


def encoder(layers: int, width: int, heads: int, inside: int) -> nn.Module:
    """Return a transformer encoder with GELU, norms first, without dropout."""
    return nn.Sequential(
        *(
            nn.TransformerEncoderLayer(
                width, heads, inside, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
    )


def _vit() -> nn.Module:
    return nn.Sequential(
        _Patches(32), encoder(2, 32, 4, 64), nn.LayerNorm(32), _Mean(), nn.Linear(32, 10)
    )


def _no_norm(_: int) -> nn.Module:
    return nn.Identity()


# name: (pictures of digits or not, network, epochs)
TRAINED: dict[str, tuple[bool, Callable[[], nn.Module], int]] = {
    "ReLU CNN": (True, lambda: _cnn(nn.ReLU, nn.MaxPool2d, _no_norm), 25),
    "ReLU CNN with BatchNorm": (True, lambda: _cnn(nn.ReLU, nn.MaxPool2d, nn.BatchNorm2d), 8),
    "GELU CNN": (True, lambda: _cnn(nn.GELU, nn.AvgPool2d, _no_norm), 25),
    "ReLU MLP": (False, lambda: _tabular(nn.ReLU), 25),
    "GELU MLP": (False, lambda: _tabular(nn.GELU), 25),
    "small ViT": (True, _vit, 25),
}


def trained(name: str, device: torch.device, rows: int) -> tuple[nn.Module, Tensor, float]:
    """Return a network trained on digits or breast masses, held-out rows, and its accuracy."""
    pictures, make, epochs = TRAINED[name]
    torch.manual_seed(0)
    data = load_digits() if pictures else load_breast_cancer()
    train, test = data.split(test=max(0.36, (rows + 1) / len(data)), seed=0)
    if pictures:
        (x, y), (held, truth) = train.torch(), test.torch()
    else:
        (x, y), (held, truth) = (
            train.standardized().torch(),
            test.standardized(like=train).torch(),
        )
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for chosen in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            cross_entropy(model(x[chosen]), y[chosen]).backward()
            optimizer.step()
    model = model.eval().requires_grad_(False).to(device)
    held = held.to(device)
    with torch.no_grad():
        accuracy = float((model(held).argmax(1).cpu() == truth).float().mean())
    return model, held[:rows], accuracy
