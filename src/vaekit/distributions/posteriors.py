"""Posterior heads: the encoder's output -> q(z|x,y). To add one, write a class and name it in `POSTERIORS`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.distributions.elementwise import Normal
from vaekit.distributions.flows import Flow, start_at_identity
from vaekit.distributions.multivariate import MultivariateNormal

MIN_SCALE = 1e-4
SOFTPLUS_OF_ONE = 0.5413248546  # softplus(this) = 1


class NormalPosterior(nn.Module):
    """A Normal with a diagonal covariance: encoder output (B, 2 * latent_dim) -> location and scale.

    The scale is a softplus, not an exponential: it cannot overflow, and it is bounded away from 0.

    Attributes:
        features: size of the encoder's output.

    Example:
        >>> from vaekit.distributions import NormalPosterior
        >>> q = NormalPosterior(2)(torch.zeros(1, 4))
        >>> q.mean, q.scale.round(decimals=3)
        (tensor([[0., 0.]]), tensor([[1., 1.]]))
    """

    def __init__(self, latent_dim: int):
        super().__init__()
        self.features = 2 * latent_dim

    def forward(self, h: Tensor) -> Normal:
        loc, raw = h.chunk(2, dim=-1)
        return Normal(1, loc, F.softplus(raw + SOFTPLUS_OF_ONE) + MIN_SCALE)


class LogVariancePosterior(NormalPosterior):
    """A diagonal Normal by its log-variance, as in Kingma & Welling (2014) and most published models: it can load their weights.

    It can overflow, and nothing bounds it away from 0.

    Example:
        >>> from vaekit.distributions.posteriors import LogVariancePosterior
        >>> LogVariancePosterior(2)(torch.zeros(1, 4)).scale
        tensor([[1., 1.]])
    """

    def forward(self, h: Tensor) -> Normal:
        loc, log_variance = h.chunk(2, dim=-1)
        return Normal(1, loc, (0.5 * log_variance).exp())


class FullPosterior(nn.Module):
    """A Normal with a full covariance, by its Cholesky factor: encoder output (B, d + d (d + 1) / 2) for d latent units.

    Example:
        >>> from vaekit.distributions.posteriors import FullPosterior
        >>> FullPosterior(2).features
        5
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, latent_dim: int):
        super().__init__()
        self.latent_dim = latent_dim
        self.features = latent_dim + latent_dim * (latent_dim + 1) // 2
        rows, columns = torch.tril_indices(latent_dim, latent_dim)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    def forward(self, h: Tensor) -> MultivariateNormal:
        loc, raw = h.split([self.latent_dim, self.features - self.latent_dim], dim=-1)
        # Off the diagonal 1/d, so that at the start, with outputs of size 1, no direction's variance grows with d.
        diagonal = self.rows == self.columns
        entries = torch.where(diagonal, F.softplus(raw + SOFTPLUS_OF_ONE) + MIN_SCALE, raw / self.latent_dim)
        factor = entries.new_zeros(*h.shape[:-1], self.latent_dim, self.latent_dim)
        factor[..., self.rows, self.columns] = entries
        return MultivariateNormal(loc, factor)


class FlowPosterior(nn.Module):
    """Inverse autoregressive flow: a diagonal Normal pushed through autoregressive affine maps that also see the encoder's output.

    The encoder's output is (B, 2 * latent_dim + context). A draw costs one pass.

    Args:
        transforms: number of maps, each in the opposite order of the one before it.
        hidden: widths of each map's network.
        context: features of the encoder that the maps see. None: as many as latent units.

    Source: IAF, Kingma et al. 2016, arXiv 1606.04934.

    Example:
        >>> from vaekit.distributions.posteriors import FlowPosterior
        >>> FlowPosterior(2, hidden=(8,))(torch.zeros(3, 6)).sample(5).shape
        torch.Size([5, 3, 2])
    """

    inverse = False  # the map that is quick to compute leads from the base to z

    def __init__(
        self, latent_dim: int, *, transforms: int = 2, hidden: Sequence[int] = (128,), context: int | None = None
    ):
        super().__init__()
        from zuko.flows import MAF  # zuko takes a second to import

        self.latent_dim = latent_dim
        context = latent_dim if context is None else context
        self.features = 2 * latent_dim + context
        self.flow = start_at_identity(
            MAF(latent_dim, context, transforms=transforms, hidden_features=tuple(hidden)).transform
        )

    def forward(self, h: Tensor) -> Flow:
        loc, raw, context = h.split([self.latent_dim, self.latent_dim, self.features - 2 * self.latent_dim], dim=-1)
        base = Normal(1, loc, F.softplus(raw + SOFTPLUS_OF_ONE) + MIN_SCALE)
        transform = self.flow(context)
        return Flow(base, transform.inv if self.inverse else transform)


class MaskedFlowPosterior(FlowPosterior):
    """Masked autoregressive flow: the same maps the other way round.

    The density of any z costs one pass, a draw `latent_dim` of them. It trains more slowly; `iaf` is the usual choice.

    Source: MAF, Papamakarios et al. 2017, arXiv 1705.07057.

    Example:
        >>> from vaekit.distributions.posteriors import MaskedFlowPosterior
        >>> MaskedFlowPosterior(2, hidden=(8,))(torch.zeros(3, 6)).log_prob(torch.zeros(3, 2)).shape
        torch.Size([3])
    """

    inverse = True


POSTERIORS: dict[str, type[nn.Module]] = {
    "normal": NormalPosterior,
    "log_variance": LogVariancePosterior,
    "full": FullPosterior,
    "iaf": FlowPosterior,
    "maf": MaskedFlowPosterior,
}
