"""What belongs in the gaps: draws from p(missing | observed) (Rezende et al. 2014; Mattei & Frellsen 2019, arXiv 1812.02633).

z comes from q(z | observed), and is chosen among several by its importance weight p(observed, z) / q(z | observed), so that an
encoder that is somewhat wrong about rows with gaps does not matter as more of them are tried.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vaekit.distributions import normal_noise
from vaekit.evaluation.likelihood import rows_at_once
from vaekit.training import Data

CANDIDATES = 64  # latents tried for each row


@torch.no_grad()
def impute(model: nn.Module, data: Data, draws: int, generator: torch.Generator, k: int = CANDIDATES) -> Tensor:
    """Rows with gaps (mask False) -> `draws` completed rows of each, (draws, B, *event).

    Args:
        model: anything with `draw`. data: what the model sees of B rows. k: latents tried for each row.
    """
    rows = rows_at_once(model, data, max(k, draws))
    if len(data) > rows:
        return torch.cat([impute(model, chunk, draws, generator, k) for chunk in data.chunks(rows)], 1)
    draw = model.draw(data.x, data.y, k=k, mask=data.mask, noise=normal_noise(generator))  # type: ignore[operator]
    chosen = torch.multinomial(
        draw.log_weight.softmax(0).T, draws, replacement=True, generator=generator
    ).T  # (draws, B)
    z = draw.z.gather(0, chosen.unsqueeze(-1).expand(-1, -1, draw.z.shape[-1]))
    x = draw.decode(z).sample(1, normal_noise(generator))[0]
    return x if data.mask is None else torch.where(data.mask, data.x, x)
