"""How far generated rows are from real ones, in the features of a network.

A distance has a meaning only beside another of the same features and the same number of rows: the Frechet distance of
finite samples is too large by an amount that shrinks as rows are added (Binkowski et al. 2018, arXiv 1801.01401).
`compare` therefore gives the distance of real rows from other real rows, at the same number of rows, as the floor.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaekit.errors import UserError, extra_needed
from vaekit.training.data import generator
from vaekit.training.guards import seeded

Features = Callable[[np.ndarray], np.ndarray]
"""Rows (N, ...) -> their features (N, D)."""

DISTANCES = 4  # an address of random numbers beside those of training.data
KERNEL_ROWS, KERNEL_SUBSETS = 2000, 10  # the kernel distance of more rows is a mean over subsets: memory stays bounded
DISTANCES_AT_ONCE = 1 << 23


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Fréchet distance of the Gaussians fitted to a (N, D) and b (M, D).

    Compare only distances with the same N and M. It is 0 if the means and covariances agree. Needs the extra `metrics`.

    Source: Heusel et al. 2017, arXiv 1706.08500.

    Example:
        >>> from vaekit.evaluation import frechet_distance
        >>> round(frechet_distance(X, X + [2.0, 0.0, 0.0]), 3)  # the covariances agree: 2 squared
        4.0
    """
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
    except ImportError as e:
        raise extra_needed("metrics", "torchmetrics") from e

    x, y = check_features(a, b)
    metric = FrechetInceptionDistance(feature=identity(x.shape[1]))
    metric.update(x - x.mean(0), real=True)  # it takes covariances from sums of squares: means near 0 keep them exact
    metric.update(y - x.mean(0), real=False)
    return max(0.0, metric.compute().item())


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD of a (N, D) and b (M, D) with the kernel (x·y / D + 1)³.

    It is 0 in expectation if the two come from the same distribution, so it may be below 0. For more than 2000 rows it
    is the mean over 10 random subsets of 2000. Needs the extra `metrics`.

    Source: Binkowski et al. 2018, arXiv 1801.01401.

    Example:
        >>> from vaekit.evaluation import kernel_distance
        >>> kernel_distance(X, X) < kernel_distance(X, X + 3)
        True
    """
    try:
        from torchmetrics.image.kid import KernelInceptionDistance
    except ImportError as e:
        raise extra_needed("metrics", "torchmetrics") from e

    x, y = check_features(a, b)
    rows = min(len(x), len(y), KERNEL_ROWS)
    subsets = 1 if rows == len(x) == len(y) else KERNEL_SUBSETS
    with warnings.catch_warnings(), seeded(0):  # of the subsets
        warnings.filterwarnings("ignore", message=".*will save all extracted features")
        metric = KernelInceptionDistance(feature=identity(x.shape[1]), subsets=subsets, subset_size=rows)
        metric.update(x, real=True)
        metric.update(y, real=False)
        return metric.compute()[0].item()


def precision_recall(real: np.ndarray, generated: np.ndarray, *, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall of features (N, D) and (M, D).

    A set's manifold is the union of balls around its rows, each as wide as the distance to its k-th nearest neighbour.

    Args:
        real, generated: features of real and of generated rows.
        k: number of neighbours.

    Returns:
        precision: share of the generated rows on the manifold of the real ones (are they plausible?).
        recall: share of the real rows on the manifold of the generated ones (is everything covered?).

    Raises:
        UserError: k does not suit the number of rows.

    Source: Kynkaanniemi et al. 2019, arXiv 1904.06991.

    Example:
        >>> from vaekit.evaluation import precision_recall
        >>> precision_recall(X, X), precision_recall(X, X + 100)
        ((1.0, 1.0), (0.0, 0.0))
    """
    a, b = check_features(real, generated)
    if not 1 <= k < min(len(a), len(b)):
        raise UserError(
            f"k is {k}: precision and recall of {min(len(a), len(b))} rows need k from 1 to {min(len(a), len(b)) - 1}"
        )
    return share_inside(b, a, radii(a, k)), share_inside(a, b, radii(b, k))


def radii(x: Tensor, k: int) -> Tensor:
    """Distance of each row of x (N, D) to its k-th nearest other row -> (N,)."""
    # The row itself is among the k + 1 nearest, at distance 0.
    return torch.cat([torch.cdist(part, x).kthvalue(k + 1, dim=1).values for part in parts(x, len(x))])


def share_inside(x: Tensor, centres: Tensor, radius: Tensor) -> float:
    """Share of the rows of x (N, D) in any of the balls around centres (M, D) of these radii (M,)."""
    inside = [(torch.cdist(part, centres) <= radius).any(1) for part in parts(x, len(centres))]
    return torch.cat(inside).double().mean().item()


def parts(x: Tensor, others: int) -> tuple[Tensor, ...]:
    return x.split(max(1, DISTANCES_AT_ONCE // others))


def compare(
    real: np.ndarray, generated: np.ndarray, features: Features, *, seed: int = 0, k: int = 3
) -> dict[str, Any]:
    """All distances of generated rows from real ones, and those of real rows from other real rows.

    The real rows are cut at random into two halves. Generated rows are compared with one half, and the other half is compared
    with it too, for the floor. All are cut to the same number of rows n.

    Args:
        real, generated: rows (N, ...) and (M, ...) in the form that `features` takes.
        features: rows -> (N, D), such as `FeatureNetwork.features`.
        seed: of the halves.
        k: neighbours of precision and recall.

    Returns:
        A dict with rows: n; frechet, kernel, precision, recall; and floor: the same four for real against real, the best that can be
        asked for.

    Raises:
        UserError: there are too few rows.

    Example:
        >>> from vaekit.evaluation import compare
        >>> sorted(compare(X, vae.sample(20), lambda rows: rows))
        ['floor', 'frechet', 'kernel', 'precision', 'recall', 'rows']
    """
    n = min(len(real) // 2, len(generated))
    if n <= k:
        raise UserError(
            f"{len(real)} real and {len(generated)} generated rows are too few to compare: give at least {2 * k + 2} "
            f"real and {k + 1} generated ones"
        )
    order = torch.randperm(len(real), generator=generator(seed, DISTANCES)).numpy()
    chosen = torch.randperm(len(generated), generator=generator(seed, DISTANCES, 1)).numpy()[:n]
    one, other = (np.asarray(features(np.asarray(real)[np.sort(half)])) for half in (order[:n], order[n : 2 * n]))
    made = np.asarray(features(np.asarray(generated)[np.sort(chosen)]))
    return {"rows": n, **scores(one, made, k), "floor": scores(one, other, k)}


def scores(real: np.ndarray, generated: np.ndarray, k: int) -> dict[str, float]:
    precision, recall = precision_recall(real, generated, k=k)
    return {
        "frechet": frechet_distance(real, generated),
        "kernel": kernel_distance(real, generated),
        "precision": precision,
        "recall": recall,
    }


def identity(features: int) -> nn.Module:
    """A network that passes features on, for torchmetrics, which expects a network."""
    network = nn.Identity()
    network.num_features = features  # type: ignore[assignment]
    return network


def check_features(a: np.ndarray, b: np.ndarray) -> tuple[Tensor, Tensor]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise UserError(f"features have to be (N, D) and (M, D), at least 2 rows each, got {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise UserError("features hold NaN or an infinity: the feature network does not suit these rows")
    return torch.from_numpy(a), torch.from_numpy(b)
