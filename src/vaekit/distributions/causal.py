"""Texts, token after token: p(x|z) = product over t of p(x_t | x_1 .. x_t-1, z), by a language model that sees z."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vaekit.distributions.base import Noise, full_precision
from vaekit.distributions.likelihoods import Chunks, Likelihood
from vaekit.errors import UserError
from vaekit.nets.text import END, SIZES, LanguageModel, hide_words
from vaekit.settings.limits import Share, ShareBelow1

TOKENS_AT_ONCE = 2048  # whose probabilities over the vocabulary are held at a time, where no gradient is wanted
ROWS_AT_ONCE = 256  # that are written at a time: bounds the memory of their keys and values


@dataclass
class Sentences:
    """Rows of tokens (*batch, T), END after the last; `memory` (*batch, 1 + M, width) is what the network sees of z.

    word_dropout: rate at which the network is not shown a token that it goes on from.

    How texts are written, which changes `sample` and not `log_prob`:
        temperature: logits are divided by it; 0 takes the likeliest token each time.
        top_p: only the likeliest tokens, whose probabilities add up to this, are drawn (Holtzman et al. 2020, arXiv 1904.09751).
        repetition_penalty: the log-probability of a token that the text holds already is multiplied by it (as in Keskar et al.
            2019, arXiv 1909.05858); 1 changes nothing.
        max_length: tokens of a text at most, its end included; None: as many as the network knows.
        unwritten: codes that are never written, such as that of an unknown word.
    """

    network: LanguageModel
    memory: Tensor
    temperature: float = 1.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    max_length: int | None = None
    unwritten: Sequence[int] = ()
    word_dropout: Share = 0.0

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log-probability of codes x (*batch or what broadcasts to it, T) -> (*batch). What is behind a text's end does not count. A token
        that is missing (mask False) is left out, and is hidden from the tokens behind it."""
        return self.log_prob_tokens(x, mask).sum(-1)

    def log_prob_tokens(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log-probability of each token given those before it: (*batch, S), S the length of the longest text; 0 where it does not count."""
        batch, vocabulary = self.memory.shape[:-2], self.network.vocabulary
        codes, inside = hide_words(x.flatten(0, -2), None if mask is None else mask.flatten(0, -2), vocabulary)
        codes, inside = (t.unflatten(0, x.shape[:-1]).expand(*batch, -1).flatten(0, -2) for t in (codes, inside))
        counted = inside & (codes != vocabulary)
        before = torch.cat([torch.full_like(codes[:, :1], END), codes[:, :-1]], dim=1)
        if self.word_dropout:
            hidden = torch.rand(before[:, 1:].shape, device=before.device) < self.word_dropout
            before = torch.cat([before[:, :1], torch.where(hidden, vocabulary, before[:, 1:])], dim=1)
        features = self.network(before, self.memory.flatten(0, -3))  # (B, S, D)
        if (
            torch.is_grad_enabled()
        ):  # for all places, so that a training step is the same operations whatever texts it sees
            weight, bias = self.network.out_weight, self.network.bias
            every = torch.where(counted, codes, END).flatten()
            log_p = CodeLogProb.apply(features.flatten(0, 1), weight, bias, every).view(codes.shape)
            return torch.where(counted, log_p, 0.0).unflatten(0, batch)
        if torch.compiler.is_compiling():  # a graph has no parts that depend on the texts
            log_p = full_precision(self.network.logits(features)).log_softmax(-1)
            log_p = log_p.gather(-1, torch.where(counted, codes, END)[..., None])[..., 0]
            return torch.where(counted, log_p, 0.0).unflatten(0, batch)
        # The vocabulary is by far the widest layer: it is for the tokens that count, and not for the room behind them.
        found = [
            -F.cross_entropy(full_precision(self.network.logits(f)), c, reduction="none")
            for f, c in zip(features[counted].split(TOKENS_AT_ONCE), codes[counted].split(TOKENS_AT_ONCE), strict=True)
        ]
        log_p = torch.zeros(codes.shape, dtype=found[0].dtype, device=codes.device)
        return log_p.masked_scatter(counted, torch.cat(found)).unflatten(0, batch)

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        """k draws (k, *batch, tokens); `max_length` of them, or as many as the network knows."""
        batch = self.memory.shape[:-2]
        uniform = torch.special.ndtr(noise(k, *batch, self.network.longest).to(self.memory)).flatten(0, -2)
        memory = self.memory.expand(k, *self.memory.shape).flatten(0, -3)

        def draw(log_p: Tensor, rows: slice, before: Tensor) -> Tensor:
            log_p = self._wanted(log_p, before)
            if not self.temperature:
                return log_p.argmax(-1)
            return nucleus_draw(log_p / self.temperature, self.top_p, uniform[rows, before.shape[1]])

        return self.write(memory, draw, self.max_length).unflatten(0, (k, *batch))

    def _wanted(self, log_p: Tensor, before: Tensor) -> Tensor:
        """Log-probabilities (b, V) of the token behind those before it (b, t), without what is not to be written."""
        log_p = log_p.clone()
        log_p[:, list(self.unwritten)] = -torch.inf
        if self.repetition_penalty == 1:
            return log_p
        again = torch.zeros_like(log_p, dtype=torch.bool).scatter_(1, before, True)
        return torch.where(again, self.repetition_penalty * log_p, log_p)

    @property
    def mean(self) -> Tensor:
        """The likeliest token each time, (*batch, tokens): an average of texts means nothing."""
        return replace(self, temperature=0.0).sample()[0]

    @torch.no_grad()
    def write(
        self, memory: Tensor, choose: Callable[[Tensor, slice, Tensor], Tensor], longest: int | None = None
    ) -> Tensor:
        """Texts (B, longest) of memory (B, 1 + M, D), each token chosen by `choose(log-probabilities (b, V), rows, the tokens
        before it (b, t))`."""
        longest = min(longest or self.network.longest, self.network.longest)
        texts = torch.full((len(memory), longest), END, device=memory.device)
        for first in range(0, len(memory), ROWS_AT_ONCE):
            rows = slice(first, min(first + ROWS_AT_ONCE, len(memory)))
            caches = self.network.new_caches(memory)
            token = texts.new_full((rows.stop - rows.start, 1), END)
            going = torch.ones(len(token), dtype=torch.bool, device=token.device)
            for t in range(longest):
                h = self.network(token, memory[rows], caches)[:, 0]  # (b, D)
                log_p = full_precision(self.network.logits(h)).log_softmax(-1)
                token = torch.where(going, choose(log_p, rows, texts[rows, :t]), END)[:, None]
                texts[rows, t] = token[:, 0]
                going &= token[:, 0] != END
                if not going.any():
                    break
        return texts

    def tempered(self, temperature: float) -> Sentences:
        return replace(self, temperature=self.temperature * temperature)


def nucleus_draw(logits: Tensor, top_p: float, uniform: Tensor) -> Tensor:
    """One category of logits (B, V) each, by uniform numbers (B,): of the likeliest ones alone, as few as have top_p."""
    p, order = logits.softmax(-1).sort(dim=-1, descending=True)
    edges = p.cumsum(-1)
    if top_p < 1:
        kept = (edges - p < top_p).sum(-1, keepdim=True)  # at least one
        edges = torch.minimum(edges, edges.gather(-1, kept - 1))
    place = (uniform[:, None] * edges[:, -1:] > edges).sum(-1, keepdim=True).clamp_max(p.shape[-1] - 1)
    return order.gather(-1, place)[:, 0]


class CodeLogProb(torch.autograd.Function):
    """log softmax(features @ weight.T + bias) at the codes, (n,), in the precision of autocast, without a float32 copy of all
    the logits, which would cost a quarter of a training step."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, codes: Tensor) -> Tensor:
        device = features.device.type
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else features.dtype
        h, w = features.to(low), weight.to(low)
        p = torch.addmm(bias.to(low), h, w.T)  # (n, V)
        top = p.amax(1, keepdim=True)
        total = p.sub_(top).exp_().sum(1, keepdim=True)  # (n, 1)
        ctx.save_for_backward(p, total, h, w, codes)
        ctx.dtypes = features.dtype, weight.dtype
        logit = (full_precision(features) * weight[codes]).sum(1) + bias[codes]
        return logit - full_precision(top)[:, 0] - full_precision(total)[:, 0].log()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # type: ignore[override]
        p, total, h, w, codes = ctx.saved_tensors
        gradient = gradient.to(p.dtype)[:, None]
        slope = p * (-gradient / total).to(p.dtype)  # (n, V); autocast of CUDA sums up in 32 bits
        slope.scatter_add_(1, codes[:, None], gradient)
        features, weight = ctx.dtypes
        return (slope @ w).to(features), (slope.T @ h).to(weight), slope.sum(0).to(weight), None


class CausalLikelihood(Likelihood):
    """Texts as rows of codes: a causal transformer writes token after token, given z.

    It sees the decoder's output, (2, width): a vector that is added to every token, and one that every layer looks at.

    Args:
        vocabulary: number of codes.
        width, heads, layers, dropout: of the transformer.
        unwritten: codes that are never written; they are scored as all others.
        word_dropout: rate at which training hides a token from the network that continues from it, so that it needs z (Bowman et
            al. 2016, arXiv 1511.06349).

    Example:
        >>> from vaekit.distributions.causal import CausalLikelihood
        >>> head = CausalLikelihood((6,), vocabulary=20, width=8, heads=2, layers=1)
        >>> head.param_shape, head(torch.zeros(1, 2, 8)).log_prob(torch.ones(1, 6)).shape
        ((2, 8), torch.Size([1]))
    """

    real_valued = False
    any_length = True

    def __init__(
        self,
        event_shape: tuple[int, ...],
        *,
        vocabulary: int = 2,
        width: int = SIZES["base"]["width"],
        heads: int = SIZES["base"]["heads"],
        layers: int = SIZES["base"]["layers"],
        dropout: ShareBelow1 = SIZES["base"]["dropout"],
        unwritten: Sequence[int] = (),
        word_dropout: Share = 0.1,
    ):
        super().__init__(event_shape)
        if len(event_shape) != 1:
            raise UserError("likelihood 'causal' is for texts: leave it out")
        if width % heads:
            raise UserError(f"likelihood.width={width} does not divide into likelihood.heads={heads}")
        for name, rate in {"dropout": dropout, "word_dropout": word_dropout}.items():
            if not 0 <= rate < 1:
                raise UserError(f"likelihood.{name}={rate} has to be a share from 0 to below 1")
        network = dict(width=width, heads=heads, layers=layers, dropout=dropout)
        self.options = {"vocabulary": vocabulary, **network, "unwritten": list(unwritten), "word_dropout": word_dropout}
        self.param_shape = (2, width)
        self.network = LanguageModel(vocabulary, event_shape[0], **network)  # type: ignore[arg-type]

    @classmethod
    def from_data(cls, chunks: Chunks, unit: Tensor, **options: Any) -> Likelihood:
        return cls(tuple(unit.shape), **options)

    def forward(self, h: Tensor) -> Sentences:  # type: ignore[override]
        word_dropout = self.options["word_dropout"] if self.training else 0.0
        return Sentences(self.network, h, unwritten=self.options["unwritten"], word_dropout=word_dropout)

    def values_per_row(self, shape: Sequence[int]) -> int:
        return shape[0] * self.options["width"] * 4

    def support(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x < self.options["vocabulary"])

    support_text = "codes of tokens"
    support_fix = "leave likelihood out"
