"""ELBO and importance-weighted log-likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.distributions import Mixture, Noise, kl_per_unit
from vaekit.errors import UserError
from vaekit.evaluation.health import ACTIVE_VARIANCE, DEAD_COMPONENT, verdict
from vaekit.evaluation.latent import latent_health
from vaekit.model import LatentModel
from vaekit.structures import QuantisedVAE
from vaekit.structures.marginal import marginal
from vaekit.training.data import VALIDATION, BatchNoise, Data, RowNoise, ToBatch, as_is, generator, rows_at_once
from vaekit.training.products import inference
from vaekit.training.stream import Streamed

ROWS_AT_ONCE = 1024  # at most
DRAWS_AT_ONCE = 8192  # of all rows together: few enough to show how far it has come
FILLED_DRAWS = 1024  # the same where each piece is filled up
FEW = 256  # values of a row
SAMPLES_AT_ONCE = 50  # the noise of each row is drawn in blocks of this many samples


class Pieces:
    """Rows in turn, in pieces of at most `size`, whose number is known. Those of a stream are read as they are needed."""

    def __init__(self, data: Any, size: int):
        self.data, self.size = data, size

    def __len__(self) -> int:
        return sum(-(-n // self.size) for n in (self.data.sizes.tolist() if self.data.streams else [len(self.data)]))

    def __iter__(self) -> Iterator[Data]:
        return self.data.chunks(self.size)


Track = Callable[[Any], Iterable[Data]]


def shared_noise(seed: int = 0) -> Noise:
    """Standard Normal noise that is the same for every row, so that a row's score does not depend on the rows beside it.

    Returns:
        A function `noise(k, B, *event)`.

    Example:
        >>> from vaekit.evaluation import shared_noise
        >>> z = shared_noise()(5, 8, 2)
        >>> z.shape, bool((z == z[:, :1]).all())
        (torch.Size([5, 8, 2]), True)
    """
    drawn: tuple[tuple[int, ...], ...] = ()

    def noise(k: int, rows: int, *shape: int) -> Tensor:
        nonlocal drawn
        drawn = (*drawn, (k, 1, *shape))
        return numbers(seed, drawn)[0].expand(k, rows, *shape)

    return noise


@lru_cache(maxsize=256)
def numbers(seed: int, shapes: tuple[tuple[int, ...], ...]) -> tuple[Tensor, Tensor]:
    """The last of several draws, and the generator's state after it. They are kept, so that an export takes them for constants: it would
    draw anew."""
    gen = generator(seed, VALIDATION)
    if before := shapes[:-1]:
        gen.set_state(numbers(seed, before)[1])
    return torch.randn(*shapes[-1], generator=gen, dtype=torch.float64), gen.get_state()


@inference()
def importance_weighted(
    model: nn.Module,
    data: Data | Streamed,
    k: int,
    *,
    to_batch: ToBatch = as_is,
    seed: int = 0,
    track: Track = list,
) -> Tensor:
    """Estimate log p(x|y) of each row by k importance samples from the posterior. What is unknown about y is summed out.

    It is a lower bound in expectation, tight as k grows. Each row has noise of its own, which depends on its content: a score does not
    depend on the rows beside it, and errors average out in the mean. Memory is bounded for every k.

    Args:
        model: anything with `draw`.
        data: packed rows (N, *event).
        k: samples.
        to_batch: packed rows -> what the model sees.
        seed: of the noise.
        track: wraps the pieces of work, which have a length, to show progress.

    Returns:
        (N,) float64, nats.

    Raises:
        UserError: k is below 1.

    Source: Burda et al. 2016, arXiv 1509.00519.

    Example:
        >>> from vaekit.evaluation import importance_weighted
        >>> from vaekit.training import Data
        >>> importance_weighted(vae.model_, Data(torch.zeros(8, 3)), k=5).shape
        torch.Size([8])
    """
    if k < 1:
        raise UserError(f"k is {k}: give at least 1")
    at_once = min(k, SAMPLES_AT_ONCE)
    few = math.prod(data.event) <= FEW  # a picture would wait too long for the rows that fill its piece
    rows = rows_at_once(model, data, at_once, most=(FILLED_DRAWS if few else DRAWS_AT_ONCE) // at_once)
    scores = []
    for chunk in track(Pieces(data, rows)):
        given = len(chunk)
        if few:  # pieces of one size, in which a row is rounded nearly in the same way whatever is beside it
            chunk = chunk.filled(rows)
        own = RowNoise(chunk, seed)
        x = to_batch(chunk.x, own.uniform)
        total = torch.full((len(chunk),), -math.inf, dtype=torch.float64, device=x.device)
        for done in range(0, k, SAMPLES_AT_ONCE):
            some = min(SAMPLES_AT_ONCE, k - done)
            draw = marginal(model, x, chunk.y, k=some, mask=chunk.mask, noise=own.normal)
            total = torch.logaddexp(total, draw.log_weight.double().logsumexp(0))
        scores.append(total[:given] - math.log(k))
    return torch.cat(scores).cpu()


@inference()
def evaluate(
    model: nn.Module,
    data: Data | Streamed,
    *,
    k: int = 500,
    to_batch: ToBatch = as_is,
    seed: int = 0,
    track: Track = list,
) -> dict[str, Any]:
    """Measure a model on `data`: means over its rows, in nats.

    The ELBO, its two parts and the IW-NLL sum out what is unknown about y. The measures of the latent take the likeliest y instead.

    Args:
        model: anything with `draw`. data: packed rows (N, *event). k: importance samples of the IW-NLL.
        to_batch: packed rows -> what the model sees. seed: of the noise. track: wraps the pieces of work, to show progress.

    Returns:
        A dict with elbo, reconstruction, kl; iw_nll and its standard error over rows; kl_per_unit; active_units: the units whose
        posterior mean has a variance over the data above 0.01 (Burda et al. 2016), or above 0.01 of z's own where a learned prior
        made that small; prior_components, and prior_components_used, of a mixture; what `latent_health` measures on at most 2000 of the
        rows; and verdict: a sentence or two.

    Example:
        >>> from vaekit.evaluation import evaluate
        >>> from vaekit.training import Data
        >>> found = evaluate(vae.model_, Data(torch.zeros(8, 3)), k=5)
        >>> found["rows"], len(found["kl_per_unit"])
        (8, 2)
    """
    elbo = reconstruction = 0.0
    kl, units, means, codes, shares = 0.0, [], [], [], []
    for i, chunk in enumerate(data.chunks(rows_at_once(model, data, most=ROWS_AT_ONCE))):
        noise = BatchNoise(generator(seed, VALIDATION, i), len(chunk), slice(None))
        x = to_batch(chunk.x, noise.uniform)
        draw = marginal(model, x, chunk.y, mask=chunk.mask, noise=noise.normal)
        reconstruction -= draw.log_px.double().sum().item()
        kl += draw.kl.double().sum().item()
        per_unit = kl_per_unit(draw.posterior, draw.prior)
        if per_unit is not None:
            units.append(per_unit.double())
        means.append(draw.posterior.mean.double().flatten(1))
        codes.append(draw.z[0].double().flatten(1))
        if isinstance(draw.prior, Mixture):
            shares.append(draw.prior.log_prob_components(draw.z[0]).softmax(-1))
    rows = len(data)
    elbo = -(reconstruction + kl) / rows
    score = importance_weighted(model, data, k, to_batch=to_batch, seed=seed, track=track)
    spread = variance(torch.cat(codes)).clamp_max(1.0)
    active = (variance(torch.cat(means)) > ACTIVE_VARIANCE * spread).sum().item()
    results: dict[str, Any] = {
        "rows": rows,
        "elbo": elbo,
        "reconstruction": reconstruction / rows,
        "kl": kl / rows,
        "iw_nll": -score.mean().item(),
        "iw_nll_standard_error": score.std().item() / math.sqrt(rows) if rows > 1 else math.nan,
        "k": k,
        "kl_per_unit": torch.cat(units).mean(0).tolist() if units else [],
        "active_units": int(active),
        "latent_units": means[0].shape[1],
        **latent_health(model, data, to_batch=to_batch, seed=seed),
    }
    if shares:
        share = torch.cat(shares).mean(0)
        results["prior_components"] = len(share)
        results["prior_components_used"] = int((share > DEAD_COMPONENT / len(share)).sum())
    said = [verdict(results, flat=isinstance(model, LatentModel))]
    if isinstance(model, QuantisedVAE):
        said.append(model.codebook_verdict())
    return {**results, "verdict": " ".join(said)}


def variance(x: Tensor) -> Tensor:
    """The variance of each column of (N, d). d may be 0, for which `Tensor.var` warns."""
    return (x - x.mean(0)).square().mean(0)
