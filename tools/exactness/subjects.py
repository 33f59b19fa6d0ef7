"""The trained networks whose attributions are judged: those of models/, and small ones trained here in seconds.

The one idea: data that scikit-learn ships, one seed, one thread, so that a second run judges the same networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from torch import Tensor, nn

from models.digits_cnn.model import digits_cnn
from models.tabular_mlp.model import tabular_mlp
from models.training import fit, make_repeatable

_MODELS = Path(__file__).resolve().parents[2] / "models"


@dataclass(frozen=True)
class Subject:
    """A trained network in evaluation mode, and examples that it was not trained on.

    Attributes:
        kind: what its function is like along a path; ``smooth`` ones have no kinks.
        inputs: [N, ...]; ``baseline``: with one row. The target is the class of the largest output.
    """

    name: str
    kind: str
    network: nn.Module
    inputs: Tensor
    baseline: Tensor

    @property
    def smooth(self) -> bool:
        """Whether F has derivatives of every order."""
        return self.kind == "smooth"


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class _Transformer(nn.Module):
    """The rows of a picture as eight tokens of eight grey levels."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.embedding = nn.Linear(8, width)
        self.places = nn.Parameter(0.1 * torch.randn(1, 8, width))
        layer = nn.TransformerEncoderLayer(width, 4, 48, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.LayerNorm(width))
        self.head = nn.Linear(width, 10)

    def behind_the_embedding(self, tokens: Tensor) -> Tensor:
        return torch.as_tensor(self.head(self.body(tokens + self.places).mean(dim=1)))

    def forward(self, rows: Tensor) -> Tensor:
        return self.behind_the_embedding(self.embedding(rows))


class _AtEmbedding(nn.Module):
    def __init__(self, transformer: _Transformer) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, tokens: Tensor) -> Tensor:
        return self.transformer.behind_the_embedding(tokens)


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 24, batch_first=True)
        self.head = nn.Linear(24, 10)

    def forward(self, rows: Tensor) -> Tensor:
        return torch.as_tensor(self.head(self.lstm(rows)[0][:, -1]))


def subjects(examples: int, names: Sequence[str] = ()) -> list[Subject]:
    """The networks, trained, each with so many examples.

    Raises:
        SystemExit: a name that is not in :data:`SUBJECTS`.
    """
    unknown = [name for name in names if name not in SUBJECTS]
    if unknown:
        raise SystemExit(f"{unknown[0]!r} is not one of {', '.join(SUBJECTS)}")
    return [SUBJECTS[name](name, examples) for name in names or SUBJECTS]


def _published(name: str, examples: int) -> Subject:
    make_repeatable(0)
    if name == "digits_cnn":
        network: nn.Module = digits_cnn()
        rows, baseline = _digits()[2], torch.zeros(1, 1, 8, 8)
    else:
        network = tabular_mlp()
        data = torch.from_numpy(load_breast_cancer().data.astype(np.float32))
        rows, baseline = data[-150:], data[:-150].mean(dim=0, keepdim=True)
    network.load_state_dict(load_file(_MODELS / name / f"{name}.safetensors"))
    return Subject(
        name, "piecewise linear" if name == "digits_cnn" else "smooth", network.eval(), rows[:examples], baseline
    )


def _picture(make: Callable[[], nn.Module], kind: str, form: str) -> Callable[[str, int], Subject]:
    """A network of the digits: of pictures, of rows, or, at its embedding, of tokens."""

    def trained(name: str, examples: int) -> Subject:
        make_repeatable(0)
        network = make()
        x, labels, rest = (part if form == "picture" or part.ndim == 1 else part[:, 0] for part in _digits())
        fit(network, x, labels, epochs=15, batch=64, learning_rate=5e-3, weight_decay=1e-2)
        rest = rest[:examples]
        if isinstance(network, _Transformer):
            with torch.no_grad():
                rest = network.embedding(rest)
            network = _AtEmbedding(network).eval()
        return Subject(name, kind, network, rest, torch.zeros_like(rest[:1]))

    return trained


def _table(load: Callable[[], object], activation: Callable[[], nn.Module], kind: str) -> Callable[[str, int], Subject]:
    """A perceptron of standardised columns; numbers to be predicted become "above the median"."""

    def trained(name: str, examples: int) -> Subject:
        make_repeatable(0)
        data: NDArray[np.float64] = load().data  # type: ignore[attr-defined]
        goal = load().target  # type: ignore[attr-defined]
        labels = goal if goal.dtype.kind == "i" else (goal > np.median(goal)).astype(np.int64)
        order = np.random.default_rng(0).permutation(len(data))
        x = torch.from_numpy(((data - data.mean(axis=0)) / data.std(axis=0)).astype(np.float32))[order]
        y = torch.from_numpy(labels.astype(np.int64))[order]
        network = nn.Sequential(
            nn.Linear(x.shape[1], 32), activation(), nn.Linear(32, 32), activation(), nn.Linear(32, int(y.max()) + 1)
        )
        fit(network, x[examples:], y[examples:], epochs=40, batch=32, learning_rate=1e-2, weight_decay=1e-2)
        return Subject(name, kind, network, x[:examples], torch.zeros_like(x[:1]))

    return trained


def _digits() -> tuple[Tensor, Tensor, Tensor]:
    """1,400 pictures [n, 1, 8, 8] in [0, 1], their labels, and the other pictures."""
    data = load_digits()
    x = torch.from_numpy((data.images[:, None] / 16).astype(np.float32))
    return x[:1400], torch.from_numpy(data.target[:1400].astype(np.int64)), x[1400:]


def _small_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(96, 10),
    )  # fmt: skip


def _resnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), _Block(12), nn.MaxPool2d(2), _Block(12),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10),
    )  # fmt: skip


SUBJECTS: dict[str, Callable[[str, int], Subject]] = {
    "digits_cnn": _published,
    "tabular_mlp": _published,
    "small CNN": _picture(_small_cnn, "piecewise linear", "picture"),
    "ResNet": _picture(_resnet, "piecewise linear", "picture"),
    "transformer": _picture(_Transformer, "smooth", "rows"),
    "LSTM": _picture(_Recurrent, "smooth", "rows"),
    "ReLU MLP": _table(load_diabetes, nn.ReLU, "piecewise linear"),
    "tanh MLP": _table(load_wine, nn.Tanh, "smooth"),
    "GELU MLP": _table(load_breast_cancer, nn.GELU, "smooth"),
    "SiLU MLP": _table(load_diabetes, nn.SiLU, "smooth"),
}
