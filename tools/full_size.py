"""The architectures at full size with random weights: what the benchmarks time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tests.helpers.architectures import convnext, densenet, mobile, plain, resnet, transformer, unet
from tests.helpers.networks import randomise

_PICTURE = (3, 224, 224)


@dataclass(frozen=True)
class FullSize:
    """A model to time: ``shape`` is one example's; token models take a mask [N, length] besides."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    masked: bool = False
    redrawn: bool = True  # False: a model that was trained

    def module(self) -> nn.Module:
        """The module in eval mode, its weights redrawn from a fixed seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = self.build()
            return (self._normalised(randomise(module)) if self.redrawn else module).eval()

    def _normalised(self, module: nn.Module) -> nn.Module:
        """With the statistics of data in its batch normalisations; without them signals explode as in no real model."""
        norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all that was seen
        if norms:
            with torch.no_grad():
                module.train()(*self.inputs(4, seed=1))
        return module

    def resized(self, size: int) -> FullSize:
        """The same model for pictures of ``size``×``size``, or for ``size`` tokens."""
        return replace(self, shape=(3, size, size) if len(self.shape) == 3 else (size, *self.shape[1:]))

    def inputs(self, examples: int, seed: int = 0) -> tuple[Tensor, ...]:
        """Standard normal inputs, and the mask of token models (all tokens kept)."""
        x = torch.randn(examples, *self.shape, generator=torch.Generator().manual_seed(seed))
        return (x, torch.ones(examples, self.shape[0], dtype=torch.long)) if self.masked else (x,)


MODELS: dict[str, FullSize] = {
    "MLP": FullSize(functools.partial(plain.mlp, 784, (4096, 4096), 10), (784,)),
    "ResNet-50": FullSize(resnet.resnet50, _PICTURE),
    "VGG-16": FullSize(plain.vgg16, _PICTURE),
    "DenseNet-121": FullSize(densenet.densenet121, _PICTURE),
    "MobileNetV3": FullSize(mobile.mobilenet_v3_large, _PICTURE),
    "EfficientNet-B0": FullSize(mobile.efficientnet_b0, _PICTURE),
    "ConvNeXt-tiny": FullSize(convnext.convnext_tiny, _PICTURE),
    "U-Net": FullSize(functools.partial(unet.UNet, (32, 64, 128), 4, True), (3, 128, 128)),
    "ViT-small": FullSize(functools.partial(transformer.vit, 224, 16, 384, 12, 6, 1000), _PICTURE),
    "Swin-tiny": FullSize(
        functools.partial(transformer.swin, 224, 4, 7, 96, (2, 2, 6, 2), (3, 6, 12, 24), 1000), _PICTURE
    ),
    "BERT-base": FullSize(functools.partial(transformer.bert, 768, 12, 12, 2, 30522), (128, 768), True),
    "DistilBERT": FullSize(functools.partial(transformer.distilbert, 768, 6, 12, 2, 30522), (128, 768), True),
    "GPT-2": FullSize(functools.partial(transformer.gpt2, 768, 12, 12, 50257), (128, 768), True),
    "T5 encoder": FullSize(functools.partial(transformer.t5_encoder, 512, 6, 8, 2, 32128), (128, 512), True),
    "LSTM": FullSize(functools.partial(plain.RecurrentClassifier, 64, 256, 2, 10), (64, 64)),
}
