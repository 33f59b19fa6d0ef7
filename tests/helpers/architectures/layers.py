"""Small networks around one layer each, of those that runtimes for small devices read in ways of their own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.helpers.architectures.blocks import conv_norm

CLASSES = 4


def _classified(*layers: nn.Module, features: int) -> nn.Sequential:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, CLASSES))


def depthwise() -> nn.Module:
    """A convolution of each channel with a kernel of its own, strided and dilated, on 9×9 pictures of 3 channels."""
    return _classified(
        nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3),
        nn.SiLU(),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6),
        nn.Sigmoid(),
        features=6 * 25,
    )


def group_norm() -> nn.Module:
    """Group and instance normalisation."""
    return _classified(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.GroupNorm(2, 6),
        nn.Tanh(),
        nn.Conv2d(6, 4, 3, padding=1),
        nn.InstanceNorm2d(4),
        features=4 * 81,
    )


def transposed() -> nn.Module:
    """Transposed convolutions, one with an output padding, one of groups."""
    return _classified(
        nn.Conv2d(3, 4, 3, stride=2),
        nn.Tanh(),
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
        nn.Tanh(),
        nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2),
        features=4 * 256,
    )


def ceil_pooled() -> nn.Module:
    """Pooling whose last window hangs over the edge; the average counts no padding."""
    return _classified(
        nn.Conv2d(3, 4, 2),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        nn.Tanh(),
        nn.AvgPool2d(3, stride=2, ceil_mode=True, count_include_pad=False),
        features=4 * 4,
    )


def kinks() -> nn.Module:
    """Hard swish and sigmoid, a leaky slope per channel, ELU and a clipped ReLU."""
    return _classified(
        nn.Conv2d(3, 6, 3),
        nn.PReLU(6),
        nn.Conv2d(6, 6, 3, stride=2),
        nn.Hardswish(),
        nn.Conv2d(6, 6, 1),
        nn.Hardsigmoid(),
        nn.LeakyReLU(),
        nn.ELU(),
        nn.ReLU6(),
        features=6 * 9,
    )


class Resized(nn.Module):
    """Pictures enlarged by bilinear interpolation and by repetition, joined."""

    def __init__(self) -> None:
        super().__init__()
        self.first = conv_norm(3, 4, activation="softplus")
        self.head = nn.Linear(8 * 14 * 14, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        small = functional.avg_pool2d(self.first(x), 2)[:, :, :4, :4]
        smooth = functional.interpolate(small, size=(14, 14), mode="bilinear", align_corners=False)
        stepped = functional.interpolate(functional.interpolate(small, scale_factor=2), size=(14, 14))
        return self.head(torch.cat([smooth, stepped], 1).flatten(1))


class Einsum(nn.Module):
    """Attention written as einsums, with heads on an axis of their own."""

    def __init__(self, features: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.joined = nn.Linear(features, 3 * features)
        self.head = nn.Linear(features, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.joined(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        weights = torch.einsum("bihd,bjhd->bhij", q, k).mul(0.5).softmax(-1)
        return self.head(torch.einsum("bhij,bjhd->bihd", weights, v).flatten(2).mean(1))


class Embedded(nn.Module):
    """The mean embedding of ids, with positions."""

    def __init__(self, words: int = 11, features: int = 6, length: int = 5) -> None:
        super().__init__()
        self.words = nn.Embedding(words, features)
        self.places = nn.Embedding(length, features)
        self.layers = nn.Sequential(nn.Linear(features, 8), nn.GELU(), nn.LayerNorm(8))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        embedded = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        return self.head(self.layers(embedded).mean(1))
