"""ConvNeXt (Liu et al. 2022): depthwise 7×7, layer normalisation over channels, GELU, layer scale."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over axis 1 of [N, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """x + γ · W₂ gelu(W₁ norm(depthwise(x))), the linear layers on the last axis."""

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.pointwise = nn.Sequential(
            nn.LayerNorm(channels, eps=1e-6),
            nn.Linear(channels, 4 * channels),
            nn.GELU(),
            nn.Linear(4 * channels, channels),
        )
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:
        y = self.pointwise(self.depthwise(x).permute(0, 2, 3, 1)) * self.scale
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Stem 4×4/4, stages of blocks with 2×2/2 convolutions between, normalisation, one linear layer."""

    def __init__(
        self,
        depths: Sequence[int] = (1, 2),
        widths: Sequence[int] = (12, 16),
        classes: int = 10,
        scale: float = 0.5,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            if stage:
                before = widths[stage - 1]
                layers += [ChannelNorm(before, eps=1e-6), nn.Conv2d(before, width, 2, 2)]
            else:
                layers += [nn.Conv2d(3, width, 4, 4), ChannelNorm(width, eps=1e-6)]
            layers += [Block(width, scale) for _ in range(depth)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.LayerNorm(widths[-1], eps=1e-6), nn.Linear(widths[-1], classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


def convnext_tiny() -> ConvNeXt:
    """The full ConvNeXt-tiny, 224×224 pictures, 28.6 M parameters (layer scale 1e-6, as before training)."""
    return ConvNeXt((3, 3, 9, 3), (96, 192, 384, 768), 1000, 1e-6)
