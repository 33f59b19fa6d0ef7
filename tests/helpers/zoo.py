"""The table of small transformers models: random weights, tiny configurations, one score vector per example.

The one idea: every architecture is reduced to the same two questions, so that one test serves all: from float values
(embedded tokens, pixels, sound) to scores, and from token ids to scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers as tf
from torch import Tensor, nn

from tests.helpers.networks import randomise

VOCABULARY = 37  # no other axis of any table has this length
LENGTH = 6
HIDDEN = 16
CLASSES = 3


class _Scores(nn.Module):
    """Linear scores [N, CLASSES] of the mean over positions of the base model's last hidden state."""

    def __init__(self, base: nn.Module, hidden: int) -> None:
        super().__init__()
        self.base = base
        self.head = nn.Linear(hidden, CLASSES)

    def scores(self, **values: Tensor) -> Tensor:
        hidden = self.base(**values)[0]
        if hidden.dim() == 4:  # [N, C, H, W]
            hidden = hidden.flatten(2).transpose(1, 2)
        return self.head(hidden.mean(dim=1))


class FromPixels(_Scores):
    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.scores(pixel_values=pixel_values)


class FromSound(_Scores):
    def forward(self, input_values: Tensor) -> Tensor:
        return self.scores(input_values=input_values)


class FromSpectrum(_Scores):
    def forward(self, input_features: Tensor) -> Tensor:
        return self.scores(input_features=input_features)


class FromIds(_Scores):
    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.scores(input_ids=input_ids, attention_mask=attention_mask)


class FromEmbeddings(_Scores):
    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor) -> Tensor:
        return self.scores(inputs_embeds=inputs_embeds, attention_mask=attention_mask)


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Attributes:
        base: makes the model without a head.
        reader: how it is called, and from what.
        shape: of the float input without axis 0.
        hidden: width of the last hidden state.
        fusion: the model type of ONNX Runtime's transformer optimiser, where it has one; ``heads`` its attention heads.
    """

    name: str
    base: Callable[[], nn.Module]
    reader: type[_Scores]
    shape: tuple[int, ...]
    hidden: int = HIDDEN
    fusion: str | None = None
    heads: int = 2

    def module(self) -> _Scores:
        """A new module in eval mode, always with the same weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = randomise(self.reader(self.base(), self.hidden))
        module.base.config.use_cache = False
        return module.eval()

    def inputs(self) -> tuple[Tensor, ...]:
        """Two examples: what is attributed, and for tokens the mask."""
        generator = torch.Generator().manual_seed(1)
        if self.reader is FromIds:
            # 0 and 1 are padding in some models and shift the positions
            values = torch.randint(3, VOCABULARY, (2, *self.shape), generator=generator)
        else:
            values = torch.randn(2, *self.shape, generator=generator)
        if self.reader not in (FromIds, FromEmbeddings):
            return (values,)
        mask = torch.ones(2, LENGTH, dtype=torch.int64)
        mask[1, -2:] = 0
        return values, mask


def _tokens(name: str, base: Callable[[], nn.Module], fusion: str | None = None) -> list[Entry]:
    return [
        Entry(f"{name}_ids", base, FromIds, (LENGTH,), fusion=fusion),
        Entry(f"{name}_embeddings", base, FromEmbeddings, (LENGTH, HIDDEN), fusion=fusion),
    ]


def _pixels(name: str, base: Callable[[], nn.Module], hidden: int = HIDDEN, fusion: str | None = None) -> Entry:
    return Entry(name, base, FromPixels, (3, 32, 32), hidden, fusion)


# The same sizes under the names that most configurations use.
_ENCODER: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 16,
}
_DECODER: dict[str, Any] = {
    **_ENCODER,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_VISION: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 32,
    "patch_size": 8,
}


def _distilbert() -> nn.Module:
    return tf.DistilBertModel(
        tf.DistilBertConfig(vocab_size=VOCABULARY, dim=HIDDEN, n_layers=2, n_heads=2, hidden_dim=24,
                            max_position_embeddings=16)
    )  # fmt: skip


def _deberta() -> nn.Module:
    return tf.DebertaV2Model(
        tf.DebertaV2Config(**_ENCODER, relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=4,
                           max_relative_positions=8, norm_rel_ebd="layer_norm", share_att_key=True)
    )  # fmt: skip


def _gpt2() -> nn.Module:
    return tf.GPT2Model(tf.GPT2Config(vocab_size=VOCABULARY, n_embd=HIDDEN, n_layer=2, n_head=2, n_positions=16))


def _t5() -> nn.Module:
    return tf.T5EncoderModel(
        tf.T5Config(vocab_size=VOCABULARY, d_model=HIDDEN, d_kv=8, d_ff=24, num_layers=2, num_heads=2,
                    relative_attention_num_buckets=8, relative_attention_max_distance=16)
    )  # fmt: skip


def _bart() -> nn.Module:
    config = tf.BartConfig(
        vocab_size=VOCABULARY, d_model=HIDDEN, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=24,
        decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=24, max_position_embeddings=16,
        scale_embedding=True, decoder_start_token_id=2,
    )  # fmt: skip
    return tf.BartModel(config).encoder


def _swin() -> nn.Module:
    return tf.SwinModel(
        tf.SwinConfig(image_size=32, patch_size=4, embed_dim=8, depths=[2, 1], num_heads=[2, 2], window_size=4)
    )


def _convnext() -> nn.Module:
    return tf.ConvNextModel(tf.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2))


def _resnet() -> nn.Module:
    return tf.ResNetModel(
        tf.ResNetConfig(embedding_size=8, hidden_sizes=[16, 24], depths=[1, 1], layer_type="bottleneck")
    )


def _segformer() -> nn.Module:
    return tf.SegformerModel(
        tf.SegformerConfig(num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16],
                           patch_sizes=[7, 3], strides=[4, 2], num_attention_heads=[1, 2], mlp_ratios=[2, 2])
    )  # fmt: skip


def _wav2vec2() -> nn.Module:
    return tf.Wav2Vec2Model(
        tf.Wav2Vec2Config(hidden_size=HIDDEN, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
                          conv_dim=(8, 8), conv_kernel=(10, 3), conv_stride=(5, 2), num_feat_extract_layers=2,
                          num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2)
    )  # fmt: skip


def _whisper() -> nn.Module:
    config = tf.WhisperConfig(
        vocab_size=VOCABULARY, d_model=HIDDEN, num_mel_bins=8, encoder_layers=1, encoder_attention_heads=2,
        encoder_ffn_dim=24, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=24, max_source_positions=10,
        max_target_positions=10, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    return tf.WhisperModel(config).encoder


_TABLE = [
    *_tokens("bert", lambda: tf.BertModel(tf.BertConfig(**_ENCODER)), "bert"),
    *_tokens("roberta", lambda: tf.RobertaModel(tf.RobertaConfig(**_ENCODER, pad_token_id=1)), "bert"),
    *_tokens("distilbert", _distilbert, "bert"),
    *_tokens("albert", lambda: tf.AlbertModel(tf.AlbertConfig(**_ENCODER, embedding_size=HIDDEN)), "bert"),
    *_tokens("deberta_v2", _deberta),
    *_tokens("electra", lambda: tf.ElectraModel(tf.ElectraConfig(**_ENCODER, embedding_size=HIDDEN)), "bert"),
    *_tokens("gpt2", _gpt2, "gpt2"),
    *_tokens("llama", lambda: tf.LlamaModel(tf.LlamaConfig(**_DECODER)), "gpt2"),
    *_tokens("qwen2", lambda: tf.Qwen2Model(tf.Qwen2Config(**_DECODER))),
    *_tokens("mistral", lambda: tf.MistralModel(tf.MistralConfig(**_DECODER, sliding_window=4))),
    *_tokens("t5_encoder", _t5, "t5"),
    *_tokens("bart_encoder", _bart, "bart"),
    Entry("clip_text_ids", lambda: tf.CLIPTextModel(tf.CLIPTextConfig(**_ENCODER)), FromIds, (LENGTH,), fusion="clip"),
    _pixels("clip_vision", lambda: tf.CLIPVisionModel(tf.CLIPVisionConfig(**_VISION)), fusion="clip"),
    _pixels("vit", lambda: tf.ViTModel(tf.ViTConfig(**_VISION), add_pooling_layer=False), fusion="vit"),
    _pixels("deit", lambda: tf.DeiTModel(tf.DeiTConfig(**_VISION), add_pooling_layer=False), fusion="vit"),
    _pixels("swin", _swin, fusion="swin"),
    _pixels("convnext", _convnext),
    _pixels("resnet", _resnet, hidden=24),
    _pixels("segformer", _segformer),
    Entry("wav2vec2", _wav2vec2, FromSound, (200,)),
    Entry("whisper_encoder", _whisper, FromSpectrum, (8, 20), fusion="bart"),
]

ZOO: dict[str, Entry] = {entry.name: entry for entry in _TABLE}
