"""From latent codes back to rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from vaekit.distributions import normal_noise
from vaekit.errors import UserError
from vaekit.fitted import ROWS_AT_ONCE, Fitted
from vaekit.training.data import Data, generator


@torch.no_grad()
def decode(fitted: Fitted, Z: Any, y: Any = None, *, seed: int | None = None, **writing: Any) -> Any:
    """Latent codes (N, latent_dim) -> rows in the data's own form: the decoder's means, or what the kind shows in their place.

    Args:
        y: conditions, in any form. seed: of what is drawn. writing: see `Kind.written`.
    """
    z = torch.as_tensor(np.asarray(Z, dtype=np.float64))
    width, kind, model = fitted.model.latent_dim, fitted.kind, fitted.precise()
    if z.ndim != 2 or z.shape[1] != width:
        raise UserError(f"latent codes have shape (N, {width}), got {tuple(z.shape)}")
    rows = Data(z.to(fitted.dtype), None, fitted.pack_conditions(y, len(z)))
    noise = normal_noise(generator(fitted.seed if seed is None else seed))
    found = []
    for chunk in rows.chunks(ROWS_AT_ONCE):
        chunk = chunk.to(fitted.device)
        found.append(kind.decoded(model.decode(chunk.x, chunk.y), noise, **writing).cpu())
    return kind.unpack(torch.cat(found))
