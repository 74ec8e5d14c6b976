"""What training makes and everything else reads."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from vaekit.conditions import FAR
from vaekit.distributions import LIKELIHOODS, Likelihood
from vaekit.errors import UserError
from vaekit.files import digest
from vaekit.training.data import Data, fixed_uniform


def check_reach(x: Tensor, mask: Tensor | None) -> None:
    """UserError for a value, of packed rows x (N, ...), that is so far from all that was learned from that sums overflow."""
    if not x.is_floating_point():
        return
    far = ~(x.abs() <= FAR)
    if len(rows := (far if mask is None else far & mask).flatten(1).any(1).nonzero()):
        raise UserError(
            f"row {int(rows[0])} holds a value that is too large to compute with: mend it, or leave the row out"
        )


def fingerprint(data: Data) -> str:
    """A hash of the training data, to tell on resuming whether it is the same."""
    mask = {} if data.mask is None else {"mask": data.mask}
    return digest({"x": data.x, **mask, **{f"y.{name}": values for name, values in data.y.items()}})


class Chunks:
    """Packed data as the model sees it, in pieces; it can be walked more than once."""

    def __init__(self, data: Data, kind: Any):
        self.data, self.kind = data, kind

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        for chunk in self.data.chunks(8192):
            yield self.kind.batch(chunk.x, fixed_uniform()), chunk.mask


def learn_likelihood(name: str, chunks: Chunks, unit: Tensor, options: Mapping[str, Any]) -> Likelihood:
    """The likelihood of this name for this data. UserError where it is for data of another kind, or the data holds what it
    cannot explain."""
    parameters = inspect.signature(LIKELIHOODS[name]).parameters.values()
    if any(p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in options for p in parameters):
        raise UserError(f"likelihood {name!r} is not for data of this kind: leave likelihood out")
    likelihood = LIKELIHOODS[name].from_data(chunks, unit, **options)
    for x, mask in chunks:
        likelihood.check(x, mask)
    return likelihood
