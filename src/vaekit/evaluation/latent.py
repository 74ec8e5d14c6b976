"""What the KL is made of, and whether the decoder listens to z.

Averaged over rows, KL(q(z|x) || p(z)) = I(x; z) + KL(q(z) || p(z)), q(z) being the mean of all rows' posteriors (Hoffman &
Johnson 2016, "ELBO surgery"). The first part is what z says of x; the second is what the prior misses: samples start from
z that no row has.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.distributions import Distribution, MultivariateNormal, Normal
from vaekit.model import Draw
from vaekit.structures.marginal import marginal
from vaekit.training.data import VALIDATION, BatchNoise, Data, ToBatch, as_is, generator, rows_at_once
from vaekit.training.products import inference
from vaekit.training.stream import Streamed

ROWS = 2000  # every row's z is held against every row's posterior
ROWS_AT_ONCE = 256
VALUES_AT_ONCE = 1 << 22


@inference()
def latent_health(
    model: nn.Module, data: Data | Streamed, *, to_batch: ToBatch = as_is, seed: int = 0, rows: int = ROWS
) -> dict[str, Any]:
    """Information in the latent, in nats, from one z of each of at most `rows` rows that are chosen at random.

    Args:
        model: anything with `draw`. data: packed rows. to_batch: packed rows -> what the model sees.
        seed: of the rows and of z.

    Returns:
        A dict with

        - mutual_information: I(x; z) under q. For N rows it never exceeds log N, which is mutual_information_limit. Near that limit it is
          a lower bound, and marginal_kl an upper bound.
        - marginal_kl: KL(q(z) || p(z)). With a condition p(z) is the mean of all rows' priors, as q(z) is of posteriors.
        - marginal_kl_at_least: the part of it that the mean and covariance of q(z) contribute, which needs no such limit; for
          priors that are the same Normal for every row.
        - shuffle_gap: mean of log p(x|z,y) - log p(x|z',y), z' being the z of another row: 0 if the decoder ignores z.

        A value is None if it has no closed form for this posterior or prior, or needs a second row.

    Source: Hoffman & Johnson 2016, "ELBO surgery".

    Example:
        >>> from vaekit.evaluation import latent_health
        >>> from vaekit.training import Data
        >>> round(latent_health(vae.model_, Data(torch.zeros(8, 3)))["mutual_information_limit"], 4)  # log 8
        2.0794
    """
    order = torch.randperm(len(data), generator=generator(seed, VALIDATION, 0, 0))[:rows]
    draws, gap, compared = [], 0.0, 0
    device = next(model.parameters()).device
    for i, index in enumerate(order.split(rows_at_once(model, data, most=ROWS_AT_ONCE))):
        chunk = data[index].to(device)
        noise = BatchNoise(generator(seed, VALIDATION, i, 1), len(chunk), slice(None))
        x = to_batch(chunk.x, noise.uniform)
        draw = marginal(model, x, chunk.y, mask=chunk.mask, noise=noise.normal)
        if len(chunk) > 1:
            others = draw.decode(draw.z.roll(1, dims=1)).log_prob(draw.x, draw.mask)
            gap += (draw.log_px - others).double().sum().item()
            compared += len(chunk)
        del draw.decode  # it holds what the networks see of y, and the tokens of pictures are large
        draws.append(draw)
    return {
        **information(draws, conditioned=bool(chunk.y)),
        "shuffle_gap": gap / compared if compared else None,
    }


def information(draws: list[Draw], conditioned: bool) -> dict[str, float | None]:
    """Mutual information and marginal KL, where all posteriors are Normals over (B, d), of any covariance."""
    posteriors, priors = [d.posterior for d in draws], [d.prior for d in draws]
    rows = sum(d.z.shape[1] for d in draws)
    found: dict[str, float | None] = {
        "mutual_information": None,
        "mutual_information_limit": math.log(rows),
        "marginal_kl": None,
        "marginal_kl_at_least": None,
    }
    if not all(isinstance(q, (Normal, MultivariateNormal)) and q.loc.ndim == 2 and q.loc.numel() for q in posteriors):
        return found
    z = torch.cat([d.z[0] for d in draws])
    log_q = log_mean(posteriors, z)
    found["mutual_information"] = (torch.cat([d.log_qz[0] for d in draws]).double() - log_q).mean().item()
    if not conditioned:
        found["marginal_kl"] = (log_q - torch.cat([d.log_pz[0] for d in draws]).double()).mean().item()
    elif all(isinstance(p, Normal) for p in priors):
        found["marginal_kl"] = (log_q - log_mean(priors, z)).mean().item()
    if all(isinstance(p, Normal) for p in priors):
        found["marginal_kl_at_least"] = moment_kl(posteriors, priors)
    return found


def log_mean(distributions: list[Distribution], z: Tensor) -> Tensor:
    """The log-density of the mean of all rows' distributions at each z (N, d) -> (N,) float64.

    Args:
        distributions: over (B, d) each, of N rows in all.
    """
    full = any(isinstance(q, MultivariateNormal) for q in distributions)  # whose matrices are expanded with z
    size = max(1, VALUES_AT_ONCE // (ROWS_AT_ONCE * z.shape[1] ** (2 if full else 1)))
    parts = []
    for some in z.split(size):
        each = [q.log_prob(some[:, None, :].expand(-1, len(q.mean), -1)) for q in distributions]
        parts.append(torch.cat(each, dim=1).double().logsumexp(1))
    return torch.cat(parts) - math.log(sum(len(q.mean) for q in distributions))


def moment_kl(posteriors: list[Any], priors: list[Any]) -> float | None:
    """KL of the Normal with the mean and covariance of q(z) from p(z); None where p(z) differs between rows.

    For a Normal p, KL(q || p) = KL(q || fitted) + KL(fitted || p), so that this part is a lower bound. What N rows make of
    chance alone, about d (d + 3) / 4N, is taken off.
    """
    p_loc, p_scale = (torch.cat([getattr(p, n).expand_as(p.loc) for p in priors]) for n in ("loc", "scale"))
    if not (p_loc.eq(p_loc[0]).all() and p_scale.eq(p_scale[0]).all()):
        return None
    means = (torch.cat([q.loc for q in posteriors]) - p_loc).div(p_scale).double()
    rows, d = means.shape
    within = torch.stack([covariances(q).sum(0) for q in posteriors]).sum(0) / rows
    covariance = torch.atleast_2d(means.T.cov(correction=0)) + within / p_scale[0].outer(p_scale[0])
    kl = 0.5 * (covariance.trace() - d + means.mean(0).square().sum() - torch.linalg.slogdet(covariance).logabsdet)
    return max(0.0, kl.item() - d * (d + 3) / (4 * rows))


def covariances(q: Any) -> Tensor:
    """(B, d, d) float64"""
    if isinstance(q, MultivariateNormal):
        return (q.factor @ q.factor.mT).double()
    return q.scale.expand_as(q.loc).square().double().diag_embed()
