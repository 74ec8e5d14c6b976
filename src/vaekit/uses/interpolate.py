"""Paths between two latents, and how smooth the decoded rows are.

Every path is called as `path(a, b, steps, decode_mean)` and gives `steps` points from a to b, both included:
a, b (d,) -> (steps, d). `decode_mean` (n, d) -> (n, *event) is the decoder, which only `geodesic` asks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.errors import UserError, near_matches
from vaekit.fitted import Fitted
from vaekit.training.products import inference
from vaekit.uses import paths

Decode = Callable[[Tensor], Tensor]
ITERATIONS = 200  # of L-BFGS
HIGH = 1e6  # of an energy that is 1 on the straight line


def of_tensors(path: Callable[..., np.ndarray]) -> Callable[..., Tensor]:
    """A path of `vaekit.uses.paths` between tensors."""

    @wraps(path)
    def between(a: Tensor, b: Tensor, steps: int, decode_mean: Decode | None = None) -> Tensor:
        ends = (t.detach().cpu().numpy() for t in (a, b))
        return torch.from_numpy(path(*ends, steps)).to(a)

    return between


linear, spherical = of_tensors(paths.linear), of_tensors(paths.spherical)


def geodesic(a: Tensor, b: Tensor, steps: int, decode_mean: Decode | None = None) -> Tensor:
    """The path along which the decoded rows change least: a shortest path under the decoder's pull-back metric
    (Arvanitidis et al. 2018, arXiv 1710.11379; Shao et al. 2018, arXiv 1711.08014).

    Its points minimise the energy sum |g(z_i+1) - g(z_i)|^2 of the decoded path, from the straight line on and with the
    ends fixed; so decoded steps are also even. It never has more energy than the straight line, and it is a local
    minimum: where the decoder folds there may be a shorter one elsewhere.

    Raises:
        UserError: no decoder is given, or what it gives does not change with z by degrees (categories).
    """
    if decode_mean is None:
        raise UserError("a geodesic follows the decoder: give decode_mean, (n, d) -> (n, *event)")
    line = linear(a, b, steps).detach()
    if steps < 3 or torch.equal(a, b):
        return line
    inner = line[1:-1].clone().requires_grad_()
    optimizer = torch.optim.LBFGS([inner], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def path() -> Tensor:
        return torch.cat([line[:1], inner, line[-1:]])

    with torch.enable_grad():
        # In units of the straight line's energy, so that the optimiser's tolerances mean the same for all data.
        unit = energy(decode_mean(line)).detach().clamp_min(torch.finfo(line.dtype).tiny)

        def closure() -> Tensor:
            loss = energy(decode_mean(path())) / unit
            if not loss.requires_grad:
                raise UserError(
                    "a geodesic needs a decoder with continuous output, and this one decodes categories: "
                    "use path 'linear' or 'spherical'"
                )
            (gradient,) = torch.autograd.grad(loss, [inner])
            # Where the decoder gives no number the line search must turn back, and can on a high finite one only.
            inner.grad = gradient.nan_to_num(0.0, 0.0, 0.0)
            return loss.detach().nan_to_num(HIGH, HIGH)

        optimizer.step(closure)  # type: ignore[arg-type]
    found = path().detach()
    with inference():
        better = energy(decode_mean(found)) <= energy(decode_mean(line))  # False for NaN as well
    return found if better else line


PATHS: dict[str, Callable[..., Tensor]] = {"linear": linear, "spherical": spherical, "geodesic": geodesic}


def between(fitted: Fitted, ends: Any, steps: int, y: Any = None, path: str | None = None, **writing: Any) -> Any:
    """Rows on the way from the first of two rows to the second, both included; see `vaekit.VAE.interpolate`.

    path: of `PATHS`; None: what suits the kind of data.
    """
    chosen = path or fitted.kind.path
    if chosen not in PATHS:
        raise UserError(f"path={chosen!r} is not one of the choices{near_matches(chosen, PATHS)}")
    fitted = fitted.precise()
    a, b = fitted.encode(ends, y)

    def decode_mean(z: Tensor) -> Tensor:
        given = {name: values.to(fitted.device) for name, values in fitted.pack_conditions(y, len(z)).items()}
        return fitted.model.decode(z.to(fitted.device), given or None).mean.cpu()

    return fitted.decode(PATHS[chosen](a, b, steps, decode_mean), y, **writing)


def smoothness(points: Tensor) -> dict[str, float]:
    """Measure how a decoded path (steps, *event) gets from one end to the other; at least 2 steps.

    Returns:
        length: sum of the Euclidean lengths of its steps, in the units of `points`.
        detour: length / straight distance of the ends; 1 is straight, infinite for a path that ends where it began.
        evenness: largest step / mean step; 1 is perfectly even, steps - 1 is one jump.
    """
    if len(points) < 2:
        raise UserError(f"a path of {len(points)} points has no steps: give at least 2")
    flat = points.double().flatten(1)
    steps, straight = flat.diff(dim=0).norm(dim=1), (flat[-1] - flat[0]).norm().item()
    length = steps.sum().item()
    still = length == 0
    return {
        "length": length,
        "detour": 1.0 if still else length / straight if straight else float("inf"),
        "evenness": 1.0 if still else (steps.max() / steps.mean()).item(),
    }


def energy(decoded: Tensor) -> Tensor:
    """sum |x_i+1 - x_i|^2 of a decoded path (steps, *event)."""
    return decoded.diff(dim=0).square().sum()
