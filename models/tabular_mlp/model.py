"""A perceptron on a table of measurements in their own units: the tabular model of the examples and tests."""

from __future__ import annotations

import torch
from torch import nn


class TabularMlp(nn.Module):
    """Standardisation, then two hidden layers with layer normalisation and GELU.

    ``features`` [batch, 30], in the units of the data  ->  logits [batch, 2] (malignant, benign).

    Mean and scale of the training rows are buffers: nobody who runs the model can scale its inputs otherwise.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(30))
        self.register_buffer("scale", torch.ones(30))
        self.layers = nn.Sequential(
            nn.Linear(30, 32),
            nn.LayerNorm(32),
            nn.GELU(),
            nn.Dropout(0.2),
            nn.Linear(32, 16),
            nn.LayerNorm(16),
            nn.GELU(),
            nn.Linear(16, 2),
        )

    def standardise_by(self, rows: torch.Tensor) -> None:
        """Take mean and scale of each column from the training rows [n, 30]."""
        self.mean.copy_(rows.mean(dim=0))
        self.scale.copy_(rows.std(dim=0))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers((features - self.mean) / self.scale)
        return logits


def tabular_mlp() -> TabularMlp:
    """The network with untrained weights; ``tabular_mlp.safetensors`` beside this file has trained ones."""
    return TabularMlp()
