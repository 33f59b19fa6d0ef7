"""What several vision families share: activations by name, normalised convolutions, squeeze-excite."""

from __future__ import annotations

from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "sigmoid": nn.Sigmoid,
    "hardsigmoid": nn.Hardsigmoid,
}


def activation_layer(name: str) -> nn.Module:
    """A new activation layer by its name in :data:`ACTIVATIONS`."""
    return ACTIVATIONS[name]()


def conv_norm(
    channels_in: int,
    channels_out: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    activation: str | None = None,
) -> nn.Sequential:
    """Convolution with "same" padding, batch normalisation, and an activation unless None."""
    layers = [
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out),
    ]
    return nn.Sequential(*layers, *([activation_layer(activation)] if activation else []))


class SqueezeExcite(nn.Module):
    """Channel attention: x · gate(W₂ act(W₁ mean(x)))."""

    def __init__(self, channels: int, squeezed: int, activation: str, gate: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            activation_layer(activation),
            nn.Conv2d(squeezed, channels, 1),
            activation_layer(gate),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.layers(x)


class InvertedResidual(nn.Module):
    """Expand 1×1, depthwise k×k, squeeze-excite, project 1×1; the input is added where shapes allow."""

    def __init__(
        self,
        channels: tuple[int, int, int],
        kernel: int,
        stride: int,
        activation: str,
        squeeze: SqueezeExcite | None,
    ) -> None:
        super().__init__()
        before, expanded, after = channels
        layers: list[nn.Module] = []
        if expanded != before:
            layers.append(conv_norm(before, expanded, 1, activation=activation))
        layers.append(conv_norm(expanded, expanded, kernel, stride, expanded, activation))
        if squeeze is not None:
            layers.append(squeeze)
        layers.append(conv_norm(expanded, after, 1))
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + y if self.residual else y


def classifier(channels: int, classes: int) -> nn.Sequential:
    """Global average pooling and one linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def round_channels(channels: float, divisor: int = 8) -> int:
    """Nearest multiple of ``divisor``, never more than a tenth below ``channels``."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor
