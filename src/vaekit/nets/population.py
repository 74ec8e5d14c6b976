"""p(y): which values conditions had together in the training rows.

Codes of labels are -1 where unknown, numbers NaN. y goes by name, each (B,) or (B, size).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST = 64  # sum over all values of y if they are fewer; else over this many draws

Y = dict[str, Tensor]


class Population(nn.Module):
    """p(y): what conditions training rows had together, and how many rows had them.

    Args:
        y: name -> codes (T,) or values (T, size), all of them known, as the model sees them. counts: (T,).
    """

    log_share: Tensor

    def __init__(self, y: Mapping[str, Tensor], counts: Tensor):
        super().__init__()
        self.names = list(y)
        for i, values in enumerate(y.values()):
            self.register_buffer(f"values{i}", values, persistent=False)
        self.register_buffer("log_share", (counts.double() / counts.sum()).log(), persistent=False)

    @property
    def y(self) -> Y:
        return {name: self.get_buffer(f"values{i}") for i, name in enumerate(self.names)}

    def complete(self, y: Mapping[str, Tensor], rows: int) -> Y:
        """Every condition of B rows, unknown where it was left out."""
        whole = {}
        for name, own in self.y.items():
            unknown = own.new_full((1, *own.shape[1:]), -1 if is_code(own) else torch.nan)
            whole[name] = y[name].to(own) if name in y else unknown.expand(rows, *own.shape[1:])
        return whole

    def log_p(self, y: Mapping[str, Tensor]) -> Tensor:
        """log p(row of the population | what is known of y), (B, T). Labels have to agree; of numbers the nearer count for more, by
        a Normal kernel. Labels that no row has together say nothing."""
        log_p = self.log_share.expand(len(next(iter(y.values()))), -1)
        for name, own in self.y.items():
            given = y[name]
            if is_code(own):
                log_p = log_p.masked_fill((given[:, None] >= 0) & (given[:, None] != own), -torch.inf)
            else:  # squared distances over what is known; the kernel is as wide as Scott's rule has it in one dimension
                value, known = given.nan_to_num(0.0), (~given.isnan()).to(own)
                apart = value.square().sum(1, keepdim=True) - 2 * value @ own.mT + known @ own.square().mT
                log_p = log_p - apart.clamp_min(0.0) * len(own) ** 0.4 / 2
        return torch.where(log_p.isinf().all(1, keepdim=True), self.log_share, log_p).log_softmax(1)

    def parts(self, y: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, Y, Tensor]]:
        """Rows of which the same is unknown, and the values that it may have.

        Yields rows (b,), every condition of each by name (b, C, ...), and log p(y | what is known of it), (b, C): all values there
        are, where these are fewer than `MOST`, else `MOST` draws of them, evenly spaced.
        """
        unknown = torch.stack([~is_known(values) for values in y.values()], dim=1)
        for lacks in unknown.unique(dim=0):
            if not lacks.any():
                continue
            rows = (unknown == lacks).all(1).nonzero().squeeze(1)
            first, group = distinct([self.y[name] for name, lacking in zip(y, lacks, strict=True) if lacking])
            given = {name: values[rows] for name, values in y.items()}
            p = self.log_p(given).exp() @ F.one_hot(group).to(self.log_share)
            if p.shape[1] < MOST:
                chosen, log_p = torch.arange(p.shape[1], device=p.device).expand_as(p), p.log()
            else:
                at = (torch.arange(MOST, device=p.device, dtype=p.dtype) + 0.5) / MOST
                chosen = torch.searchsorted(p.cumsum(1), at.expand(len(p), -1).contiguous()).clamp_max(p.shape[1] - 1)
                log_p = torch.full_like(chosen, -math.log(MOST), dtype=p.dtype)
            found = {}
            for name, values in given.items():
                own, values = self.y[name][first[chosen]], values.unsqueeze(1)
                found[name] = torch.where(values < 0 if is_code(own) else values.isnan(), own, values)
            yield rows, found, log_p


def distinct(columns: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Group rows of columns (T,) or (T, size) that are alike: the first row of each group (G,), and each row's group (T,)."""
    rows = torch.cat([c.double().reshape(len(c), -1) for c in columns], dim=1)
    groups, group = rows.unique(dim=0, return_inverse=True)
    places = torch.arange(len(rows), device=group.device)
    return places.new_full((len(groups),), len(rows)).scatter_reduce(0, group, places, "amin"), group


def is_code(y: Tensor) -> bool:
    return not y.is_floating_point()


def is_known(y: Tensor) -> Tensor:
    """(B,) codes or (B, size) numbers -> (B,)."""
    return y >= 0 if is_code(y) else ~y.isnan().any(-1)
