"""Networks of texts, rows of tokens: an encoder, and a language model that goes on from what it has written.

A token is a code 0..V-1, of which END = 0 ends a text and stands for nothing after it; code V, HIDDEN, is never written: it
stands where a token is not shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.nets.mlp import linear
from vaekit.nets.positions import sinusoid_table
from vaekit.nets.transformer import Cache, CausalTransformer, Dropout, TransformerEncoder

END = 0
SIZES: dict[str, dict[str, Any]] = {
    "small": dict(width=128, heads=4, layers=2, dropout=0.1),
    "base": dict(width=256, heads=4, layers=2, dropout=0.2),
    "large": dict(width=384, heads=6, layers=4, dropout=0.3),
}
ENCODER_LAYERS = {"small": 1, "base": 2, "large": 2}


def hide_words(x: Tensor, mask: Tensor | None, vocabulary: int) -> tuple[Tensor, Tensor]:
    """Hide tokens of texts from a network.

    Args:
        x: codes (B, T). mask: (B, T), False where a token is missing and behind a text's end; None: all is there.

    Returns:
        codes (B, S), HIDDEN where one is missing, and inside (B, S), False behind a text's last token; S is the length of the
        longest of them. Where gradients are taken, and in a graph, S is T: training has cut its texts already, and does not wait for the device to
        tell how long they are.
    """
    x = x.long()
    if mask is None:  # up to the end, which is there
        mask = torch.cat([torch.ones_like(x[:, :1]), (x[:, :-1] != END).long()], dim=1).cumprod(1).bool()
    inside = mask.long().flip(1).cumsum(1).flip(1) > 0
    whole = torch.is_grad_enabled() or torch.compiler.is_compiling()
    longest = x.shape[1] if whole else max(1, int(inside.any(0).sum()))
    x, mask, inside = x[:, :longest], mask[:, :longest], inside[:, :longest]
    return torch.where(mask, x, vocabulary), inside


class Tokens(nn.Module):
    """Codes (B, T) -> embeddings with their positions (B, T, width)."""

    def __init__(self, vocabulary: int, longest: int, width: int, dropout: float):
        super().__init__()
        self.codes, self.positions = nn.Embedding(vocabulary + 1, width), nn.Embedding(longest, width)
        nn.init.normal_(self.codes.weight, std=width**-0.5)
        with torch.no_grad():
            self.positions.weight.copy_(sinusoid_table(longest, width))
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """start: the position of the first."""
        # Both of a variance of about 1: the same embeddings are read as weights of the output, and are small for that.
        codes = self.codes(x) * self.codes.embedding_dim**0.5
        return self.dropout(codes + self.positions.weight[start : start + x.shape[1]])


class TextEncoder(nn.Module):
    """A transformer over the tokens of a text, of whose outputs the mean is taken.

    Args:
        in_shape: (longest,). out_shape: of what it gives. condition_features: of c, which is added to every token; 0 for none.
        vocabulary: number of codes. width, heads, layers, dropout: of the transformer.
    """

    sees_mask = True

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        condition_features: int = 0,
        *,
        vocabulary: int,
        width: int,
        heads: int,
        layers: int,
        dropout: float,
    ):
        super().__init__()
        self.vocabulary, self.out_shape = vocabulary, tuple(out_shape)
        self.tokens = Tokens(vocabulary, in_shape[0], width, dropout)
        self.condition = nn.Linear(condition_features, width) if condition_features else None
        self.layers = TransformerEncoder(
            width, heads=heads, layers=layers, dropout=dropout, activation="gelu", norm_first=True
        )
        self.out = linear(width, math.prod(out_shape))

    def forward(self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Codes (B, T), c (B, condition_features), mask (B, T) -> (B, *out_shape)."""
        x, inside = hide_words(x, mask, self.vocabulary)
        h = self.tokens(x)  # (B, T, D)
        if c is not None and self.condition is not None:
            h = h + self.condition(c)[:, None]  # (B, T, D)
        h = self.layers(h, padding=~inside)  # (B, T, D)
        count = inside.sum(1, keepdim=True).clamp_min(1)
        mean = torch.where(inside[..., None], h, 0.0).sum(1) / count  # (B, D)
        return self.out(mean).unflatten(1, self.out_shape)


class LanguageModel(nn.Module):
    """A causal transformer that also sees a memory: features of the token at each place, given those before it.

    The memory's first vector is added to the embedding of every token, the others are looked at in every layer; the same
    embeddings tell tokens apart at the end (Press & Wolf 2017, arXiv 1608.05859).

    Args:
        vocabulary: number of codes. longest: tokens of a text, its end included.
        width, heads, layers, dropout: of the transformer.
    """

    def __init__(self, vocabulary: int, longest: int, *, width: int, heads: int, layers: int, dropout: float):
        super().__init__()
        self.vocabulary, self.longest = vocabulary, longest
        self.tokens = Tokens(vocabulary, longest, width, dropout)
        self.layers = CausalTransformer(
            width, heads=heads, layers=layers, dropout=dropout, activation="gelu", norm_first=True
        )
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, before: Tensor, memory: Tensor, caches: list[Cache] | None = None) -> Tensor:
        """The codes before each place (B, S), END before the first, and memory (B, 1 + M, width) -> features (B, S, width).

        With `caches`, of `new_caches`, codes come one at a time.
        """
        start = caches[0].length - (memory.shape[1] - 1) if caches and caches[0].length else 0
        h = self.tokens(before, start) + memory[:, :1]  # (B, S, D)
        return self.layers(h, memory[:, 1:], caches)  # (B, S, D)

    def logits(self, features: Tensor) -> Tensor:
        """(..., width) -> (..., vocabulary)."""
        return nn.functional.linear(features, self.out_weight, self.bias)

    @property
    def out_weight(self) -> Tensor:
        """(vocabulary, width): HIDDEN is read and not written."""
        return self.tokens.codes.weight[:-1]

    def new_caches(self, memory: Tensor) -> list[Cache]:
        return [Cache(self.longest + memory.shape[1] - 1) for _ in self.layers.layers]
