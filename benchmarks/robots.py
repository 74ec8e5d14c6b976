"""Policies put to the test: success in simulators, both ways round an obstacle, and human demonstrations held out.
Writes tables to benchmarks/results/.

    python benchmarks/robots.py success --env fetch-pick-and-place --demos 100 --chunk 20 --epochs 20 --seeds 0 1 2
    python benchmarks/robots.py success --env aloha-transfer --demos 50 --chunk 100 --epochs 4 --seeds 0 1 2
    python benchmarks/robots.py success --env two-routes --demos 200 --epochs 12 --size small --seeds 0 1 2
    python benchmarks/robots.py held-out --epochs 30 --seeds 0 1 2

Demonstrations come from seeds 0 on, evaluation from 1000 on; the weights are the last ones; all models of a table see the
same demonstrations for the same number of passes, with the same batch size and learning rate, and play their chunks in the
same ways. "ACT as published" is the preset's loss, posterior, prior and z = 0 with the same networks. The nearest neighbour
plays the chunk that followed the demonstrated observation nearest to this one; the MLP is one network from observation to
chunk, of 512 hidden units twice, trained by the same absolute error.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

import vaekit
from harness import Rows, arguments, run
from vaekit.robots.demonstrations import Demonstrations, split_episodes
from vaekit.robots.environments import demonstrate, make
from vaekit.robots.execution import execution
from vaekit.robots.rollout import rollout

PUBLISHED = {
    k: v for k, v in vaekit.preset("act").items() if k in ("prior", "posterior", "likelihood", "objective", "z")
}
METHODS: dict[str, dict[str, Any]] = {
    "vaekit": {},
    "vaekit, no latent": {"latent_dim": 0},
    "ACT as published": {**PUBLISHED, "latent_dim": 32},
}


DRAWS = 16  # chunks for each held-out observation


class Expert:
    """The script that gave the demonstrations."""

    deciding = True

    def __init__(self, environment: Any):
        self.environment = environment

    def reset(self, seed: int | None = None) -> None:
        self.script = self.environment.expert(seed or 0)

    def act(self, observation: Any) -> np.ndarray:
        return self.script()


class Chunks:
    """Base of the baselines: `predict(state (n,)) -> (chunk_size, A)`."""

    deciding = True

    def __init__(self, demos: Demonstrations, chunk_size: int):
        self.seen = np.concatenate(list(demos.observations.values()), axis=1)
        self.mean, self.scale = self.seen.mean(0), np.maximum(self.seen.std(0), 0.01 * self.seen.std(0).max())
        self.names, self.chunk_size = list(demos.observations), chunk_size
        frames = np.arange(len(demos))
        ends = demos.episode_ends[np.searchsorted(demos.episode_ends, frames, side="right")]
        following = np.minimum(frames[:, None] + np.arange(chunk_size), ends[:, None] - 1)
        self.chunks = demos.actions[following]  # (T, chunk_size, A); an episode's last action is repeated
        self.execute = "ensemble"

    def reset(self, seed: int | None = None) -> None:
        self.execution = execution(str(self.execute), self.chunk_size)

    def act(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        if self.execution.wants_chunk():
            seen = np.concatenate([observation[name] for name in self.names])
            self.execution.add(self.predict((seen - self.mean) / self.scale))
        return self.execution.next()

    def predict(self, seen: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class NearestNeighbour(Chunks):
    def predict(self, seen: np.ndarray) -> np.ndarray:
        return self.chunks[((self.seen - self.mean) / self.scale - seen).__pow__(2).sum(1).argmin()]


class MLP(Chunks):
    def __init__(self, demos: Demonstrations, chunk_size: int, steps: int, batch: int, seed: int):
        super().__init__(demos, chunk_size)
        torch.manual_seed(seed)
        x = torch.from_numpy((self.seen - self.mean) / self.scale).float()
        self.centre, self.spread = demos.actions.mean(0), np.maximum(demos.actions.std(0), 1e-2)
        target = torch.from_numpy((self.chunks - self.centre) / self.spread).float()
        out = target[0].numel()
        self.net = nn.Sequential(
            nn.Linear(x.shape[1], 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, out)
        )
        optimizer = torch.optim.Adam(self.net.parameters(), 1e-3, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            rows = torch.randint(len(x), (batch,))
            optimizer.zero_grad()
            (self.net(x[rows]) - target[rows].flatten(1)).abs().mean().backward()
            optimizer.step()
            schedule.step()

    @torch.inference_mode()
    def predict(self, seen: np.ndarray) -> np.ndarray:
        chunk = self.net(torch.from_numpy(seen).float()[None])[0].reshape(self.chunk_size, -1).double().numpy()
        return chunk * self.spread + self.centre


def success(options: argparse.Namespace) -> Rows:
    """Strict success on unseen seeds: {env}

    {episodes} episodes a cell, evaluated on the seeds from 1000 on, with the Wilson interval at 95 %; last weights. KL in nats and
    active units on the training demonstrations."""
    options.suffix = options.suffix or f"-{options.env}"
    demos, env = demonstrate(options.env, options.demos, seed=0), make(options.env)
    chunk = options.chunk or max(1, min(round(2 * env.fps), int(demos.lengths.min())))
    yield f"{demos.describe()}; chunks of {chunk}."

    def played(method: str, seed: int | str, policy: Any, seconds: float = 0.0, **about: str) -> dict[str, Any]:
        """Its success by each way to execute chunks."""
        row: dict[str, Any] = {"method": method, "seed": seed, "train s": f"{seconds:.0f}"}
        for mode in options.execute:
            if method == "expert" and mode != options.execute[0]:
                row[mode] = "-"  # it has no chunks
                continue
            policy.execute = mode
            found = rollout(policy, env, options.episodes, 1000)
            low, high = found["strict_interval"]
            row[mode] = f"{found['strict_success']:.0%} [{low:.0%}, {high:.0%}]"
            if found["success"] != found["strict_success"]:
                row[mode] += f", its own {found['success']:.0%}"
        if hasattr(env, "route"):
            policy.execute = options.execute[0]
            row["rarer way from one start"] = rarer_way(policy, env, options.episodes)
        return {**row, "KL": "", "active": "", **about}

    yield played("expert", "-", Expert(env))
    yield played("nearest neighbour", "-", NearestNeighbour(demos, chunk))
    for seed in options.seeds:
        started = time.time()
        mlp = MLP(demos, chunk, options.epochs * (len(demos) // options.batch), options.batch, seed)
        yield played("MLP cloning", seed, mlp, time.time() - started)
        for method in options.methods:
            policy = learn(options, method, seed, demos, chunk)
            about = health(policy, demos[: min(10, demos.episodes)])
            yield played(method, seed, policy, policy.history_[-1]["seconds"], **about)
            if policy.z == "mean":
                policy.z = "episode"
                yield played(f"{method}, z drawn", seed, policy, **about)


def health(policy: Any, demos: Demonstrations) -> dict[str, str]:
    found = policy.evaluate(demos, k=1)
    return {"KL": f"{found['kl']:.2f}", "active": f"{found['active_units']} of {policy.latent_dim}"}


def rarer_way(policy: Any, env: Any, episodes: int, start: int = 1000) -> str:
    """Share of the successful episodes from one start that went the rarer way."""
    ways = []
    for i in range(episodes):
        observation, over = env.reset(start), False
        policy.reset(i)
        while not over:
            observation, _, over = env.step(policy.act(observation))
        if env.strict_success:
            ways.append(env.route)
    above = np.mean(np.asarray(ways) > 0) if ways else 0.0
    return f"{min(above, 1 - above):.0%} of {len(ways)}"


def learn(options: argparse.Namespace, method: str, seed: int, demos: Demonstrations, chunk: int) -> Any:
    settings = {"size": options.size, "epochs": options.epochs, "batch_size": options.batch, "validation": 0.0}
    if options.latent_dim:
        settings["latent_dim"] = options.latent_dim
    return vaekit.Policy(**{"chunk_size": chunk, "random_state": seed, **settings, **METHODS[method]}).fit(demos)


def held_out(options: argparse.Namespace) -> Rows:
    """Adroit door: action error on held-out human demonstrations

    A fifth of the episodes is held out by each seed. L1: absolute error over the chunk in units of each number's standard deviation,
    padding left out: of one chunk by the policy's own rule; of the median of 16 chunks drawn, the right point to name where absolute
    error counts; and of the best of them."""
    demos = vaekit.read_demonstrations(options.folder / "robot" / "door_human_demos.npz")
    chunk = options.chunk or 20
    yield f"{demos.describe()}; chunks of {chunk}."
    for seed in options.seeds:
        train, valid = split_episodes(demos, 0.2, seed)
        past, unseen = demos[train], demos[valid]
        near = NearestNeighbour(past, chunk)
        state = (unseen.observations["state"] - near.mean) / near.scale
        row = errors(np.stack([near.predict(s) for s in state])[None], past, unseen)
        yield {"method": "nearest neighbour", "seed": seed, **row, "KL": "", "active": ""}
        for method in options.methods:
            policy = learn(options, method, seed, past, chunk)
            drawn = np.stack([policy.predict(unseen.observations, noise_seed=(i,)) for i in range(DRAWS)])
            yield {"method": method, "seed": seed, **errors(drawn, past, unseen), **health(policy, unseen)}


def errors(drawn: np.ndarray, past: Demonstrations, unseen: Demonstrations) -> dict[str, str]:
    """Mean absolute errors of chunks (draws, T, chunk_size, A) on the frames of `unseen`."""
    chunk = drawn.shape[2]
    frames = np.arange(len(unseen))
    left = unseen.episode_ends[np.searchsorted(unseen.episode_ends, frames, side="right")] - frames
    inside = np.arange(chunk) < left[:, None]
    target, spread = Chunks(unseen, chunk).chunks, np.maximum(past.actions.std(0), 1e-2)

    def error(chunks: np.ndarray) -> np.ndarray:
        off = (np.abs(chunks - target) / spread).mean(2)
        return (off * inside).sum(1) / inside.sum(1)

    one, middle = error(drawn[0]).mean(), error(np.median(drawn, axis=0)).mean()
    best = np.min([error(c) for c in drawn], axis=0).mean()
    return {"L1": f"{one:.4f}", "L1 of the median": f"{middle:.4f}", f"best of {DRAWS}": f"{best:.4f}"}


if __name__ == "__main__":
    parser = arguments(__doc__, seeds=[0, 1, 2], methods=METHODS, threads=1)
    parser.add_argument("--env", default="fetch-pick-and-place")
    parser.add_argument("--demos", type=int, default=100)
    parser.add_argument("--chunk", type=int, help="default: two seconds, or 20 for held-out")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", default="base")
    parser.add_argument("--latent-dim", type=int)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--execute", nargs="+", default=["ensemble", "1", "20"])
    toy = {"env": "two-routes", "demos": 3, "epochs": 1, "size": "small", "episodes": 1, "execute": ["ensemble"]}
    run(parser, {"success": success, "held-out": held_out}, methods=list(METHODS)[:1], seeds=[0], **toy)
