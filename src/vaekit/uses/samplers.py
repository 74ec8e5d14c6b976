"""Priors that are learned after training, on the codes of the data: where the aggregated posterior q(z|y) is not the
prior, draws from q(z|y) decode to better rows (Ghosh et al. 2020, arXiv 1903.12436).

They are the same modules as the priors that are trained jointly, and they are trained by the same loop.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.distributions import Distribution, Noise, Normal, Prior, normal_noise
from vaekit.distributions.priors import FlowPrior, MixturePrior
from vaekit.errors import UserError, note
from vaekit.model import Draw, LatentModel
from vaekit.objectives import Objective
from vaekit.training import Data, Rows, Training, fit, launch
from vaekit.training.data import fixed_uniform, generator, rows_at_once
from vaekit.training.guards import seeded
from vaekit.training.products import inference

SAMPLERS: dict[str, type[Prior]] = {"gmm": MixturePrior, "flow": FlowPrior}
"""Beside "prior", which is the model's own."""
STEPS, BATCH, PASSES = 3000, 512, 300  # steps, or passes where the rows are few
STEPS_A_PASS = 8  # at least, down to batches of `LEAST` rows: of few rows one batch a pass is too few steps in all
LEAST = 32
COMPARED, DRAWS = 2000, 8  # rows whose codes are compared, at most, and draws of each
NARROW = 1e-4  # spread of a code that is known by a draw alone


@dataclass
class Nothing:
    """A likelihood that ignores x, so that the ELBO is that of the code alone."""

    shape: tuple[int, ...]

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x.new_zeros(self.shape)


class Codes(nn.Module):
    """A model to train: a prior over codes x = (loc, scale) of q(z|x,y), (B, 2, latent_dim). `condition` is a copy and stays
    as it was trained."""

    def __init__(self, prior: Prior, condition: nn.Module | None):
        super().__init__()
        self.prior = prior
        self.condition = copy.deepcopy(condition).requires_grad_(False) if condition else None

    def draw(
        self, x: Tensor, y: Any = None, *, k: int = 1, mask: Tensor | None = None, noise: Noise = torch.randn
    ) -> Draw:
        posterior = Normal(1, x[:, 0], x[:, 1])
        z, likelihood = posterior.sample(k, noise), Nothing((k, len(x)))
        prior = self.prior(features(self.condition, y, len(x)), len(x))
        return Draw(x, None, z, posterior, prior, likelihood, lambda z: likelihood)  # type: ignore[arg-type, return-value]


class CodeLikelihood(Objective):
    """-log p(z|y) of the codes."""

    def __call__(self, draw: Draw, progress: Tensor | float) -> tuple[Tensor, dict[str, Tensor]]:
        loss = -draw.log_pz.mean()
        return loss, {"code_nll": loss.detach()}

    def validation(self, draw: Draw) -> Tensor:
        return draw.log_pz.mean(0)


def features(condition: nn.Module | None, y: Any, rows: int) -> Tensor | None:
    if condition is None:
        return None
    with inference():
        return condition(y, rows)


def new_sampler(model: nn.Module, build: Callable[[int, int], Prior]) -> Prior:
    """Make a sampler with fresh weights for this model. UserError if its latents have their own structure."""
    if not isinstance(model, LatentModel):
        raise UserError(
            f"a {type(model).__name__} learns how its latents depend on each other in training: use sampler 'prior'"
        )
    return build(model.latent_dim, 0 if model.condition is None else model.condition.features)  # type: ignore[arg-type]


def fit_sampler(
    model: LatentModel,
    build: Callable[[int, int], Prior],
    train: Rows,
    valid: Rows,
    encode: Callable[[Data], Distribution],
    seed: int,
) -> Prior:
    """Learn q(z|y) of a trained model.

    Args:
        build: (latent_dim, condition_features) -> one of `SAMPLERS`.
        train, valid: packed rows. If they do not fit into memory, it sees some of them.
        encode: rows -> q(z|x,y) by this model.
    """
    device = next(model.parameters()).device
    with seeded(seed):
        prior = new_sampler(model, build).to(device)
        train, valid = train.in_memory(seed), valid.in_memory(seed)
        codes = [codes_of(model, data, encode) for data in (train, valid)]
        loc, scale = codes[0].x.unbind(1)
        # At draws: means alone lie too close together, most of all in units out of use.
        prior.start_at(loc + scale * torch.randn_like(loc))
        batch = min(BATCH, max(LEAST, len(train) // STEPS_A_PASS))
        passes = min(PASSES, max(1, round(STEPS * batch / len(train))))
        options = Training(
            epochs=passes,
            batch_size=batch,
            seed=seed,
            precision="32-true",
            condition_dropout=0.1,
            device=str(device),
        )
        fit(launch(options), Codes(prior, model.condition), CodeLikelihood(), codes[0], codes[1], options)
    return prior.eval().to(device)


def learn_sampler(
    fitted: Any, name: str, options: dict[str, Any], train: Rows, valid: Rows, *, compare: bool = False
) -> nn.Module | None:
    """Learn where the codes of packed rows lie.

    compare: None, with a note, unless the codes of held-out rows are clearly likelier under it than under the prior.
    """
    model = fitted.model

    def encode(rows: Data) -> Any:
        x = fitted.kind.batch(rows.x, fixed_uniform())
        return model.posterior(x.float(), rows.y, rows.mask)

    sampler = fit_sampler(model, partial(SAMPLERS[name], **options), train, valid, encode, fitted.seed)
    if compare:
        more, error = gain(model, sampler, valid, encode, fitted.seed)
        if not more > 2 * error:
            found = "too few rows were held out to compare the two" if math.isnan(error) else (
                f"it does not fit the codes of held-out rows better ({more:+.2f} +- {error:.2f} nats per row)"
            )  # fmt: skip
            note(f"samples are drawn from the prior, not from sampler {name}: {found}; --sampler {name} uses it anyway")
            return None
    return sampler


@inference()
def gain(
    model: LatentModel, sampler: nn.Module, data: Rows, encode: Callable[[Data], Distribution], seed: int
) -> tuple[float, float]:
    """The gain of a sampler over the model's prior: mean log-density of the codes of held-out rows (at most 2000), in nats per row, and its
    standard error. NaN if there are fewer than 2 rows."""
    some = data.few(COMPARED, seed) if len(data) > COMPARED else data
    codes, draws = codes_of(model, some, encode), normal_noise(generator(seed))
    if len(codes) < 2:
        return math.nan, math.nan
    codes = codes.to(next(model.parameters()).device)
    y, rows = codes.y, len(codes)
    z = Normal(1, codes.x[:, 0], codes.x[:, 1]).sample(DRAWS, draws)
    log_p = [p.log_prob(z).mean(0) for p in (sampler(features(model.condition, y, rows), rows), model.prior(y, rows))]
    difference = (log_p[0] - log_p[1]).double()
    return difference.mean().item(), difference.std().item() / math.sqrt(rows)


@inference()
def codes_of(model: nn.Module, data: Rows, encode: Callable[[Data], Distribution]) -> Data:
    """Location and scale of each row's q(z|x,y). If it is not Normal, a draw and a tiny scale."""
    out = []
    device = next(model.parameters()).device
    for chunk in data.chunks(rows_at_once(model, data, most=1024)):
        q = encode(chunk.to(device))
        loc, scale = (q.loc, q.scale) if isinstance(q, Normal) else (q.sample(1)[0], torch.tensor(NARROW))
        out.append(torch.stack([loc, scale.to(loc).expand_as(loc)], dim=1).float().cpu())
    width = out[0].shape[1:] if out else (2, 1)
    return Data(torch.cat(out) if out else torch.zeros(0, *width), None, data.y)
