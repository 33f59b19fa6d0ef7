"""U-Net (Ronneberger et al. 2015): a picture in, class scores per pixel out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.helpers.architectures.blocks import conv_norm


def _double_conv(before: int, after: int, activation: str) -> nn.Sequential:
    return nn.Sequential(
        conv_norm(before, after, activation=activation), conv_norm(after, after, activation=activation)
    )


class UNet(nn.Module):
    """Down by pooling, up by transposed convolution and by bilinear Resize in turn, joined by concatenation.

    Scores are [N, classes, H, W]; with ``pooled`` they are averaged to [N, classes].
    """

    def __init__(
        self,
        widths: Sequence[int] = (6, 8, 12),
        classes: int = 3,
        pooled: bool = False,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.pooled = pooled
        self.encoders = nn.ModuleList(
            _double_conv(before, after, activation) for before, after in zip((3, *widths), widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2) if activation == "relu" else nn.AvgPool2d(2)
        self.growers, self.decoders = nn.ModuleList(), nn.ModuleList()
        for index, (before, after) in enumerate(zip(widths[:0:-1], widths[-2::-1], strict=True)):
            if index % 2:
                grow: nn.Module = nn.Sequential(
                    nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(before, after, 1)
                )
            else:
                grow = nn.ConvTranspose2d(before, after, 2, 2)
            self.growers.append(grow)
            self.decoders.append(_double_conv(2 * after, after, activation))
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for encoder in self.encoders:
            x = encoder(self.pool(x) if kept else x)
            kept.append(x)
        kept.pop()
        for grow, decoder in zip(self.growers, self.decoders, strict=True):
            x = decoder(torch.cat([kept.pop(), grow(x)], 1))
        scores = self.head(x)
        return scores.mean((2, 3)) if self.pooled else scores
