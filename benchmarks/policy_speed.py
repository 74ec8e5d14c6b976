"""How fast a policy decides and learns.

    python benchmarks/policy_speed.py decision
    python benchmarks/policy_speed.py training

`decision`: milliseconds from an observation to an action, one row, every action decided on anew, for the policy as it is, for
its exported form, and for onnxruntime alone on the same file. `training`: milliseconds of a step of ACT's network and loss,
in vaekit and written plainly with PyTorch's own modules. All in one process; the candidates take turns, round by round.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness import Rows, arguments, run, take_turns
from vaekit import Demonstrations, Policy, preset
from vaekit.deploy.policy import export_policy
from vaekit.robots.onnx_policy import OnnxPolicy
from vaekit.robots.policy import SIZES

ROBOTS = {  # state, environment_state, chunk_size, actions
    "aloha": (14, 7, 100, 14),
    "fetch": (10, 15, 20, 4),
}
BATCH = 64


def demonstrations(robot: str, episodes: int = 2) -> Demonstrations:
    """Noise of the right shapes: speed does not depend on what is learned."""
    state, around, chunk_size, actions = ROBOTS[robot]
    rng, length = np.random.default_rng(0), 2 * chunk_size
    sizes = {"state": state, "environment_state": around}
    return Demonstrations(
        actions=rng.standard_normal((episodes * length, actions)).astype(np.float32),
        observations={
            name: rng.standard_normal((episodes * length, n)).astype(np.float32) for name, n in sizes.items()
        },
        episode_ends=np.arange(1, episodes + 1) * length,
        name=robot,
    )


# -- deciding ----------------------------------------------------------------------------------------------------------


def decision(options: argparse.Namespace) -> Rows:
    """A decision, milliseconds: size {size}, batch 1

    Medians over rounds of each round's median, with the fastest and slowest round; other jobs shared the machine."""
    for robot, (_, _, chunk_size, _) in ROBOTS.items():
        data = demonstrations(robot)
        policy = Policy(size=options.size, chunk_size=chunk_size, execute=1, epochs=1).fit(data)
        with tempfile.TemporaryDirectory() as folder:
            exported = OnnxPolicy(export_policy(policy, Path(folder) / "policy.onnx"), threads=options.threads)
        observation = {name: values[0] for name, values in data.observations.items()}
        feed = {**{name: value[None] for name, value in observation.items()}, "noise": np.zeros((1, exported.about["noise"]), np.float32), "component": np.array([-1])}  # fmt: skip
        calls: dict[str, Callable[[], Any]] = {
            "onnxruntime alone": partial(exported.session.run, None, feed),
            "OnnxPolicy.act": partial(exported.act, observation),
            "Policy.act": partial(policy.act, observation),
        }
        found = take_turns(
            {name: partial(middle, call, options.calls) for name, call in calls.items()}, options.rounds + 1
        )
        found = {name: rounds[1:] for name, rounds in found.items()}  # the first one warms up
        for name, rounds in found.items():
            yield {"robot": robot, "": name, **compared(rounds, found["onnxruntime alone"])}


def middle(call: Callable[[], Any], calls: int) -> float:
    """The median of the milliseconds that calls take."""
    took = []
    for _ in range(calls):
        started = time.perf_counter()
        call()
        took.append(1e3 * (time.perf_counter() - started))
    return statistics.median(took)


def compared(rounds: list[float], base: list[float]) -> dict[str, str]:
    median, of = statistics.median(rounds), statistics.median(base)
    return {"ms": f"{median:.2f}", "rounds": f"{min(rounds):.2f} to {max(rounds):.2f}", "ratio": f"{median / of:.2f}"}


# -- learning ----------------------------------------------------------------------------------------------------------


class PlainACT(nn.Module):
    """ACT from states, as one writes it with PyTorch's own layers (Zhao et al. 2023, arXiv 2304.13705).

    Positions are added once, before the first layer, since these layers know of none; ACT adds them at each of them.
    """

    def __init__(self, state: int, around: int, chunk_size: int, actions: int, size: str, latent_dim: int):
        super().__init__()
        s = SIZES[size]
        width, options = s["width"], (s["heads"], s["hidden"], s.get("dropout", 0.0))
        self.latent_dim = latent_dim

        def encoder(layers: int) -> nn.Module:
            return nn.TransformerEncoder(nn.TransformerEncoderLayer(width, *options, batch_first=True), layers)

        self.cls = nn.Parameter(torch.randn(1, 1, width))
        self.seen = nn.ModuleList([nn.Linear(state, width), nn.Linear(around, width)])
        self.action = nn.Linear(actions, width)
        self.places = nn.Parameter(torch.randn(1, 3 + chunk_size, width))
        self.posterior, self.posterior_head = encoder(s["posterior_layers"]), nn.Linear(width, 2 * latent_dim)
        self.tokens = nn.ModuleList([nn.Linear(n, width) for n in (latent_dim, state, around)])
        self.token_places = nn.Parameter(torch.randn(1, 3, width))
        self.queries = nn.Parameter(torch.randn(1, chunk_size, width))
        self.encoder = encoder(s["layers"])
        self.decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(width, *options, batch_first=True), s["decoder_layers"]
        )
        self.head = nn.Linear(width, actions)

    def forward(self, state: Tensor, around: Tensor, x: Tensor, padding: Tensor) -> Tensor:
        """state (B, n), around (B, m), x (B, S, A), padding (B, S) -> the loss."""
        rows = len(x)
        known = [
            self.cls.expand(rows, -1, -1),
            *(f(v)[:, None] for f, v in zip(self.seen, (state, around), strict=True)),
        ]
        tokens = torch.cat([*known, self.action(x)], 1) + self.places
        h = self.posterior(tokens, src_key_padding_mask=F.pad(padding, (3, 0)))[:, 0]
        mean, log_variance = self.posterior_head(h).chunk(2, -1)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        tokens = torch.stack([f(v) for f, v in zip(self.tokens, (z, state, around), strict=True)], 1)
        memory = self.encoder(tokens + self.token_places)
        found = self.head(self.decoder(self.queries.expand(rows, -1, -1), memory))
        error = ((found - x).abs() * ~padding.unsqueeze(-1)).mean()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean()
        return error + 10 * kl


class Clock:
    """Milliseconds of each training step, by when the steps ended."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    def step(self, *args: Any) -> None:
        self.ended.append(time.perf_counter())

    def epoch(self, *args: Any) -> None: ...

    @property
    def took(self) -> float:
        return 1e3 * statistics.median(np.diff(self.ended)[2:].tolist())


def ours(data: Demonstrations, options: argparse.Namespace, precision: str) -> float:
    settings = {**preset("act"), "size": options.size, "batch_size": BATCH, "validation": 0.0}
    clock = Clock()
    epochs = max(1, options.steps // (len(data) // BATCH))
    Policy(**settings, epochs=epochs, trainer={"precision": precision}).fit_data(data, watchers=[clock])
    return clock.took


def plain(data: Demonstrations, options: argparse.Namespace, fused: bool) -> float:
    state, around, chunk_size, actions = ROBOTS["aloha"]
    torch.manual_seed(0)
    model = PlainACT(state, around, chunk_size, actions, options.size, preset("act")["latent_dim"])
    adam = torch.optim.Adam(model.parameters(), lr=1e-5, fused=fused)
    seen = [torch.from_numpy(values) for values in data.observations.values()]
    places = torch.arange(len(data))[:, None] + torch.arange(chunk_size)
    padding = places >= torch.from_numpy(np.repeat(data.episode_ends, 2 * chunk_size))[:, None]
    x = torch.from_numpy(data.actions)[places.clamp_max(len(data) - 1)]
    clock = Clock()
    for _ in range(options.steps):
        batch = torch.randint(len(data), (BATCH,))
        loss = model(*(values[batch] for values in seen), x[batch], padding[batch])
        adam.zero_grad()
        loss.backward()
        adam.step()
        clock.step()
    return clock.took


def training(options: argparse.Namespace) -> Rows:
    """ACT's training step, milliseconds: size {size}, batch 64, chunk 100, states

    Medians over rounds of each round's median, with the fastest and slowest round; other jobs shared the machine."""
    data = demonstrations("aloha", episodes=8)
    candidates: dict[str, Callable[[], float]] = {
        "plain PyTorch, Adam": lambda: plain(data, options, False),
        "plain PyTorch, fused Adam": lambda: plain(data, options, True),
        "vaekit": lambda: ours(data, options, "32-true"),
        "vaekit, precision auto (bfloat16 here)": lambda: ours(data, options, "auto"),
    }
    found = take_turns(candidates, options.rounds)
    for name, rounds in found.items():
        yield {"": name, **compared(rounds, found["plain PyTorch, Adam"])}


if __name__ == "__main__":
    parser = arguments(__doc__, threads=1)
    parser.add_argument("--size", default="base", choices=list(SIZES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=100, help="decisions of a round")
    parser.add_argument("--steps", type=int, default=25, help="training steps of a round")
    run(parser, {"decision": decision, "training": training}, size="small", rounds=1, calls=2, steps=5)
