"""DenseNet (Huang et al. 2016): every layer reads all before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.helpers.architectures.blocks import activation_layer, classifier


def _norm_act_conv(before: int, after: int, kernel: int, activation: str) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(before),
        activation_layer(activation),
        nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False),
    )


class DenseLayer(nn.Module):
    """[x, conv₃ₓ₃(conv₁ₓ₁(x))]: ``growth`` new channels behind the old ones."""

    def __init__(self, before: int, growth: int, activation: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _norm_act_conv(before, 4 * growth, 1, activation),
            _norm_act_conv(4 * growth, growth, 3, activation),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layers(x)], 1)


class DenseNet(nn.Module):
    """Stem, dense blocks with halving transitions between, normalisation, one linear layer."""

    def __init__(
        self,
        depths: Sequence[int] = (2, 2),
        growth: int = 4,
        stem: int = 8,
        classes: int = 10,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        pool = nn.MaxPool2d if activation == "relu" else nn.AvgPool2d
        layers: list[nn.Module] = [
            nn.Conv2d(3, stem, 7, 2, 3, bias=False),
            nn.BatchNorm2d(stem),
            activation_layer(activation),
            pool(3, 2, 1),
        ]
        channels = stem
        for stage, depth in enumerate(depths):
            if stage:
                layers += [_norm_act_conv(channels, channels // 2, 1, activation), nn.AvgPool2d(2)]
                channels //= 2
            for _ in range(depth):
                layers.append(DenseLayer(channels, growth, activation))
                channels += growth
        layers += [nn.BatchNorm2d(channels), activation_layer(activation)]
        self.features = nn.Sequential(*layers)
        self.head = classifier(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def densenet121() -> DenseNet:
    """The full DenseNet-121, 224×224 pictures, 8.0 M parameters."""
    return DenseNet((6, 12, 24, 16), 32, 64, 1000)
