"""Transformers with random weights: of pictures, or of tokens at their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class PictureModel(nn.Module):
    """pixel_values [N, C, H, W] → logits [N, classes]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.model(pixel_values).logits


class EmbeddedTokenModel(nn.Module):
    """inputs_embeds [N, length, hidden], attention_mask [N, length] → logits [N, classes]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(inputs_embeds=inputs_embeds, attention_mask=attention_mask).logits


class EncoderClassifier(nn.Module):
    """An encoder's last hidden state, averaged over the tokens the mask keeps, and one linear layer."""

    def __init__(self, encoder: nn.Module, hidden: int, classes: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(hidden, classes)

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.encoder(inputs_embeds=inputs_embeds, attention_mask=attention_mask).last_hidden_state
        kept = attention_mask.to(states.dtype).unsqueeze(-1)
        return self.head((states * kept).sum(1) / kept.sum(1))


class LastTokenScores(nn.Module):
    """A causal language model's scores for the next token: [N, vocabulary]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor) -> Tensor:
        output = self.model(inputs_embeds=inputs_embeds, attention_mask=attention_mask, use_cache=False)
        return output.logits[:, -1]


def _encoder_sizes(hidden: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
    }


def vit(
    size: int = 16, patch: int = 4, hidden: int = 16, layers: int = 2, heads: int = 2, classes: int = 5
) -> PictureModel:
    """Vision transformer (Dosovitskiy et al. 2020); ``vit(224, 16, 384, 12, 6, 1000)`` is ViT-small."""
    from transformers import ViTConfig, ViTForImageClassification

    sizes = _encoder_sizes(hidden, layers, heads)
    config = ViTConfig(**sizes, image_size=size, patch_size=patch, num_labels=classes)
    return PictureModel(ViTForImageClassification(config))


def swin(
    size: int = 32,
    patch: int = 2,
    window: int = 4,
    width: int = 8,
    depths: Sequence[int] = (2, 2),
    heads: Sequence[int] = (2, 4),
    classes: int = 5,
) -> PictureModel:
    """Swin (Liu et al. 2021); ``swin(224, 4, 7, 96, (2, 2, 6, 2), (3, 6, 12, 24), 1000)`` is Swin-tiny."""
    from transformers import SwinConfig, SwinForImageClassification

    config = SwinConfig(
        image_size=size,
        patch_size=patch,
        window_size=window,
        embed_dim=width,
        depths=list(depths),
        num_heads=list(heads),
        num_labels=classes,
    )
    return PictureModel(SwinForImageClassification(config))


def bert(
    hidden: int = 16, layers: int = 2, heads: int = 2, classes: int = 3, vocabulary: int = 40, positions: int = 512
) -> EmbeddedTokenModel:
    """BERT for classification; ``bert(768, 12, 12, 2, 30522)`` is BERT-base."""
    from transformers import BertConfig, BertForSequenceClassification

    sizes = _encoder_sizes(hidden, layers, heads)
    config = BertConfig(**sizes, vocab_size=vocabulary, num_labels=classes, max_position_embeddings=positions)
    return EmbeddedTokenModel(BertForSequenceClassification(config))


def distilbert(
    hidden: int = 16, layers: int = 2, heads: int = 2, classes: int = 3, vocabulary: int = 40
) -> EmbeddedTokenModel:
    """DistilBERT for classification; ``distilbert(768, 6, 12, 2, 30522)`` is DistilBERT-base."""
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    config = DistilBertConfig(
        dim=hidden,
        n_layers=layers,
        n_heads=heads,
        hidden_dim=4 * hidden,
        vocab_size=vocabulary,
        num_labels=classes,
    )
    return EmbeddedTokenModel(DistilBertForSequenceClassification(config))


def gpt2(hidden: int = 16, layers: int = 2, heads: int = 2, vocabulary: int = 40) -> LastTokenScores:
    """GPT-2 as a language model; ``gpt2(768, 12, 12, 50257)`` is GPT-2 small."""
    from transformers import GPT2Config, GPT2LMHeadModel

    # the special tokens must lie in the vocabulary
    config = GPT2Config(
        n_embd=hidden, n_layer=layers, n_head=heads, vocab_size=vocabulary, bos_token_id=0, eos_token_id=0
    )
    return LastTokenScores(GPT2LMHeadModel(config))


def t5_encoder(
    hidden: int = 16, layers: int = 2, heads: int = 2, classes: int = 3, vocabulary: int = 40
) -> EncoderClassifier:
    """T5's encoder with relative position bias; ``t5_encoder(512, 6, 8, 2, 32128)`` is T5-small's."""
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        d_model=hidden,
        d_kv=hidden // heads,
        d_ff=4 * hidden,
        num_layers=layers,
        num_heads=heads,
        vocab_size=vocabulary,
        feed_forward_proj="gated-gelu",
    )
    return EncoderClassifier(T5EncoderModel(config), hidden, classes)


def token_mask(examples: int, length: int) -> Tensor:
    """An attention mask [N, length] that keeps fewer tokens in each further example (one at least)."""
    kept = torch.clamp(length - torch.arange(examples) % length, min=1)
    return (torch.arange(length) < kept[:, None]).long()
