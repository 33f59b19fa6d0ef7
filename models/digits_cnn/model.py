"""A convolutional network that reads scanned digits: the picture model of the examples and tests."""

from __future__ import annotations

import torch
from torch import nn


class DigitsCnn(nn.Module):
    """Two blocks of convolution, normalisation and pooling, then two linear layers.

    ``image`` [batch, 1, 8, 8], grey levels in [0, 1] (1 is ink)  ->  logits [batch, 10], one per digit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),  # -> [batch, 16, 4, 4]
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),  # -> [batch, 32, 2, 2]
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(64, 10),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(image))
        return logits


def digits_cnn() -> DigitsCnn:
    """The network with untrained weights; ``digits_cnn.safetensors`` beside this file has trained ones."""
    return DigitsCnn()
