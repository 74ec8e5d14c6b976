"""A trained model as graphs: tensors in and out by name, with nothing random and nothing of one kind of data within.

`vaekit export` traces them, and the server of the explorer runs them as they are. B rows:

    encoder    x, mask, y.NAME              ->  z (B, latent_dim), the posterior's mean
    prior      noise, temperature, y.NAME   ->  z (B, latent_dim)
    decoder    z, y.NAME                    ->  x (B, *event), what the kind shows of p(x|z,y), and what else it tells of it
    draw       z, noise, y.NAME             ->  x (B, *event), drawn from p(x|z,y); of texts at a temperature
    score      x, mask, noise, y.NAME       ->  score (B,): high is normal
    surprise   x, mask, y.NAME              ->  surprise (B, *event): nats, of each value given the others
    complete   x, mask, noise, draws, y.NAME  ->  filled (D, B, *event): D draws of what the gaps may hold
    predict    x, mask                      ->  y: the probability of each class (B, classes), or numbers (B, size)

x (B, *event) is what the model sees, mask (B, *event) is True where it is observed. y.NAME are codes of labels (B,) int32, -1 for
unknown, or standardised numbers (B, size), NaN for unknown. Noise is standard Normal: `noise` (B, n), `draws` (B, D, m).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from vaekit.fitted import Fitted
from vaekit.structures.marginal import likeliest
from vaekit.structures.resample import CANDIDATES
from vaekit.structures.semi_supervised import SemiSupervisedModel
from vaekit.training.data import Data
from vaekit.uses import generate
from vaekit.uses.samplers import features
from vaekit.uses.scores import Score, surprise

Given = Mapping[str, Tensor]
ROWS = 3  # of an example: dimensions of 0 and 1 would be taken for constants
DRAWS = 4  # of an example, for each row


class Graph(nn.Module):
    """Base of the graphs: a copy of the model on the CPU, and what it is called with.

    Attributes:
        name: in `GRAPHS`. takes: which tensors of rows it takes, beside the conditions. random: which of noise and draws it may take.
        turns: what it took of these when it was last called. samples: decoder outputs that it holds for each row.
    """

    name: ClassVar[str]
    takes: tuple[str, ...]
    random: tuple[str, ...] = ()
    samples: int = 1

    @classmethod
    def suits(cls, fitted: Fitted) -> bool:
        """Whether such a model has it. A model without a latent has none."""
        return bool(fitted.model.latent_dim)

    def __init__(self, fitted: Fitted):
        super().__init__()
        self.kind, self.model = fitted.kind, copy.deepcopy(fitted.model).cpu().eval().requires_grad_(False)
        self.turns: dict[str, InTurn] = {}

    def forward(self, given: Given) -> dict[str, Tensor]:
        raise NotImplementedError

    @torch.no_grad()
    def inputs(self, rows: Given, seed: int = 0) -> dict[str, Tensor]:
        """The inputs of the graph for these rows, see `example`."""
        known = {name: t for name, t in rows.items() if name in self.takes or name.startswith("y.")}
        n = rows["z"].shape[0]
        self.turns = {}
        self(known | {name: torch.zeros(n, *[DRAWS] * (name == "draws"), 0) for name in self.random})
        generator = torch.Generator().manual_seed(seed)
        for name, turn in self.turns.items():
            known[name] = torch.randn(*turn.numbers.shape[:-1], turn.used, generator=generator)
        return known

    def turn(self, given: Given, name: str) -> InTurn:
        """The noise of this name."""
        self.turns[name] = InTurn(given[name])
        return self.turns[name]

    def rows(self, given: Given) -> Data:
        return Data(values(given["x"]), given.get("mask"), conditions(given))


class Encoder(Graph):
    name, takes = "encoder", ("x", "mask")

    def forward(self, given: Given) -> dict[str, Tensor]:
        rows = self.rows(given)
        return {"z": self.model.posterior(rows.x, rows.y, rows.mask).mean}


class Prior(Graph):
    """The graph of the sampler that samples are drawn from: the model's own prior, or what was learned of the codes."""

    name, takes, random = "prior", ("temperature",), ("noise",)

    def __init__(self, fitted: Fitted, sampler: str = "prior"):
        super().__init__(fitted)
        self.sampler = None if sampler == "prior" else copy.deepcopy(fitted.samplers[sampler].module).cpu()

    def forward(self, given: Given) -> dict[str, Tensor]:
        y, n = conditions(given), given["noise"].shape[0]
        if self.sampler is None:
            prior = self.model.prior(y, n)
        else:
            prior = self.sampler(features(self.model.condition, y, n), n)
        return {"z": prior.tempered(given["temperature"]).sample(1, self.turn(given, "noise"))[0]}


class Decoder(Graph):
    name, takes = "decoder", ("z",)

    def forward(self, given: Given) -> dict[str, Tensor]:
        told = self.kind.told(self.model.decode(given["z"], conditions(given)))
        return {name: narrow(t) for name, t in told.items()}


class Draw(Graph):
    name, takes, random = "draw", ("z",), ("noise",)

    @classmethod
    def suits(cls, fitted: Fitted) -> bool:
        return super().suits(fitted) and not fitted.kind.mean_samples

    def __init__(self, fitted: Fitted):
        super().__init__(fitted)
        _, self.writing = fitted.kind.spread(1.0)  # how such rows are written, such as the temperature of tokens
        self.takes = ("z", *self.writing)

    def forward(self, given: Given) -> dict[str, Tensor]:
        p = self.model.decode(given["z"], conditions(given))
        writing = {name: given[name] for name in self.writing}
        return {"x": narrow(self.kind.drawn(p, self.turn(given, "noise"), **writing))}


class Scored(Graph):
    """The graph of one score that has learned from its rows."""

    name, takes = "score", ("x", "mask")

    @classmethod
    def suits(cls, fitted: Fitted) -> bool:
        return super().suits(fitted) and not fitted.kind.why_not("scores")

    def __init__(self, fitted: Fitted, score: Score):
        super().__init__(fitted.precise() if score.precise else fitted)
        score = score.fixed(fitted.kind.score_samples)
        self.score, self.random, self.samples = score, score.random, score.samples

    def forward(self, given: Given) -> dict[str, Tensor]:
        rows = self.rows(given)
        x = rows.x.to(next(self.model.parameters()).dtype) if rows.x.is_floating_point() else rows.x
        if isinstance(self.model, SemiSupervisedModel) and not self.random:  # log p(x) sums over what y may be
            rows.y = likeliest(self.model, x, rows.y, rows.mask)
        noise = self.turn(given, "noise") if self.random else None
        return {"score": self.score.of(self.model, x, rows, noise).float()}


class Surprise(Graph):
    name, takes, samples = "surprise", ("x", "mask"), 100

    @classmethod
    def suits(cls, fitted: Fitted) -> bool:
        return bool(fitted.kind.value_names) and Scored.suits(fitted)

    def forward(self, given: Given) -> dict[str, Tensor]:
        rows = self.rows(given)
        return {"surprise": surprise(self.model, rows.x, rows, self.samples)}


class Complete(Graph):
    """See `vaekit.structures.resample.complete`: latents are tried, chosen by their importance weights, and decoded."""

    name, takes, random, samples = "complete", ("x", "mask"), ("noise", "draws"), CANDIDATES

    @classmethod
    def suits(cls, fitted: Fitted) -> bool:
        return fitted.kind.fills

    def forward(self, given: Given) -> dict[str, Tensor]:
        rows, again = self.rows(given), self.turn(given, "draws")
        mask = self.kind.open_to(rows.mask)
        draw = self.model.draw(rows.x, rows.y, k=CANDIDATES, mask=mask, noise=self.turn(given, "noise"))
        edges = draw.log_weight.double().softmax(0).cumsum(0)  # (k, B)
        uniform = torch.special.ndtr(again(1, *again.batch, 1)[0, ..., 0].double())  # (D, B)
        chosen = (uniform.unsqueeze(1) > edges).sum(1).clamp_max(CANDIDATES - 1)  # (D, B)
        z = draw.z.gather(0, chosen.unsqueeze(-1).expand(-1, -1, draw.z.shape[-1]))
        return {"filled": draw.decode(z).sample_given(rows.x, mask, again)}


class Predict(Graph):
    """The graph of predictions of a model with few labels."""

    name, takes = "predict", ("x", "mask")

    @classmethod
    def suits(cls, fitted: Fitted) -> bool:
        return isinstance(fitted.model, SemiSupervisedModel)

    def __init__(self, fitted: Fitted):
        super().__init__(fitted)
        self.temperature = fitted.temperature

    def forward(self, given: Given) -> dict[str, Tensor]:
        x, mask = values(given["x"]), given["mask"]
        return {"y": self.model.predicted(self.model.judge(x, mask), self.temperature)}


GRAPHS: dict[str, type[Graph]] = {
    g.name: g for g in (Encoder, Prior, Decoder, Draw, Scored, Surprise, Complete, Predict)
}


def graphs(fitted: Fitted, sampler: str = "prior", score: Score | None = None) -> dict[str, Graph]:
    """All graphs of a model, by name. score: which has learned what it learns; None: there is no graph of a score."""
    make: dict[type[Graph], Any] = {Prior: partial(Prior, sampler=sampler)}
    if score:
        make[Scored] = partial(Scored, score=score)
    wanted = [g for g in GRAPHS.values() if g.suits(fitted) and (score or g is not Scored)]
    return {g.name: make.get(g, g)(fitted) for g in wanted}


# -- what they are called with -----------------------------------------------------------------------------------------


def conditions(given: Given) -> dict[str, Tensor]:
    """The conditions among the inputs, by name."""
    return {name.removeprefix("y."): values(t) for name, t in given.items() if name.startswith("y.")}


def values(t: Tensor) -> Tensor:
    """Codes, which are int32 outside, where browsers have no larger ones, as the model wants them."""
    return t.long() if t.dtype == torch.int32 else t


def narrow(t: Tensor) -> Tensor:
    """The other way round."""
    return t.int() if t.dtype == torch.int64 else t


class InTurn:
    """Noise from numbers (B, n) or (B, D, n): each call takes the next ones of each row. Without any, n = 0, it counts them and gives
    0."""

    def __init__(self, numbers: Tensor):
        self.numbers, self.used = numbers, 0

    @property
    def batch(self) -> tuple[int, ...]:
        """(B,) or (D, B)."""
        return tuple(self.numbers.shape[:-1])[::-1]

    def __call__(self, k: int, *shape: int) -> Tensor:
        """(k, *batch, *event)"""
        event = (k, *shape[len(self.batch) :])
        width = math.prod(event)
        if self.numbers.shape[-1]:
            part = self.numbers[..., self.used : self.used + width]
        else:
            part = self.numbers.new_zeros(*self.numbers.shape[:-1], width)
        self.used += width
        part = part.unflatten(-1, event)
        return part.movedim(1, 0).movedim(2, 0) if len(self.batch) == 2 else part.movedim(1, 0)


def example(fitted: Fitted, n: int = ROWS, seed: int = 0) -> dict[str, Tensor]:
    """Rows like those that the model was trained on, which it draws itself, as inputs of graphs: x, mask, z and y.NAME."""
    model, kind, rng = fitted.model, fitted.kind, np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    if fitted.conditions.seen:
        y = fitted.conditions.pack(fitted.conditions.fill({}, n, rng), n)
    else:
        y = {name: torch.from_numpy(c.examples(n, rng)) for name, c in fitted.conditions.named.items()}
    if isinstance(model, SemiSupervisedModel):  # what it predicts is unknown, as it is at use
        y = {name: torch.full_like(t, torch.nan if t.is_floating_point() else -1) for name, t in y.items()}
    here = {name: t.to(fitted.device) for name, t in y.items()}
    x = generate.sample_tensors(
        model, n, here, temperature=1.0, mean=kind.mean_samples, generator=generator, likelihood=kind.written
    )  # fmt: skip
    x = x.cpu()
    mask = torch.ones(x.shape, dtype=torch.bool)
    if kind.fills:
        mask = mask & (torch.rand(x.shape, generator=generator) < 0.8)
    z = torch.randn(n, model.latent_dim, generator=generator)
    temperature = torch.tensor(1.0)
    return {"temperature": temperature, "x": narrow(torch.where(mask, x, 0)), "mask": mask, "z": z} | {
        f"y.{k}": narrow(t) for k, t in y.items()
    }


def as_inputs(kind: Any, packed: Data, uniform: Any) -> dict[str, Tensor]:
    """Packed rows as inputs of graphs: x, mask and y.NAME. uniform: see `Kind.batch`."""
    x = kind.batch(packed.x, uniform)
    mask = torch.ones(x.shape, dtype=torch.bool) if packed.mask is None else packed.mask
    short = kind.event_shape[-1] - x.shape[-1]
    x, mask = (nn.functional.pad(t, (0, short)) for t in (x, mask))
    y = {f"y.{name}": narrow(t) for name, t in packed.y.items()}
    return {"x": narrow(torch.where(mask, x, 0)), "mask": mask, **y}
