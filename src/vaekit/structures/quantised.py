"""A quantised VAE: z is a small map of vectors out of a codebook (VQ-VAE, van den Oord et al. 2017, arXiv 1711.00937).

The posterior is certain of one code at each place, so log q(z|x) = 0 and the ELBO is log p(x|z,y) + log p(codes|y): a
true bound on log p(x|y), for p(codes|y) is learned, by an autoregressive network that trains along on the codes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.distributions import DataDistribution, Likelihood, Noise
from vaekit.distributions.base import full_precision
from vaekit.errors import UserError, extra_needed
from vaekit.model import Draw, Given, Model, blank
from vaekit.nets.codes import CausalNetwork, MapDecoder, MapEncoder, RowDecoder, RowEncoder, map_sizes

DECAY = 0.8  # of the codebook's moving averages: a slower one lags behind the encoder, and the prior behind both
DEAD = 2.0  # vectors a batch, on the average: a code with fewer is replaced by one of the encoder's outputs
COLLAPSED = 0.1  # a perplexity below this share of the codes


@dataclass
class Certain:
    """A distribution with all its probability on one z: loc (B, latent_dim)."""

    loc: Tensor

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def scale(self) -> Tensor:
        return torch.zeros_like(self.loc)

    def log_prob(self, x: Tensor) -> Tensor:
        """(*batch, latent_dim) -> (*batch): 0 where x is that z, else minus infinity."""
        return torch.where((x == self.loc).all(-1), 0.0, -torch.inf).to(self.loc)

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        return self.loc.expand(k, *self.loc.shape)

    def tempered(self, temperature: float) -> Certain:
        return self


@dataclass
class CodePrior:
    """p(codes|y) of the model's causal network, over z made of these codes' vectors: (B, latent_dim).

    Attributes:
        c: features of the condition, (B, features) or None. rows: B.
        drawn, codes: a z (k, B, latent_dim), the same for all k, and its codes (B, positions).
    """

    model: QuantisedVAE
    c: Tensor | None
    rows: int
    drawn: Tensor | None = None
    codes: Tensor | None = None
    temperature: float = 1.0

    @property
    def mean(self) -> Tensor:
        """The likeliest code at each place given those before it: an average of codes means nothing."""
        return self.tempered(0.0).sample(1)[0]

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-probability of the codes nearest to z: (k, B, latent_dim) -> (k, B), or (B, latent_dim) -> (B,)."""
        if self.codes is not None and x is self.drawn:
            return self._log_prob(self.codes, self.c).expand(x.shape[0], -1)
        codes = self.model.codes(x)
        if x.ndim == 2:
            return self._log_prob(codes, self.c)
        c = None if self.c is None else self.c.repeat(x.shape[0], 1)
        return self._log_prob(codes.flatten(0, 1), c).unflatten(0, x.shape[:2])

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        """(k, B, latent_dim), one code after the other: as many passes of the network as there are places."""
        uniform = torch.special.ndtr(noise(k, self.rows, self.model.positions).to(self.model.codebook)).flatten(0, 1)
        codes = torch.zeros(uniform.shape, dtype=torch.long, device=uniform.device)
        c = None if self.c is None else self.c.repeat(k, 1)
        with torch.no_grad():
            for i in range(self.model.positions):
                cumulative = self._log_p(codes[:, : i + 1], c)[:, i].exp().cumsum(-1)
                codes[:, i] = (cumulative[:, :-1] < uniform[:, i, None]).sum(-1)
        return self.model.vectors(codes).unflatten(0, (k, self.rows))

    def tempered(self, temperature: float) -> CodePrior:
        return replace(self, temperature=self.temperature * temperature)

    def _log_p(self, codes: Tensor, c: Tensor | None) -> Tensor:
        logits = full_precision(self.model.code_network(codes, c))
        return (logits / max(self.temperature, 1e-6)).log_softmax(-1)

    def _log_prob(self, codes: Tensor, c: Tensor | None) -> Tensor:
        return self._log_p(codes, c).gather(-1, codes[..., None]).squeeze(-1).sum(-1)


class QuantisedVAE(Model):
    """A quantised VAE: z is the code vectors of all places, flattened: (k, B, latent_dim), latent_dim = code_dim * positions.

    So decoding needs no codebook, and paths between two z lead somewhere. While the model trains, `draw` also moves the codebook: each code
    to the moving average of the vectors that it stands for, and codes that went out of use to some of the encoder's outputs, chosen
    by torch's global generator. Over several processes each draw sees its own share of the batch.

    Args:
        likelihood: of pictures (channels, H, W) or rows (columns,).
        condition, condition_features: module that turns y into features, and their number; None and 0 without a condition.
        codes: number of code vectors.
        code_dim: numbers in each.
        side: pictures are halved until the map's sides are at most this; rows become this many vectors.
        width, blocks: of the encoder and the decoder, as for `vaekit.nets.ConvEncoder`.
        prior_channels: width of the network of p(codes|y).
        commitment: weight of the squared distance between the encoder's vectors and their codes, summed over a row.

    Source: VQ-VAE, van den Oord et al. 2017, arXiv 1711.00937.

    Example:
        >>> from vaekit.distributions.likelihoods import NormalLikelihood
        >>> from vaekit.structures import build_quantised
        >>> model = build_quantised(NormalLikelihood((3,)), codes=4, code_dim=2, side=3, width=8, prior_channels=8)
        >>> model.latent_dim  # 3 places, 2 numbers each
        6
    """

    def __init__(
        self,
        likelihood: Likelihood,
        condition: nn.Module | None,
        condition_features: int,
        *,
        codes: int,
        code_dim: int,
        side: int,
        width: int,
        blocks: int,
        prior_channels: int,
        commitment: float,
    ):
        super().__init__()
        try:
            from vector_quantize_pytorch import VectorQuantize
        except ImportError as e:
            raise extra_needed("vq", "vector-quantize-pytorch") from e
        rows = len(likelihood.event_shape) == 1
        nets = (RowEncoder, RowDecoder) if rows else (MapEncoder, MapDecoder)
        height, map_width = (1, side) if rows else map_sizes(likelihood.param_shape, side)[-1]
        shared = {"side": side, "width": width, "blocks": blocks}
        self.likelihood, self.condition, self.commitment = likelihood, condition, commitment
        self.encoder = nets[0](likelihood.input_shape, code_dim, condition_features, **shared)
        self.decoder = nets[1](likelihood.param_shape, code_dim, condition_features, **shared)
        self.code_network = CausalNetwork(height, map_width, codes, condition_features, prior_channels)
        self.quantiser = VectorQuantize(
            code_dim, codes, decay=DECAY, threshold_ema_dead_code=DEAD, rotation_trick=code_dim > 1
        )
        self.map_shape = (code_dim, height, map_width)
        self.positions = height * map_width
        self.latent_dim = code_dim * self.positions

    def posterior(self, x: Tensor, y: Given = None, mask: Tensor | None = None) -> Certain:
        """q(z|x,y) for x (B, *event): certain of one z, (B, latent_dim). Missing entries (mask False) are not read."""
        return Certain(self.vectors(self.codes(self._encode(blank(x, mask), self._features(y, x.shape[0])))))

    def draw(
        self, x: Tensor, y: Given = None, *, k: int = 1, mask: Tensor | None = None, noise: Noise = torch.randn
    ) -> Draw:
        """Encode x (B, *event), take the nearest codes, decode them. All k samples of a row are the same, computed once."""
        x, c = blank(x, mask), self._features(y, x.shape[0])
        z, codes, penalty = self._quantise(self._encode(x, c))
        h = self._decode(z[None], c)
        many = z.expand(k, *z.shape)
        prior = CodePrior(self, c, x.shape[0], many, codes)

        def decode(z: Tensor) -> DataDistribution:
            return self.likelihood(self._decode(z, c))

        likelihood = self.likelihood(h.expand(k, *h.shape[1:]))
        return Draw(x, mask, many, Certain(z), prior, likelihood, decode, penalty)

    # -- the codebook --------------------------------------------------------------------------------------------------

    @property
    def codebook(self) -> Tensor:
        """(codes, code_dim)"""
        return self.quantiser._codebook.embed[0]

    def codes(self, z: Tensor) -> Tensor:
        """Vectors (..., latent_dim) -> the nearest codes, (..., positions)."""
        vectors = z.detach().unflatten(-1, (-1, self.positions)).mT.reshape(-1, self.map_shape[0])
        # The exact distance: a code's own vector must be nearest to itself, however close the next one is.
        far = torch.cdist(vectors.double(), self.codebook.double(), compute_mode="donot_use_mm_for_euclid_dist")
        return far.argmin(-1).reshape(*z.shape[:-1], self.positions)

    def vectors(self, codes: Tensor) -> Tensor:
        """Codes (..., positions) -> their vectors, (..., latent_dim)."""
        return F.embedding(codes, self.codebook).mT.flatten(-2)

    @property
    def perplexity(self) -> float:
        """The effective number of codes in use: the exponential of the entropy of how often training used each code lately. If
        all are used equally often, it is the number of codes."""
        share = self.quantiser._codebook.cluster_size[0].double()
        share = share / share.sum()
        return torch.special.entr(share).sum().exp().item()

    def codebook_verdict(self) -> str:
        """Say what the perplexity means, and what to do."""
        codes, used = len(self.codebook), self.perplexity
        if used >= max(1.1, COLLAPSED * codes):
            return f"The codebook is in use: a perplexity of {used:.0f} out of {codes} codes."
        return (
            f"The codebook has collapsed: a perplexity of {used:.1f} out of {codes} codes. Training replaced unused codes "
            f"by outputs of the encoder, but they fell out of use again: use fewer codes ({max(2, round(2 * used))}), a lower "
            "learning rate, or train for longer."
        )

    def _quantise(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor | float]:
        """Quantise the encoder's output (B, latent_dim). Returns z, through which gradients pass, its codes, and the codebook's loss."""
        if not self.training:
            codes = self.codes(vectors)
            return self.vectors(codes).to(vectors), codes, 0.0
        # In full precision throughout, or the nearest code is not the nearest.
        with torch.autocast(vectors.device.type, enabled=False):
            sequence = vectors.unflatten(-1, (-1, self.positions)).mT
            z, codes, distance = self.quantiser(sequence)
        self.quantiser.zero.requires_grad_(False)  # which the package turns on; a buffer with it cannot leave a GPU
        return z.mT.flatten(1), codes, self.commitment * self.latent_dim * distance.squeeze()

    def _prior(self, c: Tensor | None, rows: int) -> CodePrior:
        return CodePrior(self, c, rows)

    def _encode(self, x: Tensor, c: Tensor | None) -> Tensor:
        return full_precision(self.encoder(self.likelihood.features(x), c)).flatten(1)

    def _decode(self, z: Tensor, c: Tensor | None) -> Tensor:
        k, rows = z.shape[:2]
        h = self.decoder(z.reshape(k * rows, *self.map_shape), None if c is None else c.repeat(k, 1))
        return full_precision(h).unflatten(0, (k, rows))


def build_quantised(
    likelihood: Likelihood,
    condition: nn.Module | None = None,
    condition_features: int = 0,
    *,
    codes: int = 64,
    code_dim: int = 16,
    side: int = 8,
    width: int = 32,
    blocks: int = 1,
    prior_channels: int = 64,
    commitment: float = 0.25,
) -> QuantisedVAE:
    """Make a `QuantisedVAE` with fresh weights. The arguments are those of the class.

    Raises:
        UserError: the data is neither pictures nor rows, an option is too small, or the package vector-quantize-pytorch is missing.

    Example:
        >>> from vaekit.distributions.likelihoods import NormalLikelihood
        >>> from vaekit.structures import build_quantised
        >>> build_quantised(NormalLikelihood((3,)), code_dim=2, side=3, width=8).positions
        3
    """
    if len(likelihood.event_shape) not in (1, 3):
        raise UserError(
            f"the quantised model takes pictures (channels, H, W) or rows (columns,), got {likelihood.event_shape}"
        )
    options = {"code_dim": code_dim, "side": side, "width": width, "blocks": blocks, "prior_channels": prior_channels}
    for name, value in {"codes": codes, **options}.items():
        least = 2 if name == "codes" else 1
        if value < least:
            raise UserError(f"{name}={value} is too small: give at least {least}")
    return QuantisedVAE(likelihood, condition, condition_features, codes=codes, commitment=commitment, **options)
