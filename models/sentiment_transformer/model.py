"""A small transformer that reads a sentence as praise or blame: the text model of the examples and tests."""

from __future__ import annotations

import torch
from torch import nn

WORDS, LONGEST, WIDTH, HEADS = 4000, 48, 32, 4
PADDING = 0  # the token's id


class Block(nn.Module):
    """Self-attention and a perceptron, each added to what came in (normalised before)."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention, self.before_layers = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.asked = nn.Linear(WIDTH, 3 * WIDTH)
        self.told = nn.Linear(WIDTH, WIDTH)
        self.layers = nn.Sequential(
            nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Dropout(0.3), nn.Linear(2 * WIDTH, WIDTH)
        )

    def forward(self, x: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """x [batch, tokens, width]; ``hidden`` [batch, 1, 1, tokens] is 0 for tokens and −10⁴ for padding."""
        batch, tokens, _ = x.shape
        heads = self.asked(self.before_attention(x)).reshape(batch, tokens, 3, HEADS, WIDTH // HEADS)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(query @ key.transpose(-2, -1) / (WIDTH // HEADS) ** 0.5 + hidden, dim=-1)
        x = x + self.told((weights @ value).transpose(1, 2).reshape(batch, tokens, WIDTH))
        found: torch.Tensor = x + self.layers(self.before_layers(x))
        return found


class SentimentTransformer(nn.Module):
    """Embedding of tokens and places, one block, the mean over the tokens, two classes.

    ``input_ids`` [batch, tokens] and ``attention_mask`` of that shape  ->  logits [batch, 2] (blame, praise).
    """

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(WORDS, WIDTH, padding_idx=PADDING)
        self.places = nn.Embedding(LONGEST, WIDTH)
        self.dropout = nn.Dropout(0.4)
        self.block = Block()
        self.last = nn.LayerNorm(WIDTH)
        self.classes = nn.Linear(WIDTH, 2)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        mask = input_ids != PADDING if attention_mask is None else attention_mask != 0
        embedded = self.tokens(input_ids)
        x = self.dropout(embedded + self.places.weight[: input_ids.shape[1]])
        x = self.last(self.block(x, torch.where(mask[:, None, None], 0.0, -1e4)))
        share = mask.to(x.dtype)[:, :, None]
        logits: torch.Tensor = self.classes((x * share).sum(dim=1) / share.sum(dim=1))
        return logits


def sentiment_transformer() -> SentimentTransformer:
    """The network with untrained weights; ``sentiment_transformer.safetensors`` beside this file has trained ones."""
    return SentimentTransformer()
