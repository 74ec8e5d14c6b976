"""Words for the gaps of a text: draws from p(missing | observed).

z comes from q(z | observed), with the gaps hidden, or, one time in two, from p(z): a decoder that hardly needs z leaves it more
open than the encoder thinks. From each z the decoder writes the text from left to right: what is observed is forced, and in a
gap the next token is drawn among those that may come, the one behind the gap included, which ends it. A text so written is
chosen by its importance weight: p / q of its z, and of each token. So the length of what fills a gap comes out right too, and
what was drawn from matters less as more candidates are written (as in `vaekit.structures.resample`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaekit.distributions import normal_noise
from vaekit.errors import UserError
from vaekit.kinds.text import Text
from vaekit.nets.text import END
from vaekit.structures.resample import CANDIDATES
from vaekit.training.data import Data, generator
from vaekit.training.products import inference

GAP = r"(?<!\w)___(?!\w)"
NEVER = -1  # in `Pattern.after`: a code that may not come
BEHIND = "a gap comes after the {} tokens that the model reads of a text: shorten the text"


def fill_in(
    model: nn.Module, kind: Text, texts: np.ndarray, y: Mapping[str, Tensor], draws: int | None, seed: int,
    k: int = CANDIDATES,
) -> list[np.ndarray]:  # fmt: skip
    """Put a word in place of each `___` of texts (N,). Returns `draws` sets of texts, (N,) each; None: one set of the likeliest.

    Args:
        y: packed conditions of the texts. seed: of the draws. k: candidates written for each text.

    Raises:
        UserError: a gap lies behind what the model reads of a text.
    """
    sets = np.empty((draws or 1, len(texts)), dtype=object)
    rows, reader = Data(torch.zeros(len(texts)), None, y), Reader(kind)
    for i, text in enumerate(texts):
        sets[:, i] = text
        if not re.search(GAP, text):
            continue
        try:
            found, weight = candidates(model, kind, reader.pattern(text), rows[i : i + 1].y, k, generator(seed, i))
        except UserError as e:
            raise UserError(f"text {i}: {e}") from e
        sets[:, i] = chosen(found, weight, draws, np.random.default_rng([seed, i]))
    return list(sets)


def chosen(texts: list[str], weight: np.ndarray, draws: int | None, random: np.random.Generator) -> Any:
    """Choose the likeliest of candidates with weights (k,), or draw `draws` of them."""
    if draws is not None:
        return [texts[j] for j in random.choice(len(texts), draws, p=weight)]
    total: dict[str, float] = {}
    for text, w in zip(texts, weight, strict=True):
        total[text] = total.get(text, 0.0) + w
    return max(total, key=total.__getitem__)


@inference()
def candidates(
    model: nn.Module, kind: Text, pattern: Pattern, y: Mapping[str, Tensor], k: int, random: torch.Generator
) -> tuple[list[str], np.ndarray]:
    """Draw k texts that fit a pattern, and their importance weights (k,), which add up to 1.

    Args:
        model: anything with `draw` whose likelihood is one of `Sentences`. y: packed conditions of the one text.
    """
    device = next(model.parameters()).device
    pattern.to(device)
    codes, seen = (t[None, : kind.longest] for t in (pattern.codes, pattern.seen))
    noise = normal_noise(random)
    draw = model.draw(codes, y, k=(k + 1) // 2, mask=seen, noise=noise)  # type: ignore[operator]
    z = torch.cat([draw.z, draw.prior.sample(k // 2, noise)])  # (k, 1, latent_dim)
    log_q = torch.logaddexp(draw.posterior.log_prob(z), draw.prior.log_prob(z)) - math.log(2)
    weight = (draw.prior.log_prob(z) - log_q)[:, 0]  # (k,)
    likelihood = draw.decode(z)
    uniform = torch.rand(kind.longest, k, generator=random, dtype=torch.float64).to(device)
    state = torch.full((k,), pattern.start, device=device)
    path = torch.full((k, kind.longest), pattern.done, device=device)

    def choose(log_p: Tensor, rows: slice, before: Tensor) -> Tensor:
        t = before.shape[1]
        at = state[rows]
        code = pattern.forced[at]  # (b,), NEVER where there is a choice
        free = code == NEVER
        log_q = torch.zeros_like(weight[rows])  # (b,)
        if free.any():
            after = pattern.after[at[free]]  # (n, V)
            q = proposal(log_p[free].masked_fill(after == NEVER, -math.inf), after == at[free, None])
            code[free] = draw_codes(q, uniform[t, rows][free])
            log_q[free] = q.gather(1, code[free, None])[:, 0].log()
        weight[rows] += torch.where(at == pattern.done, 0.0, log_p.gather(1, code[:, None])[:, 0] - log_q)
        path[rows, t] = state[rows] = pattern.after[at, code].long()
        return code

    written = likelihood.write(likelihood.memory[:, 0], choose)  # (k, longest)
    weight = torch.where(state < pattern.unfinished, weight, -math.inf)
    if not weight.isfinite().any():
        raise UserError(BEHIND.format(kind.longest))
    gap_of = pattern.gap_of[path]  # (k, longest)
    fillings = [
        [kind.tokenizer.decode((row[gap == g] - 1).tolist()).strip() for g in range(pattern.gaps)]
        for row, gap in zip(written, gap_of, strict=True)
    ]
    return [pattern.filled(words) for words in fillings], weight.double().softmax(0).cpu().numpy()


def proposal(log_p: Tensor, stays: Tensor) -> Tensor:
    """The probabilities (b, V) to draw codes from, given their log-probabilities (b, V). stays: codes that leave a gap open. If the
    model would hardly end a gap, half of the candidates end it anyway, and their weights make up for it."""
    leaving = log_p.masked_fill(stays, -math.inf).softmax(1)
    return torch.where(leaving.isnan(), log_p.softmax(1), (log_p.softmax(1) + leaving) / 2)


def draw_codes(p: Tensor, uniform: Tensor) -> Tensor:
    """Draw a code from each row of probabilities (b, V) with uniform numbers (b,); never one of probability 0."""
    edges = p.cumsum(1)
    place = torch.searchsorted(edges, (uniform * edges[:, -1])[:, None].to(edges), right=True)
    return place[:, 0].clamp_max((edges < edges[:, -1:]).sum(1))


@dataclass
class Gap:
    """The codes that may fill a gap, (V,) bool each: first, as a start that needs another code after it (a space), and later."""

    first: np.ndarray
    opening: np.ndarray
    further: np.ndarray


class Pattern:
    """A text with gaps, as an automaton over codes.

    Attributes:
        between: the text around its gaps, in one piece more than there are gaps.
        codes, seen: what the encoder reads, (T,): a code for each token, and one for each gap, where seen is False.
        after: (S, V) the state that a code leads to from each state, or NEVER.
        forced: (S,) the only code that may come, or NEVER where there are several.
        gap_of: (S,) the gap that is being filled when a state is come to; -1 for none.
        start, done: the first state, and that behind the end. unfinished: states from here on have a gap before them.
    """

    def __init__(self, between: list[str], items: list[int | Gap], vocabulary: int):
        items = [*items, END]
        self.between, self.gaps = between, len(between) - 1
        self.codes = torch.tensor([END if isinstance(item, Gap) else item for item in items])
        self.seen = torch.tensor([not isinstance(item, Gap) for item in items])
        after: list[np.ndarray] = []
        gap_of: list[int] = []

        def new_state(gap: int = -1) -> int:
            after.append(np.full(vocabulary, NEVER, dtype=np.int32))
            gap_of.append(gap)
            return len(after) - 1

        self.done = enter = new_state()
        after[enter][END] = enter
        self.unfinished, gap = 0, self.gaps
        for item in reversed(items):  # so that what follows is known
            following, follow = after[enter], enter
            if not isinstance(item, Gap):
                enter = new_state()
                after[enter][item] = follow
                continue
            self.unfinished, gap = self.unfinished or len(after), gap - 1
            inside, opened, enter = new_state(gap), new_state(gap), new_state()
            after[inside][item.further] = inside
            after[inside] = np.where(following == NEVER, after[inside], following)
            after[opened][item.further] = inside
            after[enter][item.first], after[enter][item.opening] = inside, opened
        self.start = enter
        self.after, self.gap_of = torch.from_numpy(np.stack(after)), torch.tensor(gap_of)
        allowed = self.after != NEVER
        self.forced = torch.where(allowed.sum(1) == 1, allowed.long().argmax(1), NEVER)

    def to(self, device: torch.device) -> None:
        for name in ("codes", "seen", "after", "gap_of", "forced"):
            setattr(self, name, getattr(self, name).to(device))

    def filled(self, words: list[str]) -> str:
        return self.between[0] + "".join(w + behind for w, behind in zip(words, self.between[1:], strict=True))


class Reader:
    """Reads texts with gaps as patterns. What fills a gap has no space in it. A model of words fills in a known word, and if something
    touches the gap ("___,"), a word with the same in its place."""

    def __init__(self, kind: Text):
        if kind.level == "own":
            raise UserError(
                "only models with bpe, word or char tokens fill gaps, and this one has your own tokenizer: train one of these"
            )
        self.kind = kind
        self.spelling = ["", *(kind.tokenizer.decode([i]) for i in range(kind.vocabulary - 1))]
        self.written = ~np.isin(np.arange(kind.vocabulary), sorted(kind.unwritten))
        self.plain = self.written & [s.split() == [s] for s in self.spelling]  # one piece, no space in it
        self.spaced = self.written & [s[:1] == " " and s[1:].split() == [s[1:]] for s in self.spelling]
        self.space = np.array([s == " " for s in self.spelling])

    def pattern(self, text: str) -> Pattern:
        """UserError if a gap is beyond what the model reads of a text, or nothing can fill it."""
        level, longest = self.kind.level, self.kind.longest
        gap = rf"\S*{GAP}\S*" if level == "word" else GAP
        between, gaps = re.split(gap, text), re.findall(gap, text)
        items: list[int | Gap] = []
        spaced = False
        for i, piece in enumerate(between):
            if i:
                items.append(self.word(gaps[i - 1]) if level == "word" else self.gap(spaced))
            # Of byte pairs the space before a word is a part of it.
            spaced = level == "bpe" and i < len(gaps) and piece.endswith(" ")
            items += [code + 1 for code in self.kind.encode([piece[:-1] if spaced else piece])[0]]
        if any(isinstance(item, Gap) for item in items[longest:]):
            raise UserError(BEHIND.format(longest))
        return Pattern(between, items[:longest], self.kind.vocabulary)

    def gap(self, spaced: bool) -> Gap:
        nothing = np.zeros_like(self.plain)
        return Gap(self.spaced, self.space, self.plain) if spaced else Gap(self.plain, nothing, self.plain)

    def word(self, gap: str) -> Gap:
        like = re.compile(r"\S+".join(map(re.escape, re.split(GAP, gap))))
        fitting = self.written & [bool(like.fullmatch(s)) for s in self.spelling]
        if not fitting.any():
            raise UserError(f"the model knows no word that fits {gap!r}: put spaces around the gap")
        nothing = np.zeros_like(fitting)
        return Gap(fitting, nothing, nothing)
