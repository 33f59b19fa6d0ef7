"""The table of small torch networks that tests go through: each deterministic, with data and a target."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import onnx_ig
from tests.helpers.architectures import convnext, densenet, mobile, plain, resnet, transformer, unet


@dataclass(frozen=True)
class Network:
    """A row of the table.

    Attributes:
        build: makes the module; its weights are then redrawn by :func:`randomise`.
        shapes: shape of each attributed input without axis 0.
        target: Captum's target for the module's output.
        masked: a second positional argument [N, length], an int64 attention mask, follows the inputs.
        smooth: no kinks, so float32 results can be compared element by element.
    """

    name: str
    build: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]
    target: int | tuple[int, ...] | None = 1
    masked: bool = False
    smooth: bool = True

    def module(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> nn.Module:
        """A new module in eval mode; the same weights for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return randomise(self.build()).eval().to(dtype)

    def inputs(self, examples: int = 2, dtype: torch.dtype = torch.float32, seed: int = 1) -> tuple[Tensor, ...]:
        """Standard normal inputs for ``examples`` examples."""
        generator = torch.Generator().manual_seed(seed)
        return tuple(torch.randn(examples, *shape, generator=generator).to(dtype) for shape in self.shapes)

    def extras(self, examples: int = 2) -> tuple[Tensor, ...]:
        """Captum's ``additional_forward_args``: the attention mask of token models, else nothing."""
        return (transformer.token_mask(examples, self.shapes[0][0]),) if self.masked else ()


@torch.no_grad()
def randomise(module: nn.Module) -> nn.Module:
    """Redraw all weights so that signals neither fade nor grow and no normalisation is the identity.

    Matrices are normal with variance 1.5 / fan-in, kernels with 3 / fan-in (their networks are deeper); vectors are
    shaken around their value; running variances are uniform on [0.5, 1.5].
    """
    for parameter in module.parameters():
        if parameter.dim() > 1:
            fan_in = parameter.numel() / parameter.shape[0]
            parameter.normal_(std=((3 if parameter.dim() > 2 else 1.5) / fan_in) ** 0.5)
        else:
            parameter.mul_(1 + 0.2 * torch.randn_like(parameter)).add_(0.1 * torch.randn_like(parameter))
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(std=0.2)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return module


_PICTURE = ((3, 32, 32),)
_TOKENS = ((7, 16),)


def _twins(name: str, build: Callable[..., nn.Module], shapes: tuple[tuple[int, ...], ...]) -> list[Network]:
    """A ReLU network and its smooth twin with softplus."""
    return [
        Network(name, build, shapes, smooth=False),
        Network(f"{name}_smooth", functools.partial(build, activation="softplus"), shapes),
    ]


def _token(name: str, build: Callable[[], nn.Module], smooth: bool = True) -> Network:
    return Network(name, build, _TOKENS, masked=True, smooth=smooth)


_TABLE = [
    *_twins("mlp", plain.mlp, ((12,),)),
    *_twins("lenet", plain.lenet, ((1, 16, 16),)),
    *_twins("vgg", plain.VGG, _PICTURE),
    *_twins("resnet", resnet.ResNet, _PICTURE),
    *_twins("densenet", densenet.DenseNet, _PICTURE),
    *_twins("two_inputs", plain.TwoInputs, ((3, 8, 8), (6,))),
    Network("mobilenet_v3", mobile.MobileNetV3, _PICTURE, smooth=False),
    Network("mobilenet_v3_smooth", functools.partial(mobile.MobileNetV3, smooth=True), _PICTURE),
    Network("efficientnet", mobile.EfficientNet, _PICTURE),
    Network("convnext", convnext.ConvNeXt, _PICTURE),
    Network("unet", unet.UNet, ((3, 16, 16),), target=(1, 5, 7), smooth=False),
    Network("unet_smooth", functools.partial(unet.UNet, activation="softplus"), ((3, 16, 16),), target=(1, 5, 7)),
    Network("lstm", plain.RecurrentClassifier, ((5, 6),)),
    Network("lstm_stacked", functools.partial(plain.RecurrentClassifier, layers=2, bidirectional=True), ((5, 6),)),
    Network("lstm_embedded", functools.partial(plain.RecurrentClassifier, embedding=7), ((5, 6),)),
    Network("gru", functools.partial(plain.RecurrentClassifier, layers=2, bidirectional=True, layer=nn.GRU), ((5, 6),)),
    Network("steps_first", plain.StepsFirst, ((5, 6),)),
    Network("vit", transformer.vit, ((3, 16, 16),)),
    Network("swin", transformer.swin, _PICTURE),
    _token("bert", functools.partial(transformer.bert, positions=32)),  # onnx's evaluator gathers from few
    _token("distilbert", transformer.distilbert),
    _token("gpt2", transformer.gpt2),
    _token("t5_encoder", transformer.t5_encoder),
]

NETWORKS: dict[str, Network] = {network.name: network for network in _TABLE}


@functools.cache
def exported(name: str) -> onnx_ig.Model:
    """The network as torch exports it, with a dynamic batch; once, because it takes seconds."""
    network = NETWORKS[name]
    return onnx_ig.load(
        network.module(), example_inputs=network.inputs(), additional_forward_args=network.extras() or None
    )
