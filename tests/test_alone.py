"""Training in one process: what Lightning Fabric and `torch.optim.Adam` do for it, to the bit."""

import copy
import subprocess
import sys
from functools import partial

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from vaekit.training.alone import Adam, Alone

CPU = torch.device("cpu")


def rate(value):
    return torch.tensor(value, dtype=torch.float64)


class Loss(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 16), nn.SiLU(), nn.Linear(16, 1))
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, data):  # in a function, because Fabric rounds the tensors that it is handed
        x = data()
        return self.net(x).square().mean() + x.square().mean()


def trained(fabric, make, steps=6):
    torch.manual_seed(0)
    model = Loss()
    step, optimizer = fabric.setup(model, make(model.parameters()))
    losses = []
    for _ in range(steps):
        loss = step(partial(torch.randn, 8, 5))
        losses.append(loss.detach().clone())
        fabric.backward(loss)
        optimizer.step()
        for p in model.parameters():
            p.grad = None
    return losses, model.state_dict(), optimizer.state_dict()["state"]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_one_process_trains_as_fabric_does(precision):
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    fabric.launch()
    theirs, weights, moments = trained(fabric, lambda p: torch.optim.Adam(p, 1e-2, fused=True))
    ours, own_weights, own_moments = trained(Alone(CPU, precision), lambda p: Adam(p, rate(1e-2)))
    assert torch.equal(torch.stack(theirs), torch.stack(ours))
    assert {loss.dtype for loss in ours} == {torch.float32}
    assert all(torch.equal(weights[name], own_weights[name]) for name in weights)
    assert moments.keys() == own_moments.keys() != set(range(5))  # a weight without a gradient has no moments
    assert all(torch.equal(moments[i][name], own_moments[i][name]) for i in moments for name in moments[i])


def test_adam_goes_on_from_what_it_kept():
    torch.manual_seed(0)
    parameters = [torch.randn(3, requires_grad=True), torch.randn(2, 2, requires_grad=True)]
    other = [p.detach().clone().requires_grad_() for p in parameters]

    def learn(optimizer, steps):
        for step in steps:
            for p in optimizer.parameters.values():
                p.grad = torch.full_like(p, 0.1 * step) * p.detach()
            optimizer.step()

    whole = Adam(parameters, rate(0.1))
    learn(whole, range(1, 9))
    first = Adam(other, rate(0.1))
    learn(first, range(1, 5))
    second = Adam(other, rate(0.1))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    learn(second, range(5, 9))
    assert all(torch.equal(a, b) for a, b in zip(parameters, other, strict=True))
    with pytest.raises(RuntimeError):
        Adam(other[::-1], rate(0.1)).load_state_dict(first.state_dict())
    with pytest.raises(KeyError):
        Adam(other[:1], rate(0.1)).load_state_dict(first.state_dict())


def test_a_step_that_is_stopped_changes_nothing():
    p, stopped = torch.ones(3, requires_grad=True), torch.zeros(())
    optimizer = Adam([p], rate(0.1), stopped)
    p.grad = torch.ones(3)
    optimizer.step()
    before, kept = p.detach().clone(), copy.deepcopy(optimizer.state_dict())
    stopped.fill_(1)
    p.grad = torch.full((3,), torch.nan)
    optimizer.step()
    assert torch.equal(p, before)
    assert all(torch.equal(kept["state"][0][name], value) for name, value in optimizer.state[0].items())


def test_the_rate_may_change_between_steps():
    p, q = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    changes = rate(0.1)
    ours, theirs = Adam([p], changes), torch.optim.Adam([q], 0.1, fused=True)
    for step in range(3):
        changes.fill_(0.1 / (step + 1))
        theirs.param_groups[0]["lr"] = changes.item()
        p.grad, q.grad = torch.arange(3.0), torch.arange(3.0)
        ours.step()
        theirs.step()
    assert torch.equal(p, q)


def test_one_process_imports_neither_fabric_nor_the_compiler():
    code = """
import sys, torch
from vaekit.distributions.elementwise import Normal
from vaekit.training.alone import Adam, Alone
alone, net = Alone(torch.device("cpu"), "bf16-mixed"), torch.nn.Linear(2, 1)
step, adam = alone.setup(net, Adam(net.parameters(), torch.tensor(0.1)))
alone.backward(step(torch.ones(3, 2)).mean())
Normal(1, torch.zeros(2), torch.ones(2)).log_prob(torch.ones(3, 2))
adam.step()
adam.load_state_dict(adam.state_dict())
print([name for name in ("lightning_fabric", "torch._dynamo", "sympy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
