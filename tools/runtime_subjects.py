"""What the tables of runtimes export: deployed models, small architectures, and one layer each of those that runtimes
for small devices read in ways of their own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onnx_ig.loading.model import Model, load
from tests.helpers.architectures import layers
from tests.helpers.architectures.resnet import resnet18
from tests.helpers.networks import NETWORKS, Network, randomise

_MODELS = Path(__file__).parent.parent / "models"
_PICTURE = (3, 9, 9)


@dataclass(frozen=True)
class Subject:
    """A model of the table: the loaded model, its torch module, and values for its own inputs."""

    model: Model
    module: Any
    arguments: dict[str, np.ndarray]
    attributed: list[str] | None
    at: str | None = None


def _digits() -> Subject:
    from models.digits_cnn.model import digits_cnn

    x = np.load(_MODELS / "digits_cnn" / "seven.npy").astype(np.float32)
    return _trained(digits_cnn(), "digits_cnn", np.concatenate([x, 0.5 * x]))


def _tabular() -> Subject:
    from models.tabular_mlp.model import tabular_mlp

    x = np.load(_MODELS / "tabular_mlp" / "malignant.npy").astype(np.float32)
    return _trained(tabular_mlp(), "tabular_mlp", np.concatenate([x, 0.9 * x]))


def _trained(module: Any, name: str, x: np.ndarray) -> Subject:
    """The deployed file of a trained model, judged by the module it came from."""
    from safetensors.torch import load_file

    module.load_state_dict(load_file(_MODELS / name / f"{name}.safetensors"))
    model = load(_MODELS / name / f"{name}.onnx")
    inputs = [str(v.name) for v in model.inputs]
    return Subject(model, module.eval(), {inputs[0]: x}, inputs)


def _network(network: Network) -> Subject:
    xs, extras, module = network.inputs(), network.extras(), network.module()
    model = load(module, example_inputs=xs, additional_forward_args=extras or None)
    names = [str(v.name) for v in model.inputs]
    arguments = {n: tensor.numpy() for n, tensor in zip(names, (*xs, *extras), strict=True)}
    return Subject(model, module, arguments, names[: len(xs)])


def _layer(build: Callable[[], Any], shape: tuple[int, ...], ids: int = 0) -> Subject:
    """Of standard normal values, or of so many ``ids``, attributed at their embedding."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = randomise(build()).eval()
        x = torch.randint(ids, (2, *shape)) if ids else torch.randn(2, *shape)
    model = load(module, example_inputs=(x,))
    name = str(model.inputs[0].name)
    return Subject(model, module, {name: x.numpy()}, None if ids else [name], "embedding" if ids else None)


_MADE: dict[str, Callable[[], Subject]] = {
    "digits_cnn": _digits,
    "tabular_mlp": _tabular,
    "resnet18": functools.partial(_network, Network("resnet18", resnet18, ((3, 32, 32),), smooth=False)),
    **{name: functools.partial(_network, NETWORKS[name]) for name in ("vit", "lstm", "bert")},
}
SUBJECTS = {name: functools.cache(made) for name, made in _MADE.items()}
LAYERS = {
    "gru": functools.cache(functools.partial(_network, NETWORKS["gru"])),
    **{
        name: functools.cache(functools.partial(_layer, build, *shape))
        for name, build, *shape in (
            ("depthwise", layers.depthwise, _PICTURE),
            ("group_norm", layers.group_norm, _PICTURE),
            ("transposed", layers.transposed, _PICTURE),
            ("ceil_pooled", layers.ceil_pooled, _PICTURE),
            ("kinks", layers.kinks, _PICTURE),
            ("resized", layers.Resized, _PICTURE),
            ("einsum", layers.Einsum, (5, 8)),
            ("embedded", layers.Embedded, (5,), 11),
        )
    },
}
