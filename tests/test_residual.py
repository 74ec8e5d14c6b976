"""Residual networks of columns."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

import vaekit
from conftest import people
from vaekit.nets.residual import SIZES, ResidualMLP


@pytest.mark.parametrize("size", SIZES)
def test_shapes_conditions_and_gaps(size: str) -> None:
    net = ResidualMLP((3, 2), (4,), 5, columns=6, **SIZES[size])
    assert net.sees_mask
    x, c, mask = torch.randn(7, 3, 2), torch.randn(7, 5), torch.rand(7, 6) < 0.5
    assert net(x, c, mask).shape == (7, 4)
    assert torch.equal(net(x, c), net(x, c, torch.ones(7, 6, dtype=torch.bool)))
    assert not torch.equal(net(x, c), net(x, c, mask))
    assert not ResidualMLP((3,), (4,)).sees_mask


def test_blocks_do_nothing_at_first_and_learn() -> None:
    torch.manual_seed(0)
    net = ResidualMLP((3,), (2,), 4)
    x, c = torch.randn(5, 3), torch.randn(5, 4)
    assert torch.equal(net(x, c), net.out(torch.nn.functional.silu(net.first(x))))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(2):
        net(x, c).square().sum().backward()
        optimizer.step()
    assert not torch.allclose(net(x, c), net.out(torch.nn.functional.silu(net.first(x))))
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_a_table_learns_with_them() -> None:
    table = people(300, 0)
    width = len(table.column_names) + 2  # and whether a cell of `pay` and of `job` is there
    model = vaekit.VAE(
        latent_dim=2, epochs=3, sampler="prior", encoder=partial(ResidualMLP, columns=width), decoder=ResidualMLP
    ).fit(table)
    assert model.history_[-1]["valid_elbo"] > model.history_[0]["valid_elbo"]
    assert np.isfinite(model.score_samples(table, k=2)).all()
