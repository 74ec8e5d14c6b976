"""A density for scoring, whose codes lie where the codes of known rows do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.distributions import Mixture, Normal
from vaekit.errors import UserError
from vaekit.evaluation.likelihood import shared_noise
from vaekit.fitted import Fitted
from vaekit.training.data import Data
from vaekit.uses.scores import Score, by_chunks

CACHE = 8  # densities of exemplars are looked at several times: pieces so much smaller stay in the processor's cache


class Exemplars(Score):
    """log p(x) in nats by `k` importance samples, where z comes from the posterior of a training row, all equally likely (after
    Norouzi et al. 2020, arXiv 2004.04795).

    p(x) = mean over n of the integral of q(z|x_n) p(x|z): a density like any other, of the decoder as it is, with the
    prior put where the codes are. It knows gaps and corners that the prior does not, as a density estimate by kernels
    does, with kernels that are as wide as the model holds right there. A flat model with posterior "normal" only.

    Args:
        k: samples.
        most: the largest number of exemplars, the first of the rows given to `fit`.
    """

    name = "exemplars"
    learns = True

    def __init__(self, k: int = 8, most: int = 2000) -> None:
        super().__init__()
        self.k, self.most = k, most

    def fit(self, fitted: Fitted, X: Any, y: Any = None) -> Exemplars:
        """Learn from the training rows X (N, ...), in random order."""

        def code(model: Any, x: Tensor, rows: Data) -> Tensor:
            q = model.posterior(x, rows.y, rows.mask)
            if not isinstance(q, Normal):
                raise UserError('score "exemplars" needs a flat model with posterior "normal": try "loglik"')
            return torch.stack([q.loc, q.scale.expand_as(q.loc)], dim=1)

        loc, scale = by_chunks(fitted, X, y, code)[: self.most].swapaxes(0, 1)
        self.learned = {"loc": loc, "scale": scale}
        return self

    def __call__(self, fitted: Fitted, X: Any, y: Any = None) -> np.ndarray:
        if not self.learned:
            raise UserError('score "exemplars" has to be fitted to training rows first')
        loc, scale = (torch.from_numpy(self.learned[name]) for name in ("loc", "scale"))
        weights = torch.full((len(loc),), -math.log(len(loc)), dtype=torch.float64)

        def log_p(model: Any, x: Tensor, rows: Data) -> Tensor:
            draw = model.draw(x, rows.y, k=self.k, mask=rows.mask, noise=shared_noise())
            log_pz = Mixture(weights.to(draw.z), loc.to(draw.z), scale.to(draw.z), len(x)).log_prob(draw.z)
            return (draw.log_px + log_pz - draw.log_qz).logsumexp(0) - math.log(self.k)

        densities = CACHE * len(loc) // math.prod(fitted.kind.event_shape)  # beside one decoder output
        return by_chunks(fitted, X, y, log_p, samples=self.k * (1 + densities))
