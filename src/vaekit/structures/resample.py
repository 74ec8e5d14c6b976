"""What belongs in the gaps: draws from p(missing | observed) (Rezende et al. 2014; Mattei & Frellsen 2019, arXiv 1812.02633).

z comes from q(z | observed), and is chosen among several by its importance weight p(observed, z) / q(z | observed), so that an
encoder that is somewhat wrong about rows with gaps does not matter as more of them are tried.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vaekit.distributions import normal_noise
from vaekit.training.data import Data, rows_at_once
from vaekit.training.products import inference

# Importance sampling needs about e^KL(p || q) candidates (Chatterjee & Diaconis 2018, arXiv 1511.01437): q may be 4.6 nats off.
CANDIDATES = 100  # latents, or texts, tried for each row
GUESSES = 100  # draws whose mean, or likeliest value, is the best guess: the mean is off by a tenth of their spread


@inference()
def complete(model: nn.Module, data: Data, draws: int, generator: torch.Generator, k: int = CANDIDATES) -> Tensor:
    """Rows with gaps (mask False) -> `draws` completed rows of each, (draws, B, *event).

    Args:
        model: anything with `draw`. data: what the model sees of B rows, and their mask. k: latents tried for each row.
    """
    rows = rows_at_once(model, data, max(k, draws))
    if len(data) > rows:
        return torch.cat([complete(model, chunk, draws, generator, k) for chunk in data.chunks(rows)], 1)
    noise = normal_noise(generator)
    draw = model.draw(data.x, data.y, k=k, mask=data.mask, noise=noise)  # type: ignore[operator]
    weights = draw.log_weight.softmax(0).T.cpu()  # (B, k), where the generator is
    chosen = torch.multinomial(weights, draws, replacement=True, generator=generator).T  # (draws, B)
    z = draw.z.gather(0, chosen.to(draw.z.device).unsqueeze(-1).expand(-1, -1, draw.z.shape[-1]))
    return draw.decode(z).sample_given(data.x, data.mask, noise)
