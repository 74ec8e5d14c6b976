"""Training in one process, on one device, without Lightning Fabric and `torch.optim`: importing these takes a second each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Alone:
    """One process with one device, with the methods of a Fabric.

    Args:
        precision: "32-true" or "bf16-mixed".
    """

    world_size, global_rank, is_global_zero = 1, 0, True

    def __init__(self, device: torch.device, precision: str = "32-true"):
        self.device, self.precision = device, precision
        if device.type == "cuda":
            torch.cuda.set_device(device)

    def setup(self, module: nn.Module, optimizer: Any) -> tuple[nn.Module, Any]:
        return Autocast(module, self.device) if self.precision == "bf16-mixed" else module, optimizer

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def all_reduce(self, tensor: Tensor, reduce_op: str = "mean") -> Tensor:
        return tensor

    def all_gather(self, tensor: Tensor) -> Tensor:
        return tensor[None]

    def broadcast(self, found: Any) -> Any:
        return found


class Autocast(nn.Module):
    """A module whose networks compute in bfloat16. Its weights, and the number that it returns, have 32 bits."""

    def __init__(self, module: nn.Module, device: torch.device):
        super().__init__()
        self.module, self.device = module, device

    def forward(self, *args: Any) -> Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            return self.module(*args).float()


class Adam:
    """Adam in one fused operation per step. It computes and keeps what `torch.optim.Adam` does.

    Args:
        rate: the learning rate, which may change between steps. On a CPU 64 bits keep all of its digits; GPUs want 32.
        stopped: a tensor; where it is 1, a step changes nothing.
    """

    def __init__(self, parameters: Iterable[Tensor], rate: Tensor, stopped: Tensor | None = None):
        self.parameters, self.rate, self.stopped = dict(enumerate(parameters)), rate, stopped
        self.state: dict[int, dict[str, Tensor]] = {}  # by the number of the parameter, from its first gradient on
        self._steps = torch.zeros(
            len(self.parameters), device=rate.device
        )  # of each parameter: one tensor, one operation
        self._learning: list[int] = []  # which parameters had a gradient last
        self._one = torch.zeros_like(self._steps)  # 1 for each of these

    @torch.no_grad()
    def step(self) -> None:
        learning = [i for i, p in self.parameters.items() if p.grad is not None]
        if learning != self._learning:
            self._learning, self._one = learning, torch.zeros_like(self._steps)
            self._one[learning] = 1.0
        for i in learning:
            if i not in self.state:
                self._start(i)
        self._steps.add_(self._one if self.stopped is None else self._one * (1 - self.stopped))
        parameters, kept = [self.parameters[i] for i in learning], [self.state[i] for i in learning]
        torch._fused_adam_(
            parameters, [p.grad for p in parameters],  # type: ignore[misc]
            [each["exp_avg"] for each in kept], [each["exp_avg_sq"] for each in kept], [], [each["step"] for each in kept],
            lr=self.rate, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
            found_inf=self.stopped,
        )  # fmt: skip

    def _start(self, i: int) -> None:
        parameter = self.parameters[i]
        zeros = (torch.zeros_like(parameter, memory_format=torch.preserve_format) for _ in range(2))
        self.state[i] = {"step": self._steps[i], **dict(zip(("exp_avg", "exp_avg_sq"), zeros, strict=True))}

    def state_dict(self) -> dict[str, Any]:
        return {"state": self.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave. KeyError, or RuntimeError, if it is of other parameters."""
        self.state = {}
        for i, kept in state["state"].items():
            self._start(i)
            for name, own in self.state[i].items():
                own.copy_(kept[name])
