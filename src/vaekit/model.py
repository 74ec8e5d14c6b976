"""The core: a latent-variable model is a prior p(z|y), a decoder p(x|z,y) and an encoder q(z|x,y).

    prior p(z|y)  ->  z  ->  decoder p(x|z,y)        y is whatever is known, or nothing
    encoder q(z|x,y)                                  in training only: at use, z comes from the prior

Shapes: k samples, B rows; `z` is (k, B, latent_dim), `x` is (B, *event). Every log-probability is in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.distributions import (
    DataDistribution,
    Distribution,
    Likelihood,
    Noise,
    NormalPosterior,
    Prior,
    StandardNormalPrior,
    kl_divergence,
)
from vaekit.distributions.base import full_precision

Given = Tensor | Mapping[str, Tensor] | None
"""What is known of y: of one condition a tensor (B, ...), or several by name. None, {} and a name left out: nothing."""
Features = Tensor | Mapping[str, Tensor]
"""What networks see of y: a tensor (B, features), or several by name, each (B, ...), such as the tokens of a picture."""


@dataclass
class Draw:
    """k samples of z for each of B rows, and the three distributions that they came from and lead to.

    What costs time is computed when it is first asked for. Log-probabilities are in nats.

    Attributes:
        x: (B, *event), the rows.
        mask: (B, *event), True where a value is observed; None: all of x is.
        z: (k, B, *latent), the samples.
        posterior: q(z|x,y) over (B, *latent).
        prior: p(z|y) over (B, *latent).
        likelihood: p(x|z,y) over (k, B, *event).
        decode: other latents of these rows (k, B, *latent) -> p(x|z,y).
        penalty: a scalar that the model asks to be minimised beside any objective, such as the loss of a codebook.

    Example:
        >>> draw = vae.model_.draw(torch.zeros(8, 3), k=5)
        >>> draw.z.shape, draw.log_px.shape, draw.kl.shape
        (torch.Size([5, 8, 2]), torch.Size([5, 8]), torch.Size([8]))
    """

    x: Tensor  # (B, *event)
    mask: Tensor | None  # (B, *event), True where observed; None: all of x is
    z: Tensor  # (k, B, *latent)
    posterior: Distribution  # over (B, *latent)
    prior: Distribution  # over (B, *latent)
    likelihood: DataDistribution  # over (k, B, *event)
    decode: Callable[[Tensor], DataDistribution]  # other latents of these rows (k, B, *latent) -> p(x|z,y)
    penalty: Tensor | float = 0.0  # what the model asks to be minimised beside any objective, such as a codebook's loss

    @cached_property
    def log_px(self) -> Tensor:
        """log p(x|z,y), (k, B)."""
        return self.likelihood.log_prob(self.x, self.mask)

    @cached_property
    def log_pz(self) -> Tensor:
        """log p(z|y), (k, B)."""
        return self.prior.log_prob(self.z)

    @cached_property
    def log_qz(self) -> Tensor:
        """log q(z|x,y), (k, B)."""
        return self.posterior.log_prob(self.z)

    @cached_property
    def log_weight(self) -> Tensor:
        """log p(x|z,y) + log p(z|y) - log q(z|x,y), (k, B): the log of the importance weight of z."""
        return self.log_px + self.log_pz - self.log_qz

    @cached_property
    def kl(self) -> Tensor:
        """KL(q(z|x,y) || p(z|y)), (B,): in closed form where there is one, else the mean of log q - log p over the samples."""
        analytic = kl_divergence(self.posterior, self.prior)
        return (self.log_qz - self.log_pz).mean(0) if analytic is None else analytic

    @property
    def elbo(self) -> Tensor:
        """The evidence lower bound of each row, (B,)."""
        return self.log_px.mean(0) - self.kl


class Model(nn.Module):
    """Base of models of every latent structure. A subclass adds `posterior`, `draw`, and the two steps `_prior` and `_decode`.

    Attributes:
        latent_dim: length of z, flat.
        likelihood: the `Likelihood` that turns the decoder's output into p(x|z,y).
        condition: module that turns y into features; None: the model has no condition.

    Example:
        >>> model = vae.model_
        >>> model.prior(n=4).sample(2).shape  # (k, B, latent_dim)
        torch.Size([2, 4, 2])
        >>> model.decode(torch.zeros(4, 2)).mean.shape
        torch.Size([4, 3])
    """

    latent_dim: int  # length of z, flat
    likelihood: Likelihood
    condition: nn.Module | None

    def prior(self, y: Given = None, n: int = 1) -> Distribution:
        """p(z|y): a distribution over (B, latent_dim). B is the number of rows of y, or `n` if y is None."""
        known = list(y.values()) if isinstance(y, Mapping) else [] if y is None else [y]
        rows = known[0].shape[0] if known else n  # not len(), which an export takes for a constant
        return self._prior(self._features(y, rows), rows)

    def decode(self, z: Tensor, y: Given = None, guidance: float = 0.0) -> DataDistribution:
        """p(x|z,y) for z (B, latent_dim) or (k, B, latent_dim): a distribution over z's leading shape.

        Args:
            guidance: what y changes about the decoder's output is multiplied by 1 + guidance. Where that output is logits, or means
                with one scale, this is p(x|z,y) (p(x|z,y) / p(x|z))^guidance, classifier-free guidance (Ho & Salimans 2022, arXiv
                2207.12598).
        """
        k_z = z if z.ndim == 3 else z.unsqueeze(0)
        h = self._decode(k_z, self._features(y, k_z.shape[1]))
        if guidance:
            h = h + guidance * (h - self._decode(k_z, self._features(None, k_z.shape[1])))
        return self.likelihood(h if z.ndim == 3 else h.squeeze(0))

    def posterior(self, x: Tensor, y: Given = None, mask: Tensor | None = None) -> Distribution:
        """q(z|x,y) for x (B, *event): a distribution over (B, latent_dim). Missing entries (mask False) are not read."""
        raise NotImplementedError

    def draw(
        self, x: Tensor, y: Given = None, *, k: int = 1, mask: Tensor | None = None, noise: Noise = torch.randn
    ) -> Draw:
        """Encode x (B, *event), sample k latents per row by reparameterisation, and decode them.

        Args:
            mask: (B, *event), True where observed; None: all of x is.
            noise: gives standard Normal numbers, `noise(k, B, *shape)`.
        """
        raise NotImplementedError

    def learn(self, x: Tensor) -> None:
        """Learn from rows of the data x (B, *event), once before training. Does nothing unless a subclass has a use for it."""

    def forward(self, x: Tensor, y: Given = None, mask: Tensor | None = None) -> Tensor:
        """The mean of the reconstruction of x, by way of the posterior mean: (B, *event) -> (B, *event)."""
        return self.decode(self.posterior(x, y, mask).mean, y).mean

    def _features(self, y: Given, rows: int) -> Any:
        return None if self.condition is None else self.condition(y, rows)

    def _prior(self, c: Any, rows: int) -> Distribution:
        """c: the condition's `Features`, or None."""
        raise NotImplementedError

    def _decode(self, z: Tensor, c: Any) -> Tensor:
        """z (k, B, latent_dim) -> (k, B, *likelihood.param_shape)."""
        raise NotImplementedError


class LatentModel(Model):
    """A (conditional) variational autoencoder made of replaceable parts.

    Args:
        encoder: network, (B, *likelihood.input_shape) -> (B, posterior.features). With a condition it is called
            as `encoder(x, c)`, c the condition's features; without one as `encoder(x)`. One whose attribute `sees_mask`
            is true also gets `mask=`.
        decoder: network, (B, latent_dim) -> (B, *likelihood.param_shape), called in the same way.
        likelihood: head that turns the decoder's output into p(x|z,y).
        latent_dim: number of latent units.
        prior: p(z|y). Default: the standard Normal.
        posterior: head that turns the encoder's output into q(z|x,y). Default: a diagonal Normal.
        condition: module that turns y into features c, such as `vaekit.nets.ConditionEmbedding`. None: the model has no condition.

    Source: Kingma & Welling 2014, arXiv 1312.6114.

    Example:
        >>> from vaekit.distributions.likelihoods import NormalLikelihood
        >>> from vaekit.nets import MLP
        >>> model = vaekit.LatentModel(MLP((3,), (4,)), MLP((2,), (3,)), NormalLikelihood((3,)), latent_dim=2)
        >>> model.draw(torch.zeros(8, 3)).elbo.shape
        torch.Size([8])
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        *,
        latent_dim: int,
        prior: Prior | None = None,
        posterior: nn.Module | None = None,
        condition: nn.Module | None = None,
    ):
        super().__init__()
        self.latent_dim = latent_dim
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.prior_head = prior if prior is not None else StandardNormalPrior(latent_dim)
        self.posterior_head = posterior if posterior is not None else NormalPosterior(latent_dim)
        self.condition = condition
        self.prior_head.attach(self)

    def posterior(self, x: Tensor, y: Given = None, mask: Tensor | None = None) -> Distribution:
        """q(z|x,y) for x (B, *event): a distribution over (B, latent_dim). Missing entries (mask False) are not read."""
        return self._posterior(blank(x, mask), self._features(y, x.shape[0]), mask)

    def draw(
        self, x: Tensor, y: Given = None, *, k: int = 1, mask: Tensor | None = None, noise: Noise = torch.randn
    ) -> Draw:
        """Encode x (B, *event), sample k latents per row by reparameterisation, and decode them."""
        x, c = blank(x, mask), self._features(y, x.shape[0])
        posterior = self._posterior(x, c, mask)
        z = posterior.sample(k, noise)

        def decode(z: Tensor) -> DataDistribution:
            return self.likelihood(self._decode(z, c))

        return Draw(x, mask, z, posterior, self.prior_head(c, x.shape[0]), decode(z), decode)

    def learn(self, x: Tensor) -> None:
        self.prior_head.learn(self.likelihood.features(x))

    def _prior(self, c: Features | None, rows: int) -> Distribution:
        return self.prior_head(c, rows)

    def _posterior(self, x: Tensor, c: Features | None, mask: Tensor | None) -> Distribution:
        return self.encode(self.likelihood.features(x), c, mask)

    def encode(self, features: Tensor, c: Features | None, mask: Tensor | None = None) -> Distribution:
        """q(z) for what the encoder sees: features of x (B, *likelihood.input_shape), of y, and the mask of what is observed in x."""
        seen = {"mask": mask} if getattr(self.encoder, "sees_mask", False) else {}
        h = self.encoder(features, **seen) if c is None else self.encoder(features, c, **seen)
        return self.posterior_head(full_precision(h))

    def _decode(self, z: Tensor, c: Features | None) -> Tensor:
        k, rows = z.shape[:2]
        flat = z.flatten(0, 1)
        h = self.decoder(flat) if c is None else self.decoder(flat, repeated(c, k))
        return full_precision(h).unflatten(0, (k, rows))


def repeated(c: Features, k: int) -> Features:
    """Repeat the features of B rows k times: (k * B, features)."""
    if isinstance(c, Mapping):
        return {name: t.repeat(k, *[1] * (t.ndim - 1)) for name, t in c.items()}
    return c.repeat(k, 1)


def blank(x: Tensor, mask: Tensor | None) -> Tensor:
    """Set missing entries to 0: a NaN that is only multiplied by 0 comes back in the gradient."""
    return x if mask is None else torch.where(mask, x, 0)
