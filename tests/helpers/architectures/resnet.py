"""ResNet (He et al. 2015) with basic or bottleneck blocks, any depth and width."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tests.helpers.architectures.blocks import activation_layer, classifier, conv_norm


class BasicBlock(nn.Module):
    """act(x + W₃ₓ₃ W₃ₓ₃ x), with a 1×1 convolution on the shortcut where shapes change."""

    expansion = 1

    def __init__(self, before: int, width: int, stride: int, activation: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(conv_norm(before, width, 3, stride, activation=activation), conv_norm(width, width))
        same = stride == 1 and before == width
        self.shortcut = nn.Identity() if same else conv_norm(before, width, 1, stride)
        self.activation = activation_layer(activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.shortcut(x) + self.layers(x))


class Bottleneck(nn.Module):
    """act(x + W₁ₓ₁ W₃ₓ₃ W₁ₓ₁ x), with a 1×1 convolution on the shortcut where shapes change."""

    expansion = 4

    def __init__(self, before: int, width: int, stride: int, activation: str) -> None:
        super().__init__()
        after = width * self.expansion
        self.layers = nn.Sequential(
            conv_norm(before, width, 1, activation=activation),
            conv_norm(width, width, 3, stride, activation=activation),
            conv_norm(width, after, 1),
        )
        same = stride == 1 and before == after
        self.shortcut = nn.Identity() if same else conv_norm(before, after, 1, stride)
        self.activation = activation_layer(activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.shortcut(x) + self.layers(x))


class ResNet(nn.Module):
    """Stem 7×7/2 and pooling 3×3/2, four (or fewer) stages of blocks, one linear layer."""

    def __init__(
        self,
        depths: Sequence[int] = (1, 2),
        width: int = 8,
        classes: int = 10,
        activation: str = "relu",
        block: type[BasicBlock] | type[Bottleneck] = Bottleneck,
    ) -> None:
        super().__init__()
        pool = nn.MaxPool2d if activation == "relu" else nn.AvgPool2d
        self.stem = nn.Sequential(conv_norm(3, width, 7, 2, activation=activation), pool(3, 2, 1))
        blocks: list[nn.Module] = []
        channels = width
        for stage, depth in enumerate(depths):
            for index in range(depth):
                stride = 2 if stage and not index else 1
                blocks.append(block(channels, width << stage, stride, activation))
                channels = (width << stage) * block.expansion
        self.blocks = nn.Sequential(*blocks)
        self.head = classifier(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)))


def resnet50() -> ResNet:
    """The full ResNet-50, 224×224 pictures, 25.6 M parameters."""
    return ResNet((3, 4, 6, 3), 64, 1000)


def resnet18(activation: str = "relu") -> ResNet:
    """The full ResNet-18, 11.7 M parameters."""
    return ResNet((2, 2, 2, 2), 64, 1000, activation, BasicBlock)
