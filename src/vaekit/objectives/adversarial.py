"""Sharper pictures with an adversary."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.distributions.base import noise_like
from vaekit.distributions.causal import CausalLikelihood
from vaekit.distributions.likelihoods import CategoricalLikelihood
from vaekit.errors import UserError
from vaekit.model import Draw
from vaekit.nets import MLP, ConvEncoder
from vaekit.objectives.base import Objective, Terms, frozen

FEATURES = 64


class VAEGAN(nn.Module, Objective):
    """The ELBO with an adversary, for sharper pictures.

    A discriminator tells data from decoded draws of the prior. Its features also measure the distance of reconstructions.

    Args:
        weight: weight of the decoder's reward for samples that pass, per element of x.
        feature_weight: weight of half the squared distance in the discriminator's features, per element of x.

    Raises:
        UserError: the likelihood is "categorical" or "causal": decoded classes have no gradients.

    Source: Larsen et al. 2016, arXiv 1512.09300.

    Example:
        >>> from vaekit.objectives.adversarial import VAEGAN
        >>> objective = VAEGAN()
        >>> objective.attach(vae.model_)
        >>> sorted(objective(draw)[1])
        ['adversary', 'feature_distance', 'kl', 'reconstruction']
    """

    def __init__(self, *, weight: float = 0.02, feature_weight: float = 0.1):
        super().__init__()
        self.weight, self.feature_weight = weight, feature_weight

    def attach(self, model: Any) -> None:
        for name, choosing in {"categorical": CategoricalLikelihood, "causal": CausalLikelihood}.items():
            if isinstance(model.likelihood, choosing):
                raise UserError(
                    f"objective 'vae_gan' needs decoded values that have gradients, and likelihood {name!r} decodes classes: leave it out"
                )
        shape = model.likelihood.event_shape
        net = ConvEncoder(shape, (FEATURES,)) if len(shape) == 3 else MLP(shape, (FEATURES,))
        self.features = nn.Sequential(net, nn.LayerNorm(FEATURES, elementwise_affine=False))
        self.judge = nn.Linear(FEATURES, 1)

    def forward(self, draw: Draw, progress: Tensor | float = 1.0) -> tuple[Tensor, Terms]:
        reconstruction, kl = -draw.log_px.mean(), draw.kl.mean()
        made = draw.decode(draw.prior.sample(1, noise_like(draw.z))).mean[0]
        elements = draw.x[0].numel()
        real = self.features(draw.x)
        adversary = F.softplus(-self.judge(real)).mean() + F.softplus(self.judge(self.features(made.detach()))).mean()
        features, judge = frozen(self.features), frozen(self.judge)
        reward = F.softplus(-judge(features(made))).mean()
        distance = 0.5 * (features(draw.likelihood.mean[0]) - real.detach()).square().mean()
        loss = reconstruction + kl + adversary + elements * (self.weight * reward + self.feature_weight * distance)
        return loss, {
            "reconstruction": reconstruction.detach(), "kl": kl.detach(),
            "adversary": adversary.detach(), "feature_distance": distance.detach(),
        }  # fmt: skip

    def validation(self, draw: Draw) -> None:
        return None
