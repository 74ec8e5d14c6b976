"""Texts written by tensors alone: `Sentences.write` as one loop that a graph can hold (ONNX has it as Loop)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vaekit.distributions.base import full_precision
from vaekit.nets.text import END

COLD = 1e-3  # a temperature at which the likeliest token has all the probability


class Slots:
    """Keys and values of all places, of one attention: a `Cache` whose room does not grow. `here` (T,) is True at the token's place."""

    length = 1  # never empty: the memory is in it from the start

    def __init__(self, keys: Tensor, values: Tensor, here: Tensor):
        self.keys, self.values, self.here = keys, values, here[:, None]

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, 1, D/heads) of the token -> those of all places (B, heads, T, D/heads)."""
        self.keys, self.values = torch.where(self.here, k, self.keys), torch.where(self.here, v, self.values)
        return self.keys, self.values


def write(p: Any, uniform: Tensor | None = None, temperature: Tensor | None = None) -> Tensor:
    """Texts (B, longest) of a `Sentences` p over (B,), 0 behind their ends: the likeliest token each time, or with `uniform` (B, longest)
    one that is drawn at a temperature ()."""
    network, memory = p.network, p.memory  # (B, 1 + M, D)
    layers, longest, before = network.layers.layers, network.longest, memory.shape[1] - 1
    room, place = torch.arange(before + longest), torch.arange(longest)
    never = torch.zeros(network.vocabulary)
    never[list(p.unwritten)] = -torch.inf
    numbers = torch.zeros(memory.shape[0], longest) if uniform is None else uniform
    keys, values = zip(*(remembered(layer.self_attn, memory[:, 1:], longest) for layer in layers), strict=True)

    def going_on(t: Tensor, token: Tensor, texts: Tensor, going: Tensor, *caches: Tensor) -> Tensor:
        return (t < longest) & going.any()

    def step(t: Tensor, token: Tensor, texts: Tensor, going: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        tokens = network.tokens
        codes = tokens.codes(token) * tokens.codes.embedding_dim**0.5
        h = codes + tokens.positions(t[None]) + memory[:, :1]  # (B, 1, D)
        now, found = place == t, []
        for layer, k, v in zip(layers, caches[: len(layers)], caches[len(layers) :], strict=True):
            slots = Slots(k, v, room == before + t)
            h = layer(h, memory[:, 1:], (room <= before + t)[None], slots)  # (B, 1, D)
            found.append(slots)
        log_p = full_precision(network.logits(network.layers.norm(h)[:, 0])).log_softmax(-1) + never  # (B, V)
        if uniform is None:
            chosen = log_p.argmax(-1)
        else:
            spread = torch.ones(()) if temperature is None else temperature.clamp_min(COLD)
            edges = (log_p / spread).softmax(-1).cumsum(-1)
            at = torch.where(now, numbers, 0.0).sum(1, keepdim=True) * edges[:, -1:]
            chosen = (at > edges).sum(-1).clamp_max(network.vocabulary - 1)
        chosen = torch.where(going, chosen, END)
        texts = torch.where(now, chosen[:, None], texts)
        caches = (*(s.keys for s in found), *(s.values for s in found))
        return t + 1, chosen[:, None], texts, going & (chosen != END), *caches

    start = torch.full((memory.shape[0], 1), END)
    state = (torch.zeros((), dtype=torch.long), start, start.expand(-1, longest).clone(), start[:, 0] == END)
    return torch.while_loop(going_on, step, (*state, *keys, *values))[2]


def remembered(attention: Any, memory: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Keys and values of a memory (B, M, D), with room for a text behind them: (B, heads, M + longest, D/heads) each."""
    _, k, v = attention.project(memory, memory, memory)
    k, v = (F.pad(t.unflatten(-1, (attention.heads, -1)).transpose(1, 2), (0, 0, 0, longest)) for t in (k, v))
    return k, v
