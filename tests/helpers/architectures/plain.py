"""Networks without branches: perceptrons, LeNet, VGG, recurrent layers, one with two inputs, one with steps first."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.helpers.architectures.blocks import activation_layer, conv_norm


def mlp(
    features: int = 12, hidden: Sequence[int] = (24, 16), classes: int = 5, activation: str = "relu"
) -> nn.Sequential:
    """Linear layers with an activation between."""
    widths = [features, *hidden]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), activation_layer(activation)]
    return nn.Sequential(*layers, nn.Dropout(0.3), nn.Linear(widths[-1], classes))


def lenet(channels: int = 1, size: int = 16, classes: int = 10, activation: str = "relu") -> nn.Sequential:
    """LeCun et al. 1998, for ``size``×``size`` pictures (a multiple of 4), with both kinds of pooling."""
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2),
        activation_layer(activation),
        nn.MaxPool2d(2) if activation == "relu" else nn.AvgPool2d(2),  # a maximum is a kink too
        nn.Conv2d(6, 12, 3, padding=1),
        activation_layer(activation),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12 * (size // 4) ** 2, 32),
        activation_layer(activation),
        nn.Linear(32, classes),
    )


VGG_16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG(nn.Module):
    """Simonyan & Zisserman 2014: stages of 3×3 convolutions, each ended by a pooling."""

    def __init__(
        self,
        stages: Sequence[Sequence[int]] = ((8,), (12, 12)),
        classes: int = 10,
        hidden: int = 24,
        pooled: int = 2,
        batch_norm: bool = False,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage in stages:
            for width in stage:
                if batch_norm:
                    layers.append(conv_norm(channels, width, activation=activation))
                else:
                    layers += [nn.Conv2d(channels, width, 3, padding=1), activation_layer(activation)]
                channels = width
            layers.append(nn.MaxPool2d(2) if activation == "relu" else nn.AvgPool2d(2))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(pooled)
        self.classifier = nn.Sequential(
            nn.Linear(channels * pooled**2, hidden),
            activation_layer(activation),
            nn.Dropout(),
            nn.Linear(hidden, hidden),
            activation_layer(activation),
            nn.Dropout(),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


class TwoInputs(nn.Module):
    """A picture and a row of numbers, encoded apart and joined by concatenation and by a product."""

    def __init__(self, features: int = 6, classes: int = 4, activation: str = "relu") -> None:
        super().__init__()
        self.picture = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), activation_layer(activation), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.row = nn.Sequential(nn.Linear(features, 32), activation_layer(activation))
        self.head = nn.Linear(64 + 32, classes)

    def forward(self, picture: Tensor, row: Tensor) -> Tensor:
        a, b = self.picture(picture), self.row(row)
        return self.head(torch.cat([a, b, a * b], 1))


class RecurrentClassifier(nn.Module):
    """A (bidirectional, stacked) recurrent layer over a sequence or its embedding, a linear layer on the last step."""

    def __init__(
        self,
        features: int = 6,
        hidden: int = 8,
        layers: int = 1,
        classes: int = 4,
        bidirectional: bool = False,
        embedding: int = 0,
        layer: type[nn.RNNBase] = nn.LSTM,
    ) -> None:
        super().__init__()
        self.embedded = nn.Linear(features, embedding) if embedding else nn.Identity()
        self.layer = layer(embedding or features, hidden, layers, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(hidden * (2 if bidirectional else 1), classes)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.layer(self.embedded(x))
        return self.head(states[:, -1])


class StepsFirst(nn.Module):
    """A transformer's layer that has the steps of a sequence on axis 0 and the examples on axis 1, as many older do."""

    def __init__(self, features: int = 6, width: int = 8, classes: int = 4) -> None:
        super().__init__()
        self.embedded = nn.Linear(features, width)
        self.layer = nn.TransformerEncoderLayer(width, 2, 16, dropout=0, activation="gelu")
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        states = self.layer(self.embedded(x).transpose(0, 1))
        return self.head(states.mean(dim=0))


def vgg16() -> VGG:
    """The full VGG-16, 224×224 pictures, 138 M parameters."""
    return VGG(VGG_16, 1000, 4096, 7)
