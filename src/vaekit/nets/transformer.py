"""Transformers (Vaswani et al. 2017, arXiv 1706.03762): tokens in, tokens out, as DETR and ACT use them.

Positions are added to queries and keys at every layer, never to values (DETR, Carion et al. 2020, arXiv 2005.12872).
Parameters are named and shaped as those of `nn.TransformerEncoder` and `nn.TransformerDecoder`, so that state dicts
load both ways; ACT's load too (Zhao et al. 2023, arXiv 2304.13705).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}


def attended(keys: Tensor, padding: Tensor | None, causal: bool = False) -> Tensor | None:
    """The mask for `Attention`: True where a query may look at a key; None where it may look everywhere.

    Args:
        keys: (B, T, D). padding: (B, T) bool, True where a key is padding.
        causal: queries are the keys' own tokens, and look at none later than themselves.

    Returns:
        bool, broadcastable to (B, heads, S, T). A query with only padding to look at looks at the padding: what comes
        out means nothing, but is not NaN.
    """
    if padding is not None and padding.dtype != torch.bool:
        raise ValueError(f"padding is {padding.dtype}: give bool (batch, tokens), True where a token is padding")
    if padding is None and not causal:
        return None
    tokens = keys.shape[1]
    allowed = torch.ones(1, tokens, dtype=torch.bool, device=keys.device)  # (1, T)
    if causal:
        allowed = allowed.expand(tokens, tokens).tril()  # (T, T)
    if padding is None:
        return allowed
    mask = allowed & ~padding[:, None, None]  # (B, 1, 1 or T, T)
    return mask | (allowed & ~mask.any(-1, keepdim=True))


class Dropout(nn.Module):
    """As `nn.Dropout`, by random bytes, which a CPU makes four times faster than its Bernoulli numbers: the rate is rounded to
    256ths."""

    def __init__(self, rate: float):
        super().__init__()
        self.dropped = round(256 * rate)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.dropped:
            return x
        kept = torch.randint(256, x.shape, dtype=torch.uint8, device=x.device) >= self.dropped
        return x * kept.to(x.dtype).mul_(256 / (256 - self.dropped))


class Cache:
    """Keys and values of the tokens so far, of one attention, so that a token more costs one token's work.

    Args:
        tokens: the most that fit.
    """

    def __init__(self, tokens: int):
        self.tokens, self.length = tokens, 0

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, new, D/heads) -> those of all tokens so far (B, heads, T, D/heads)."""
        if not self.length:  # room for all at once: to grow by a token would copy all of them each time
            self.k, self.v = (t.new_empty(*t.shape[:2], self.tokens, t.shape[3]) for t in (k, v))
        new = slice(self.length, self.length + k.shape[2])
        self.k[:, :, new], self.v[:, :, new] = k, v
        self.length = new.stop
        return self.k[:, :, : self.length], self.v[:, :, : self.length]


class Attention(nn.Module):
    """Multi-head attention of queries (B or 1, S, width) over keys and values (B, T, width) -> (B, S, width).

    The projections of queries, keys and values are one parameter, as in `nn.MultiheadAttention`.

    Args:
        width: features of a token. heads: a divisor of width. dropout: rate for the attention weights.
    """

    def __init__(self, width: int, heads: int = 8, dropout: float = 0.0):
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"width {width} does not divide into {heads} heads: choose a number that divides {width}")
        self.heads, self.dropout = heads, Dropout(dropout)
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """`mask` is bool, broadcastable to (B, heads, S, T), True where a query may look at a key. With a `cache`, `key` and
        `value` are what follows what it holds, and T is all of it."""
        q, k, v = self.project(query, key, value)  # 3 of (B, S or T, D)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))  # (B, heads, S or T, D/heads)
        if cache is not None:
            k, v = cache.extend(k, v)  # 2 of (B, heads, T, D/heads)
        if q.shape[0] == 1:  # queries that all rows share
            q = q.expand(k.shape[0], -1, -1, -1)  # not len(k), which an export takes for a constant
        if self.training and self.dropout.dropped:
            weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, heads, S, T)
            weights = weights if mask is None else weights.masked_fill(~mask, -torch.inf)
            out = self.dropout(weights.softmax(-1).to(v.dtype)) @ v  # (B, heads, S, D/heads)
        else:
            out = F.scaled_dot_product_attention(q, k, v, mask)  # (B, heads, S, D/heads)
        return self.out_proj(out.transpose(1, 2).flatten(2))  # (B, S, D)

    def project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, with one product for inputs that are the same tensor."""
        weight, bias, width = self.in_proj_weight, self.in_proj_bias, self.in_proj_weight.shape[1]
        if query is key and key is value:
            return F.linear(query, weight, bias).chunk(3, dim=-1)
        if query is key:
            (w_qk, w_v), (b_qk, b_v) = (p.split([2 * width, width]) for p in (weight, bias))
            return *F.linear(query, w_qk, b_qk).chunk(2, dim=-1), F.linear(value, w_v, b_v)
        if key is value:
            (w_q, w_kv), (b_q, b_kv) = (p.split([width, 2 * width]) for p in (weight, bias))
            return F.linear(query, w_q, b_q), *F.linear(key, w_kv, b_kv).chunk(2, dim=-1)
        return tuple(map(F.linear, (query, key, value), weight.chunk(3), bias.chunk(3)))


def add(x: Tensor, positions: Tensor | None) -> Tensor:
    return x if positions is None else x + positions


class Layer(nn.Module):
    """Base of the layers of encoder and decoder: self-attention and a network of one hidden layer."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, activation: str, norm_first: bool):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}: choose one of {', '.join(ACTIVATIONS)}")
        self.activation, self.norm_first = ACTIVATIONS[activation], norm_first
        self.self_attn = Attention(width, heads, dropout)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def attend(self, x: Tensor, positions: Tensor | None, mask: Tensor | None, first: int | None = None) -> Tensor:
        q = add(x, positions)  # (B, T, D)
        queries = q if first is None else q[:, :first]  # (B, first, D)
        return self.dropout(self.self_attn(queries, q, x, mask))  # (B, first, D)

    def feed_forward(self, x: Tensor) -> Tensor:
        h = self.dropout(self.activation(self.linear1(x)))  # (B, T, hidden)
        return self.dropout(self.linear2(h))  # (B, T, D)


class TransformerEncoderLayer(Layer):
    def forward(self, x: Tensor, positions: Tensor | None, mask: Tensor | None, first: int | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D), or of the `first` tokens alone."""
        if self.norm_first:
            x = x[:, :first] + self.attend(self.norm1(x), positions, mask, first)  # (B, first, D)
            return x + self.feed_forward(self.norm2(x))  # (B, first, D)
        x = self.norm1(x[:, :first] + self.attend(x, positions, mask, first))  # (B, first, D)
        return self.norm2(x + self.feed_forward(x))  # (B, first, D)


class TransformerDecoderLayer(Layer):
    def __init__(self, width: int, heads: int, hidden: int, dropout: float, activation: str, norm_first: bool):
        super().__init__(width, heads, hidden, dropout, activation, norm_first)
        self.multihead_attn = Attention(width, heads, dropout)
        self.norm3 = nn.LayerNorm(width)

    def forward(
        self,
        x: Tensor,
        keys: Tensor,
        memory: Tensor,
        positions: Tensor | None,
        mask: Tensor | None,
        memory_mask: Tensor | None,
    ) -> Tensor:
        """x (B, S, D), keys and memory (B, T, D): the memory with and without its positions -> (B, S, D)."""
        if self.norm_first:
            x = x + self.attend(self.norm1(x), positions, mask)  # (B, S, D)
            x = x + self.cross(self.norm2(x), keys, memory, positions, memory_mask)  # (B, S, D)
            return x + self.feed_forward(self.norm3(x))  # (B, S, D)
        x = self.norm1(x + self.attend(x, positions, mask))  # (B, S, D)
        x = self.norm2(x + self.cross(x, keys, memory, positions, memory_mask))  # (B, S, D)
        return self.norm3(x + self.feed_forward(x))  # (B, S, D)

    def cross(self, x: Tensor, keys: Tensor, memory: Tensor, positions: Tensor | None, mask: Tensor | None) -> Tensor:
        return self.dropout(self.multihead_attn(add(x, positions), keys, memory, mask))  # (B, S, D)


class CausalLayer(Layer):
    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None, cache: Cache | None = None) -> Tensor:
        """x (B, S, D) looks at memory (B, M, D) and at itself -> (B, S, D). Pre-norm."""
        h = self.norm1(x)  # (B, S, D)
        seen = h if cache is not None and cache.length else torch.cat([memory, h], dim=1)  # (B, M + S, D)
        x = x + self.dropout(self.self_attn(h, seen, seen, mask, cache))  # (B, S, D)
        return x + self.feed_forward(self.norm2(x))  # (B, S, D)


class Transformer(nn.Module):
    """Base of encoder and decoder: layers, one after another.

    Args:
        width: features of a token, D. heads: a divisor of width. layers: number of layers.
        hidden: features of the hidden layer after each attention; None: 4 * width.
        dropout: rate. activation: "relu" or "gelu".
        norm_first: normalise the input of each branch (pre-norm), not its sum with the branch (post-norm).
    """

    layer: type[Layer]
    always_norm: bool

    def __init__(
        self,
        width: int,
        *,
        heads: int = 8,
        layers: int = 4,
        hidden: int | None = None,
        dropout: float = 0.0,
        activation: str = "relu",
        norm_first: bool = False,
    ):
        super().__init__()
        options = (width, heads, hidden or 4 * width, dropout, activation, norm_first)
        self.layers = nn.ModuleList(self.layer(*options) for _ in range(layers))
        self.norm = nn.LayerNorm(width) if norm_first or self.always_norm else nn.Identity()


class TransformerEncoder(Transformer):
    """Layers of self-attention: tokens (B, T, D) -> (B, T, D).

    With `norm_first` a LayerNorm ends them; without, each layer ends in its own.

    Args:
        width: features of a token, D. heads: a divisor of width. layers: number of layers.
        hidden: features of the hidden layer after each attention; None: 4 * width.
        dropout: rate. activation: "relu" or "gelu".
        norm_first: normalise the input of each branch (pre-norm), not its sum with the branch (post-norm).

    Source: Vaswani et al. 2017, arXiv 1706.03762.

    Example:
        >>> from vaekit.nets import TransformerEncoder
        >>> TransformerEncoder(8, heads=2, layers=1)(torch.zeros(3, 5, 8)).shape
        torch.Size([3, 5, 8])
    """

    layer = TransformerEncoderLayer
    always_norm = False

    def forward(
        self, x: Tensor, positions: Tensor | None = None, padding: Tensor | None = None, first: int | None = None
    ) -> Tensor:
        """Encode tokens x (B, T, D) with positions (B or 1, T, D) and padding (B, T) bool, True = padding -> (B, T, D).

        first: the number of tokens that are wanted; the last layer computes only these -> (B, first, D).
        """
        mask = attended(x, padding)  # (B, 1, 1, T)
        for layer in self.layers[:-1]:
            x = layer(x, positions, mask)  # (B, T, D)
        for layer in self.layers[-1:]:
            x = layer(x, positions, mask, first)  # (B, first, D)
        return self.norm(x)  # (B, first, D)


class TransformerDecoder(Transformer):
    """Layers of self-attention and of attention to a memory, ended by a LayerNorm: tokens (B, S, D), memory (B, T, D) -> (B, S, D).

    The arguments are those of `TransformerEncoder`.

    Example:
        >>> from vaekit.nets import TransformerDecoder
        >>> TransformerDecoder(8, heads=2, layers=1)(torch.zeros(3, 4, 8), torch.zeros(3, 5, 8)).shape
        torch.Size([3, 4, 8])
    """

    layer = TransformerDecoderLayer
    always_norm = True

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        positions: Tensor | None = None,
        memory_positions: Tensor | None = None,
        padding: Tensor | None = None,
        memory_padding: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Let tokens x (B, S, D) look at memory (B, T, D) -> (B, S, D).

        x may be (1, S, D), tokens that all rows share: what does not depend on the memory is then computed once.

        Args:
            positions: (B or 1, S, D), added to the queries of both attentions and the keys of the first.
            memory_positions: (B or 1, T, D), added to the memory where it is a key.
            padding, memory_padding: (B, S) and (B, T) bool, True = padding.
            causal: tokens look at no later token of x.
        """
        mask = attended(x, padding, causal)  # (B, 1, 1 or S, S)
        memory_mask = attended(memory, memory_padding)  # (B, 1, 1, T)
        keys = add(memory, memory_positions)  # (B, T, D)
        for layer in self.layers:
            x = layer(x, keys, memory, positions, mask, memory_mask)  # (B, S, D)
        return self.norm(x)  # (B, S, D)


class CausalTransformer(Transformer):
    """Layers in which tokens look at a memory and at the tokens before them. Every layer makes keys and values of the same memory, as if it
    were tokens before all others (Li et al. 2020, arXiv 2004.04092)."""

    layer = CausalLayer
    always_norm = True

    def forward(self, x: Tensor, memory: Tensor, caches: list[Cache] | None = None) -> Tensor:
        """Tokens x (B, S, D), memory (B, M, D) -> (B, S, D). With caches, one for each layer, x is what follows the tokens
        that they hold, one token at a time."""
        mask = None  # (S, M + S)
        if x.shape[1] > 1:
            remembered = torch.ones(x.shape[1], memory.shape[1], dtype=torch.bool, device=x.device)
            mask = torch.cat([remembered, remembered.new_ones(x.shape[1], x.shape[1]).tril()], dim=1)
        for i, layer in enumerate(self.layers):
            x = layer(x, memory, mask, caches[i] if caches else None)  # (B, S, D)
        return self.norm(x)  # (B, S, D)
