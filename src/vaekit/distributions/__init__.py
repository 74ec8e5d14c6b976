"""The three conditional distributions of a VAE: q(z|x,y), p(z|y) and p(x|z,y).

A *distribution* holds tensors and answers for a batch of events; a *head* (a posterior, a prior, a likelihood) is the
module that turns a network's output into one. They are written here, and not taken from `torch.distributions`, for
three reasons: missing entries are masked inside `log_prob`, noise is passed in (so that it can be the same for every
row, or shared out over processes), and a training step does not pay for argument checks.
"""

from vaekit.distributions.autoregressive import AutoregressiveLikelihood, AutoregressiveNormal
from vaekit.distributions.base import DataDistribution, Distribution, Noise, normal_noise
from vaekit.distributions.causal import CausalLikelihood, Sentences
from vaekit.distributions.elementwise import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    Laplace,
    LogisticMixture,
    Normal,
)
from vaekit.distributions.flows import Flow
from vaekit.distributions.kl import kl_divergence, kl_per_unit
from vaekit.distributions.likelihoods import LIKELIHOODS as OF_ONE_KIND
from vaekit.distributions.likelihoods import Likelihood
from vaekit.distributions.mixed import Mixed, MixedLikelihood
from vaekit.distributions.mixtures import Mixture
from vaekit.distributions.multivariate import MultivariateNormal
from vaekit.distributions.posteriors import POSTERIORS, NormalPosterior
from vaekit.distributions.priors import PRIORS, ConditionalNormalPrior, Prior, StandardNormalPrior

LIKELIHOODS: dict[str, type[Likelihood]] = {
    **OF_ONE_KIND,
    "mixed": MixedLikelihood,
    "autoregressive": AutoregressiveLikelihood,
    "causal": CausalLikelihood,
}

__all__ = [
    "LIKELIHOODS",
    "POSTERIORS",
    "PRIORS",
    "AutoregressiveNormal",
    "Bernoulli",
    "Categorical",
    "ConditionalNormalPrior",
    "ContinuousBernoulli",
    "DataDistribution",
    "Distribution",
    "Flow",
    "Laplace",
    "Likelihood",
    "LogisticMixture",
    "Mixed",
    "Mixture",
    "MultivariateNormal",
    "Noise",
    "Normal",
    "NormalPosterior",
    "Prior",
    "Sentences",
    "StandardNormalPrior",
    "kl_divergence",
    "kl_per_unit",
    "normal_noise",
]
