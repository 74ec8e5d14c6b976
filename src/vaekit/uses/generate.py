"""New rows. At use the encoder is left out: z comes from the prior."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaekit.distributions import Distribution, normal_noise
from vaekit.errors import UserError, tell
from vaekit.fitted import Fitted
from vaekit.model import LatentModel
from vaekit.training.data import Data, generator
from vaekit.training.products import inference
from vaekit.uses.samplers import features

ROWS = 1024  # drawn at a time: bounds memory, and stays in the processor's cache


def sample(
    fitted: Fitted,
    n: int,
    y: Any = None,
    *,
    where: Any = None,
    sampler: str = "prior",
    temperature: float = 1.0,
    guidance: float = 0.0,
    mean: bool | None = None,
    seed: int,
    track: Any = list,
    **writing: Any,
) -> Any:
    """n new rows of a kind of data; see `vaekit.VAE.sample`, which gives them in the form that the user has.

    UserError where the sampler has not been learned, or where no row can be what `where` asks for.
    """
    kind, conditions = fitted.kind, fitted.conditions
    if sampler != "prior" and sampler not in fitted.samplers:
        raise UserError(f"sampler {sampler!r} has not been learned: call fit_sampler({sampler!r}, X) first")
    spread, how = kind.spread(temperature)
    likelihood = partial(kind.written, **how, **writing)
    learned = None if sampler == "prior" else fitted.samplers[sampler].module
    model, named = fitted.model, conditions.name(y)

    def draw(rows: int, i: int) -> Any:
        given = conditions.fill(named, rows, np.random.default_rng([seed, i]))
        parts = Data(torch.zeros(rows), None, conditions.pack(given, rows)).chunks(ROWS)
        random = generator(seed, i) if i else generator(seed)
        x = [sample_tensors(
            model, len(part), part.to(fitted.device).y, temperature=spread, guidance=guidance, sampler=learned,
            mean=kind.mean_samples if mean is None else mean, generator=random, likelihood=likelihood,
        ).cpu() for part in parts]  # fmt: skip
        return kind.with_conditions(kind.unpack(torch.cat(x)), given)

    tell(kind.sample_notes())
    return draw(n, 0) if where is None else kind.search(n, where, conditions.named, draw, track)


@inference()
def sample_tensors(
    model: LatentModel,
    n: int,
    y: Mapping[str, Tensor],
    *,
    sampler: nn.Module | None = None,
    temperature: float,
    guidance: float = 0.0,
    mean: bool,
    generator: torch.Generator,
    likelihood: Callable[[Any], Distribution],
) -> Tensor:
    """n rows x ~ p(x|z,y), z ~ p(z|y) with its spread multiplied by `temperature` -> (n, *event).

    sampler: what z is drawn from in place of the model's prior; see `vaekit.uses.samplers`.
    guidance: see `Model.decode`. mean: the mean of p(x|z,y) in place of a draw from it.
    likelihood: p(x|z,y) -> what is drawn from in its place.
    """
    noise = normal_noise(generator)
    prior = model.prior(y, n) if sampler is None else sampler(features(model.condition, y, n), n)
    z = prior.tempered(temperature).sample(1, noise)[0]
    p = likelihood(model.decode(z, y, guidance))
    return p.mean if mean else p.sample(1, noise)[0]
