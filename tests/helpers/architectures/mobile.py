"""MobileNetV3 (Howard et al. 2019) and EfficientNet (Tan & Le 2019): depthwise, with squeeze-excite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from tests.helpers.architectures.blocks import (
    InvertedResidual,
    SqueezeExcite,
    activation_layer,
    conv_norm,
    round_channels,
)


class MobileRow(NamedTuple):
    """One block of MobileNetV3: a row of the paper's tables 1 and 2."""

    kernel: int
    expanded: int
    channels: int
    squeeze: bool
    activation: str
    stride: int


MOBILENET_V3_LARGE = (
    MobileRow(3, 16, 16, False, "relu", 1),
    MobileRow(3, 64, 24, False, "relu", 2),
    MobileRow(3, 72, 24, False, "relu", 1),
    MobileRow(5, 72, 40, True, "relu", 2),
    MobileRow(5, 120, 40, True, "relu", 1),
    MobileRow(5, 120, 40, True, "relu", 1),
    MobileRow(3, 240, 80, False, "hardswish", 2),
    MobileRow(3, 200, 80, False, "hardswish", 1),
    MobileRow(3, 184, 80, False, "hardswish", 1),
    MobileRow(3, 184, 80, False, "hardswish", 1),
    MobileRow(3, 480, 112, True, "hardswish", 1),
    MobileRow(3, 672, 112, True, "hardswish", 1),
    MobileRow(5, 672, 160, True, "hardswish", 2),
    MobileRow(5, 960, 160, True, "hardswish", 1),
    MobileRow(5, 960, 160, True, "hardswish", 1),
)
MOBILENET_V3_SMALL = (
    MobileRow(3, 16, 16, True, "relu", 2),
    MobileRow(3, 72, 24, False, "relu", 2),
    MobileRow(3, 88, 24, False, "relu", 1),
    MobileRow(5, 96, 40, True, "hardswish", 2),
    MobileRow(5, 240, 40, True, "hardswish", 1),
    MobileRow(5, 240, 40, True, "hardswish", 1),
    MobileRow(5, 120, 48, True, "hardswish", 1),
    MobileRow(5, 144, 48, True, "hardswish", 1),
    MobileRow(5, 288, 96, True, "hardswish", 2),
    MobileRow(5, 576, 96, True, "hardswish", 1),
    MobileRow(5, 576, 96, True, "hardswish", 1),
)
MOBILENET_V3_TINY = (
    MobileRow(3, 16, 16, False, "relu", 1),
    MobileRow(5, 24, 16, True, "relu", 2),
    MobileRow(3, 32, 16, True, "hardswish", 1),
)


class MobileNetV3(nn.Module):
    """Stem 3×3/2, inverted residuals, 1×1 head; ``smooth`` has SiLU and sigmoid for kinked activations."""

    def __init__(
        self,
        rows: Sequence[MobileRow] = MOBILENET_V3_TINY,
        hidden: int = 32,
        classes: int = 10,
        smooth: bool = False,
    ) -> None:
        super().__init__()
        gate = "sigmoid" if smooth else "hardsigmoid"
        last = "silu" if smooth else "hardswish"
        channels = 16
        layers: list[nn.Module] = [conv_norm(3, channels, 3, 2, activation=last)]
        for row in rows:
            activation = "silu" if smooth else row.activation
            squeezed = round_channels(row.expanded / 4)
            squeeze = SqueezeExcite(row.expanded, squeezed, "silu" if smooth else "relu", gate)
            layers.append(
                InvertedResidual(
                    (channels, row.expanded, row.channels),
                    row.kernel,
                    row.stride,
                    activation,
                    squeeze if row.squeeze else None,
                )
            )
            channels = row.channels
        layers.append(conv_norm(channels, 6 * channels, 1, activation=last))
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6 * channels, hidden),
            activation_layer(last),
            nn.Dropout(0.2),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class EfficientStage(NamedTuple):
    """One stage of EfficientNet: a row of the paper's table 1."""

    expansion: int
    channels: int
    depth: int
    stride: int
    kernel: int


EFFICIENTNET_B0 = (
    EfficientStage(1, 16, 1, 1, 3),
    EfficientStage(6, 24, 2, 2, 3),
    EfficientStage(6, 40, 2, 2, 5),
    EfficientStage(6, 80, 3, 2, 3),
    EfficientStage(6, 112, 3, 1, 5),
    EfficientStage(6, 192, 4, 2, 5),
    EfficientStage(6, 320, 1, 1, 3),
)
EFFICIENTNET_TINY = (EfficientStage(1, 8, 1, 1, 3), EfficientStage(3, 12, 2, 2, 5))


class EfficientNet(nn.Module):
    """Stem 3×3/2, inverted residuals with SiLU and squeeze-excite, 1×1 head, one linear layer."""

    def __init__(
        self,
        stages: Sequence[EfficientStage] = EFFICIENTNET_TINY,
        stem: int = 8,
        head: int = 32,
        classes: int = 10,
    ) -> None:
        super().__init__()
        channels = stem
        layers: list[nn.Module] = [conv_norm(3, stem, 3, 2, activation="silu")]
        for stage in stages:
            for index in range(stage.depth):
                expanded = channels * stage.expansion
                squeeze = SqueezeExcite(expanded, max(1, channels // 4), "silu", "sigmoid")
                stride = 1 if index else stage.stride
                shape = (channels, expanded, stage.channels)
                layers.append(InvertedResidual(shape, stage.kernel, stride, "silu", squeeze))
                channels = stage.channels
        layers.append(conv_norm(channels, head, 1, activation="silu"))
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(head, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def mobilenet_v3_large() -> MobileNetV3:
    """The full MobileNetV3-large, 224×224 pictures, 5.5 M parameters."""
    return MobileNetV3(MOBILENET_V3_LARGE, 1280, 1000)


def mobilenet_v3_small() -> MobileNetV3:
    """The full MobileNetV3-small, 224×224 pictures, 2.5 M parameters."""
    return MobileNetV3(MOBILENET_V3_SMALL, 1024, 1000)


def efficientnet_b0() -> EfficientNet:
    """The full EfficientNet-B0, 224×224 pictures, 5.3 M parameters."""
    return EfficientNet(EFFICIENTNET_B0, 32, 1280, 1000)
